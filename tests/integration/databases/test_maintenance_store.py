"""Our own database: what the tasks of a run hand to one another."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from include.databases.maintenance_store import Selected
from include.databases.name_ranges import ALL_NAMES
from include.hub.answers import ListedDataset
from include.planning.processing_graph import DEFAULT_RELEASE
from tests.builders import OTHER_REVISION, REVISION, put_listing
from tests.integration.conftest import Stores

NAMES = ["squad", "Squad", "user/data", "user/data2", "user/Data", "user-x/data", "user/é", "\U0001f917/data"]


@pytest.fixture
def release_name() -> str:
    return DEFAULT_RELEASE


def ten_each(names: Sequence[str]) -> dict[str, int]:
    """The numbers of entries of some datasets, which are all of a size."""
    return dict.fromkeys(names, 10)


class TestListedRevisions:
    def test_are_those_of_the_listing_of_the_run(self, stores: Stores) -> None:
        listings = stores.maintenance.listings()
        listing = put_listing(
            listings,
            ListedDataset("a", REVISION),
            ListedDataset("b", None),
            ListedDataset("c", OTHER_REVISION),
        )
        put_listing(listings, ListedDataset("a", OTHER_REVISION))

        store = stores.maintenance.with_listing(listing.id)

        assert store.listed_revisions(["a", "b", "unknown", ""]) == {"a": REVISION}
        assert store.listed_revisions([]) == {}

    def test_are_none_without_a_listing(self, stores: Stores) -> None:
        put_listing(stores.maintenance.listings(), ListedDataset("a", REVISION))

        assert stores.maintenance.listed_revisions(["a"]) == {}


class TestSelected:
    def test_are_kept_for_their_run(self, stores: Stores) -> None:
        assert stores.maintenance.select("run 1", NAMES, ten_each) == Selected(len(NAMES), 10 * len(NAMES))
        assert stores.maintenance.select("run 2", ["squad"], ten_each) == Selected(1, 10)

        assert sorted(stores.maintenance.selected("run 1")) == sorted(NAMES)
        assert list(stores.maintenance.selected("run 2")) == ["squad"]
        assert list(stores.maintenance.selected("run 3")) == []

    def test_are_replaced_when_the_task_runs_again(self, stores: Stores) -> None:
        stores.maintenance.select("run", ["a", "b"], ten_each)

        stores.maintenance.select("run", ["b", "c"], ten_each)

        assert sorted(stores.maintenance.selected("run")) == ["b", "c"]

    @pytest.mark.parametrize("bound", NAMES)
    def test_neighbouring_ranges_share_no_name_and_lose_none(self, stores: Stores, bound: str) -> None:
        stores.maintenance.select("run", NAMES, ten_each)

        before = list(stores.maintenance.selected("run", (None, bound)))
        after = list(stores.maintenance.selected("run", (bound, None)))

        assert sorted(before + after) == sorted(NAMES)
        assert bound in after

    def test_are_cut_into_shards_of_as_many(self, stores: Stores) -> None:
        names = [f"user/{number}" for number in range(100)]
        stores.maintenance.select("run", names, ten_each)
        stores.maintenance.select("another run", [f"other/{number}" for number in range(50)], ten_each)

        shards = stores.maintenance.selection_shards("run", Selected(100, 1_000), 4)

        found = [list(stores.maintenance.selected("run", part)) for part in shards]
        assert [len(part) for part in found] == [25, 25, 25, 25]
        assert sorted(name for part in found for name in part) == sorted(names)

    @pytest.mark.parametrize("count", range(1, 9))
    def test_are_cut_into_shards_of_about_as_many_entries_not_datasets(
        self, stores: Stores, count: int
    ) -> None:
        entries = dict.fromkeys(NAMES, 10) | {"giant": 200, "user/empty": 0}
        selected = stores.maintenance.select(
            "run", entries, lambda names: {name: entries[name] for name in names}
        )

        shards = stores.maintenance.selection_shards("run", selected, count)

        found = [list(stores.maintenance.selected("run", part)) for part in shards]
        assert len(found) <= count
        assert sorted(name for part in found for name in part) == sorted(entries)
        share = selected.entries / count
        assert all(sum(entries[name] for name in part if name != "giant") <= share + 10 for part in found)

    def test_of_none_there_is_one_shard(self, stores: Stores) -> None:
        assert stores.maintenance.selection_shards("run", Selected(0, 0), 4) == [ALL_NAMES]


class TestRemovalCandidates:
    def test_come_in_the_order_of_their_names(self, stores: Stores) -> None:
        before = datetime.now(UTC)
        stores.maintenance.add_removal_candidates("run", {"b": "it is gone", "a": "it is private"})
        stores.maintenance.add_removal_candidates("another run", {"c": "it is gone"})

        found = list(stores.maintenance.removal_candidates("run"))

        assert [(candidate.dataset, candidate.reason) for candidate in found] == [
            ("a", "it is private"),
            ("b", "it is gone"),
        ]
        for candidate in found:
            assert timedelta(seconds=-1) < candidate.asked_at - before < timedelta(seconds=60)
        assert stores.maintenance.removal_candidate_count("run") == 2
        assert [candidate.dataset for candidate in stores.maintenance.removal_candidates("run", limit=1)] == [
            "a"
        ]

    def test_are_the_same_when_written_down_again(self, stores: Stores) -> None:
        stores.maintenance.add_removal_candidates("run", {"a": "it is private"})
        stores.maintenance.add_removal_candidates("run", {"a": "it is gone"})

        [candidate] = stores.maintenance.removal_candidates("run")

        assert candidate.reason == "it is gone"

    def test_are_withdrawn_for_a_run_alone(self, stores: Stores) -> None:
        for run in ("run", "another run"):
            stores.maintenance.add_removal_candidates(run, dict.fromkeys("abc", "it is gone"))

        stores.maintenance.withdraw_removal_candidates("run", ["a", "c", "unknown"])

        assert [each.dataset for each in stores.maintenance.removal_candidates("run")] == ["b"]
        assert stores.maintenance.removal_candidate_count("another run") == 3


class TestRebuilds:
    def test_are_unfinished_until_crossed_off(self, stores: Stores) -> None:
        stores.maintenance.start_rebuilds(["a", "b", "c"])
        stores.maintenance.start_rebuilds(["a"])

        stores.maintenance.finish_rebuilds(["b"])

        assert sorted(stores.maintenance.unfinished_rebuilds()) == ["a", "c"]

    def test_are_found_by_their_range(self, stores: Stores) -> None:
        stores.maintenance.start_rebuilds(["a", "b", "c"])

        assert list(stores.maintenance.unfinished_rebuilds(("b", "c"))) == ["b"]
