"""The cache store on a real MongoDB with the indexes of datasets-server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import pytest
from bson import encode
from bson.raw_bson import RawBSONDocument
from pymongo.errors import BulkWriteError

from dev.local_stack.documents import CACHE, CACHE_TOTALS
from include.databases.cache_store import CacheStore
from include.databases.name_ranges import ALL_NAMES
from include.databases.selection import Selection
from include.errors import DatasetError
from include.planning.dataset_state import CachedDataset, Entry
from include.planning.entry_columns import NO_NUMBER, TextColumn, UnreadableColumnsError
from include.planning.plan import plan_dataset
from include.planning.processing_graph import DEFAULT_RELEASE, Release, release_names
from tests.builders import DATASET, NOON, OTHER_REVISION, REVISION, insert_up_to_date
from tests.integration.conftest import Stores

Document = dict[str, Any]

NAMES_OF_EVERY_SORT = [
    "squad",
    "Squad",
    "SQUAD",
    "squad2",
    "squad-2",
    "squad.v2",
    "squad_v2",
    "squad/other",
    "a",
    "Z",
    "0",
    "-",
    "user/data",
    "user/data2",
    "user/Data",
    "user-/data",
    "user.x/data",
    "user_x/data",
    "user/é",
    "user/e\u0301",
    "user/\u00ff",
    "user/\uffff",
    "user/\U0001f917",
    "\U0001f917/data",
    "user/ ",
    "user/\0",
    "user/\n",
    "user/\u0130",
    "user/\u202edata",
    "",
]


@pytest.fixture
def release_name() -> str:
    return DEFAULT_RELEASE


def entry(name: str = DATASET, kind: str = "dataset-info", **fields: object) -> Document:
    return {
        "kind": kind,
        "dataset": name,
        "config": None,
        "split": None,
        "http_status": 200,
        "error_code": None,
        "content": {"much": "x" * 100},
        "dataset_git_revision": REVISION,
        "progress": 1.0,
        "job_runner_version": 2,
        "failed_runs": 0,
        "details": None,
        "updated_at": NOON,
    } | fields


def without(document: Document, *fields: str) -> Document:
    return {name: value for name, value in document.items() if name not in fields}


def insert(stores: Stores, *entries: Document) -> None:
    stores.databases.cache[CACHE].insert_many(entries)


def read(stores: Stores, name: str = DATASET) -> CachedDataset:
    found = stores.cache.read([name])[name]
    assert isinstance(found, CachedDataset)
    return found


class TestRead:
    def test_an_entry(self, stores: Stores) -> None:
        insert(
            stores,
            entry(
                kind="split-first-rows",
                config="config",
                split="train",
                http_status=500,
                error_code="ConnectionError",
                failed_runs=2,
            ),
        )

        assert list(read(stores).entries) == [
            Entry("split-first-rows", "config", "train", 500, "ConnectionError", REVISION, 2, 2, NOON)
        ]

    def test_absent_fields_are_null(self, stores: Stores) -> None:
        insert(stores, without(entry(), "config", "split", "error_code", "job_runner_version"))
        insert(stores, entry(kind="dataset-size", config=None, error_code="X"))

        assert sorted(read(stores).entries) == [
            Entry("dataset-info", None, None, 200, None, REVISION, None, 0, NOON),
            Entry("dataset-size", None, None, 200, "X", REVISION, 2, 0, NOON),
        ]

    def test_a_dataset_without_entries(self, stores: Stores) -> None:
        assert stores.cache.read(["unknown"]) == {"unknown": CachedDataset("unknown")}

    def test_of_no_dataset(self, stores: Stores) -> None:
        assert stores.cache.read([]) == {}

    def test_several_datasets_at_a_time(self, stores: Stores) -> None:
        insert(stores, *(entry(name, kind) for kind in ("b", "a") for name in ("y", "x", "user/z")))

        found = stores.cache.read(["x", "unknown", "y"])

        assert set(found) == {"x", "unknown", "y"}
        for name in ("x", "y"):
            cached = found[name]
            assert isinstance(cached, CachedDataset)
            assert cached.dataset == name
            assert sorted(entry.kind for entry in cached.entries) == ["a", "b"]

    @pytest.mark.parametrize("field", ["http_status", "dataset_git_revision", "failed_runs", "updated_at"])
    def test_a_malformed_entry_is_an_error_of_its_dataset_alone(self, stores: Stores, field: str) -> None:
        insert(stores, entry(kind="good"), without(entry(), field), entry("other"))

        found = stores.cache.read([DATASET, "other"])

        assert isinstance(found["other"], CachedDataset)
        error = found[DATASET]
        assert isinstance(error, DatasetError)
        assert str(error) == f"malformed cache entry of kind 'dataset-info': it has no {field}"

    def test_lists_and_sizes(self, stores: Stores, release: Release) -> None:
        insert_up_to_date(
            stores.databases.cache, release, splits={"b": ["train", "test"], "a": ["s"], "none": []}
        )

        cached = read(stores)

        assert list(cached.configs) == ["b", "a", "none"]
        assert {config: list(splits) for config, splits in cached.splits.items()} == {
            "b": ["train", "test"],
            "a": ["s"],
            "none": [],
        }
        assert set(cached.sizes) == {"a", "b", "none"}

    def test_lists_are_used_whatever_their_entry_s_status_and_revision(self, stores: Stores) -> None:
        insert(
            stores,
            entry(
                kind="dataset-config-names",
                content={"config_names": [{"dataset": DATASET, "config": "a"}]},
                http_status=500,
                dataset_git_revision=OTHER_REVISION,
            ),
        )

        assert list(read(stores).configs) == ["a"]

    @pytest.mark.parametrize(
        "content",
        [
            None,
            "text",
            [],
            {},
            {"config_names": None},
            {"config_names": {"config": "a"}},
            {"config_names": "a"},
            {"config_names": [{"config": "a"}, {"dataset": DATASET}]},
            {"config_names": [{"config": "a"}, {"config": None}]},
            {"config_names": [{"config": "a"}, {"config": 1}]},
            {"config_names": [{"config": "a"}, "b"]},
            {"config_names": [{"config": "a"}, None]},
            {"config_names": [{"config": "a"}, ["b"]]},
            {"config_names": [{"config": "a"}, []]},
        ],
        ids=repr,
    )
    def test_a_malformed_list_is_empty(self, stores: Stores, content: object) -> None:
        as_splits = _replaced(content, {"config_names": "splits", "config": "split"})
        insert(stores, entry(kind="dataset-config-names", content=content))
        insert(stores, entry(kind="config-split-names", config="a", content=as_splits))
        insert(stores, entry(kind="config-split-names", config="b", content={"splits": [{"split": "s"}]}))

        cached = read(stores)

        assert list(cached.configs) == []
        assert list(cached.splits.get("a", ())) == []
        assert list(cached.splits["b"]) == ["s"]

    @pytest.mark.parametrize(
        ("content", "sizes"),
        [
            ({"dataset_info": {"dataset_size": 5_000_000_000}}, {"a": 5_000_000_000}),
            ({"dataset_info": {"dataset_size": 0}}, {"a": 0}),
            ({"dataset_info": {"dataset_size": 5.0}}, {}),
            ({"dataset_info": {"dataset_size": "5"}}, {}),
            ({"dataset_info": {"dataset_size": None}}, {}),
            ({"dataset_info": {}}, {}),
            ({"dataset_info": [1]}, {}),
            ({}, {}),
            (None, {}),
        ],
        ids=repr,
    )
    def test_a_size_that_is_no_integer_is_ignored(
        self, stores: Stores, content: object, sizes: dict[str, int]
    ) -> None:
        insert(stores, entry(kind="config-info", config="a", content=content))

        assert read(stores).sizes == sizes

    def test_a_list_of_a_malformed_config_is_left_out(self, stores: Stores) -> None:
        split_names = entry(kind="config-split-names", config=["a"], content={"splits": []})
        insert(stores, split_names, entry("other"))

        found = stores.cache.read([DATASET, "other"])

        assert isinstance(found["other"], CachedDataset)
        assert isinstance(found[DATASET], DatasetError)
        assert stores.cache.lists([DATASET])[DATASET].splits == {}


class TestColumns:
    def test_hold_the_entries_without_their_contents(self, stores: Stores) -> None:
        failed = {"http_status": 500, "error_code": "E", "failed_runs": 2, "job_runner_version": None}
        insert(stores, entry(kind="dataset-info"), entry(kind="split-info", config="a", split="é") | failed)

        [columns] = stores.cache.columns([DATASET])

        found = sorted(
            zip(
                texts(columns.kind),
                texts(columns.config),
                texts(columns.split),
                columns.http_status.tolist(),
                texts(columns.error_code),
                texts(columns.revision),
                columns.job_runner_version.tolist(),
                columns.failed_runs.tolist(),
                columns.updated_at.tolist(),
                strict=True,
            )
        )
        noon = int(NOON.replace(tzinfo=UTC).timestamp()) * 1000
        assert found == [
            ("dataset-info", None, None, 200, None, REVISION, 2, 0, noon),
            ("split-info", "a", "é", 500, "E", REVISION, NO_NUMBER, 2, noon),
        ]

    def test_are_of_the_datasets_asked_for_in_the_order_of_their_names(self, stores: Stores) -> None:
        insert(stores, *(entry(name, kind) for kind in "ab" for name in NAMES_OF_EVERY_SORT))
        asked = NAMES_OF_EVERY_SORT[::2]

        [columns] = stores.cache.columns([*asked, "unknown"])

        assert texts(columns.dataset) == [name for name in sorted(asked) for _ in range(2)]

    def test_of_no_dataset(self, stores: Stores) -> None:
        assert list(stores.cache.columns(["unknown"])) == []

    def test_come_in_pieces_of_whole_datasets_where_one_reply_cannot_hold_them(self, stores: Stores) -> None:
        long = "x" * 1_000
        for name, number in (("a", 5_000), ("giant", 40_000), ("z", 5_000)):
            insert(stores, *(entry(name, "split-info", config=f"{n}{long}") for n in range(number)))

        pieces = list(stores.cache.columns(["a", "giant", "z"]))

        assert len(pieces) > 1
        for name, number in (("a", 5_000), ("giant", 40_000), ("z", 5_000)):
            [piece] = [piece for piece in pieces if name in piece.dataset.values]
            assert texts(piece.dataset).count(name) == number

    def test_a_malformed_entry_makes_them_unreadable(self, stores: Stores) -> None:
        insert(stores, entry(), entry(kind="dataset-size", config=["a"]))

        with pytest.raises(UnreadableColumnsError):
            list(stores.cache.columns([DATASET]))


def texts(column: TextColumn) -> list[str | None]:
    values = [*column.values, None]
    return [values[code] for code in column.codes.tolist()]


class TestLists:
    def test_are_those_of_a_read_without_the_entries_and_the_sizes(
        self, stores: Stores, release: Release
    ) -> None:
        for name in ("x", "y", "not asked for"):
            splits = {"b": ["train", "test"], "a": ["s"], "none": []}
            insert_up_to_date(stores.databases.cache, release, name, splits)

        lists = stores.cache.lists(["x", "unknown", "y"])

        read = stores.cache.read(["x", "unknown", "y"])
        assert list(lists) == ["x", "unknown", "y"]
        for name, cached in lists.items():
            whole = read[name]
            assert isinstance(whole, CachedDataset)
            assert cached == replace(whole, entries=(), sizes={})


def _replaced(value: object, names: Mapping[str, str]) -> object:
    if isinstance(value, dict):
        return {names.get(key, key): _replaced(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, names) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class Query:
    """A query as MongoDB's profiler saw it, with the names that it gave."""

    names: list[str]
    plan: str
    keys_examined: int
    docs_examined: int


def profiled(stores: Stores, names: Iterator[str]) -> Query:
    """Let MongoDB tell how it answers the query behind some names."""
    database = stores.databases.cache
    database.command("profile", 2)
    try:
        found = sorted(names)
    finally:
        database.command("profile", 0)
    [seen] = database["system.profile"].find({"command.aggregate": CACHE})
    database.drop_collection("system.profile")
    return Query(found, seen["planSummary"], seen["keysExamined"], seen["docsExamined"])


class TestDatasetNames:
    def test_each_once(self, stores: Stores) -> None:
        insert(stores, *(entry(name, kind) for kind in "abc" for name in NAMES_OF_EVERY_SORT))

        assert sorted(stores.cache.dataset_names()) == sorted(NAMES_OF_EVERY_SORT)

    def test_of_an_empty_cache(self, stores: Stores) -> None:
        assert list(stores.cache.dataset_names()) == []

    @pytest.mark.parametrize("bound", NAMES_OF_EVERY_SORT)
    def test_neighbouring_ranges_share_no_name_and_lose_none(self, stores: Stores, bound: str) -> None:
        insert(stores, *map(entry, NAMES_OF_EVERY_SORT))

        before = list(stores.cache.dataset_names((None, bound)))
        after = list(stores.cache.dataset_names((bound, None)))

        assert sorted(before + after) == sorted(NAMES_OF_EVERY_SORT)
        assert bound in after

    def test_a_range_with_both_bounds(self, stores: Stores) -> None:
        insert(stores, *map(entry, ["a", "b", "b/c", "c", "d"]))

        assert sorted(stores.cache.dataset_names(("b", "c"))) == ["b", "b/c"]

    @pytest.mark.parametrize(
        ("names", "count"), [(ALL_NAMES, 50), (("user/10", None), 40), (("user/10", "user/20"), 10)]
    )
    def test_come_from_an_index_that_is_skipped_through(
        self, stores: Stores, names: tuple[str | None, str | None], count: int
    ) -> None:
        kinds = [f"kind {number}" for number in range(30)]
        insert(stores, *(entry(f"user/{number:02}", kind) for number in range(50) for kind in kinds))

        query = profiled(stores, stores.cache.dataset_names(names))

        assert len(query.names) == count
        assert query.plan == "DISTINCT_SCAN { dataset: 1, kind: 1, http_status: 1 }"
        assert query.keys_examined <= count + 1
        assert query.docs_examined == 0

    def test_come_in_their_order(self, stores: Stores) -> None:
        insert(stores, *(entry(name, kind) for kind in "abc" for name in NAMES_OF_EVERY_SORT))

        found = list(stores.cache.dataset_names())

        assert found == sorted(NAMES_OF_EVERY_SORT, key=lambda name: name.encode())
        assert list(stores.cache.selected_names(Selection(("*",)))) == found

    def test_may_be_over_16_megabytes_of_names(self, stores: Stores) -> None:
        """More than fit in one document, which ``distinct`` would return."""
        long = "x" * 700
        names = [f"user/{number:05}{long}" for number in range(25_000)]
        stores.databases.cache[CACHE].insert_many(
            {"kind": "a", "dataset": name, "config": None, "split": None} for name in names
        )

        assert sum(1 for _ in stores.cache.dataset_names()) == 25_000


class TestEntryCounts:
    def test_of_each_dataset_in_the_order_asked_for(self, stores: Stores) -> None:
        insert(stores, entry("x", "a"), entry("x", "b"), entry("y"), entry("not asked for"))

        counts = stores.cache.entry_counts(["y", "unknown", "x"])

        assert list(counts.items()) == [("y", 1), ("unknown", 0), ("x", 2)]

    def test_come_from_an_index(self, stores: Stores) -> None:
        insert(stores, *(entry(f"user/{number}") for number in range(50)))

        query = profiled(stores, chain.from_iterable(map(stores.cache.entry_counts, [["user/1", "user/2"]])))

        assert query.plan == "IXSCAN { dataset: 1, kind: 1, http_status: 1 }"
        assert query.docs_examined == 0


class TestShards:
    def test_are_balanced_and_complete_for_names_of_every_sort(self, stores: Stores) -> None:
        kinds = [f"kind {number}" for number in range(8)]
        insert(stores, *(entry(name, kind) for name in NAMES_OF_EVERY_SORT for kind in kinds))

        shards = stores.cache.shards(5)

        found = [list(stores.cache.dataset_names(names)) for names in shards]
        assert sorted(name for names in found for name in names) == sorted(NAMES_OF_EVERY_SORT)
        assert [len(names) for names in found] == [6, 6, 6, 6, 6]

    def test_a_large_dataset_makes_for_fewer(self, stores: Stores) -> None:
        insert(stores, *(entry("large", f"kind {number}") for number in range(50)))
        insert(stores, *map(entry, ["a", "b", "y", "z"]))

        shards = stores.cache.shards(10)

        assert len(shards) <= 10
        found = [sorted(stores.cache.dataset_names(names)) for names in shards]
        assert ["large"] in found
        assert sorted(chain.from_iterable(found)) == ["a", "b", "large", "y", "z"]

    def test_of_an_empty_cache(self, stores: Stores) -> None:
        assert stores.cache.shards(10) == [ALL_NAMES]

    def test_of_one(self, stores: Stores) -> None:
        insert(stores, *map(entry, "abc"))

        assert stores.cache.shards(1) == [ALL_NAMES]


class TestSelectedNames:
    def selected(
        self,
        cache: CacheStore,
        *names: str,
        updated_from: datetime | None = None,
        updated_to: datetime | None = None,
    ) -> list[str]:
        return sorted(cache.selected_names(Selection(names, updated_from, updated_to)))

    def test_by_name(self, stores: Stores) -> None:
        insert(stores, *(entry(name, kind) for kind in "ab" for name in NAMES_OF_EVERY_SORT))

        assert self.selected(stores.cache, "squad", "user/é", "unknown") == ["squad", "user/é"]
        assert self.selected(stores.cache, "squad*") == sorted(
            name for name in NAMES_OF_EVERY_SORT if name.startswith("squad")
        )
        assert self.selected(stores.cache, "user/data?", "Z") == ["Z", "user/data2"]
        assert self.selected(stores.cache, "[aZ]") == ["Z", "a"]
        assert self.selected(stores.cache) == sorted(NAMES_OF_EVERY_SORT)

    def test_by_time_from_the_first_up_to_the_second(self, stores: Stores) -> None:
        minute = timedelta(minutes=1)
        insert(stores, *(entry(f"at {number}", updated_at=NOON + number * minute) for number in range(4)))
        insert(stores, entry("at 0", "another kind", updated_at=NOON + 2 * minute))

        cache, one, three = stores.cache, NOON + minute, NOON + 3 * minute

        assert self.selected(cache, updated_from=one, updated_to=three) == ["at 0", "at 1", "at 2"]
        assert self.selected(cache, updated_from=three) == ["at 3"]
        assert self.selected(cache, updated_to=one) == ["at 0"]
        assert self.selected(cache, updated_from=three + minute) == []

    def test_by_time_whatever_the_status_of_the_entry(self, stores: Stores) -> None:
        insert(stores, entry("good"), entry("bad", http_status=500, error_code="ConnectionError"))
        insert(stores, without(entry("odd"), "error_code"))

        assert self.selected(stores.cache, updated_from=NOON) == ["bad", "good", "odd"]

    @pytest.mark.parametrize("names", [["user/a"], ["user/*"]])
    def test_by_name_and_time(self, stores: Stores, names: list[str]) -> None:
        late = NOON + timedelta(days=1)
        insert(stores, entry("user/a", updated_at=late), entry("user/b"), entry("other/a", updated_at=late))

        assert self.selected(stores.cache, *names, updated_from=late) == ["user/a"]

    def test_a_range_of_times_is_answered_by_the_index(self, stores: Stores) -> None:
        """5,000 entries, 20 of them in the range: what is examined is those, and one seek for each kind."""
        kinds = [f"kind {number}" for number in range(10)]
        insert(
            stores,
            *(
                entry(f"user/{number}", kind, updated_at=NOON + timedelta(minutes=number))
                for number in range(500)
                for kind in kinds
            ),
        )
        hour = Selection((), NOON + timedelta(minutes=100), NOON + timedelta(minutes=102))

        query = profiled(stores, stores.cache.selected_names(hour))

        assert query.names == ["user/100", "user/101"]
        assert query.plan == "IXSCAN { http_status: 1, error_code: 1, kind: 1, updated_at: 1 }"
        assert query.docs_examined == 20
        assert query.keys_examined <= 20 + 2 * len(kinds) + 2

    def test_names_are_answered_by_the_index(self, stores: Stores) -> None:
        insert(stores, *(entry(f"user/{number}", kind) for number in range(100) for kind in "abcdefgh"))

        query = profiled(stores, stores.cache.selected_names(Selection(("user/1", "user/99"))))

        assert query.names == ["user/1", "user/99"]
        assert query.plan == "DISTINCT_SCAN { dataset: 1, kind: 1, http_status: 1 }"
        assert query.keys_examined <= 20


class TestRemove:
    def count(self, stores: Stores, kind: str, status: int, code: str | None, total: int) -> None:
        stores.databases.cache[CACHE_TOTALS].insert_one(
            {"kind": kind, "http_status": status, "error_code": code, "total": total, "created_at": NOON}
        )

    def totals(self, stores: Stores) -> dict[tuple[str, int, str | None], int]:
        found = stores.databases.cache[CACHE_TOTALS].find()
        return {(total["kind"], total["http_status"], total["error_code"]): total["total"] for total in found}

    def test_takes_the_entries_off_the_totals(self, stores: Stores) -> None:
        error: Document = {"http_status": 500, "error_code": "ConnectionError"}
        insert(stores, entry("x"), entry("y"), entry("z"), entry("x", "a"), entry("x", "b", **error))
        self.count(stores, "dataset-info", 200, None, 3)
        self.count(stores, "a", 200, None, 10)
        self.count(stores, "b", 500, "ConnectionError", 1)

        assert stores.cache.remove(["x", "y", "unknown"]) == 4

        assert list(stores.cache.dataset_names()) == ["z"]
        assert self.totals(stores) == {
            ("dataset-info", 200, None): 1,
            ("a", 200, None): 9,
            ("b", 500, "ConnectionError"): 0,
        }

    def test_an_entry_whose_id_cannot_be_written_keeps_no_other_entry(self, stores: Stores) -> None:
        malformed = encode({**entry("x", "a"), "_id": "??"}).replace(b"??", b"?\xff")
        stores.databases.cache[CACHE].insert_one(RawBSONDocument(malformed))
        insert(stores, *(entry("x", "config-info", config=str(number)) for number in range(1_001)))

        assert stores.cache.remove(["x"]) == 1_001

        assert stores.cache.entry_count() == 1

    def test_the_entries_of_a_giant_dataset_take_several_transactions(self, stores: Stores) -> None:
        insert(stores, *(entry("x", "config-info", config=str(number)) for number in range(10_001)))
        self.count(stores, "config-info", 200, None, 10_003)

        assert stores.cache.remove(["x"]) == 10_001

        assert list(stores.cache.dataset_names()) == []
        assert self.totals(stores) == {("config-info", 200, None): 2}

    def test_makes_a_total_that_was_not_there(self, stores: Stores) -> None:
        insert(stores, entry("x"))

        stores.cache.remove(["x"])

        [total] = stores.databases.cache[CACHE_TOTALS].find({}, {"_id": 0})
        assert total == {"kind": "dataset-info", "http_status": 200, "error_code": None, "total": -1}

    def test_of_unknown_datasets_writes_nothing(self, stores: Stores) -> None:
        insert(stores, entry("x"))

        assert stores.cache.remove(["unknown"]) == 0
        assert stores.cache.remove([]) == 0

        assert self.totals(stores) == {}
        assert list(stores.cache.dataset_names()) == ["x"]

    def test_an_absent_error_code_counts_as_null(self, stores: Stores) -> None:
        insert(stores, entry("x"), without(entry("y"), "error_code"), without(entry("z"), "error_code"))
        self.count(stores, "dataset-info", 200, None, 5)

        assert stores.cache.remove(["x", "y", "z"]) == 3

        assert self.totals(stores) == {("dataset-info", 200, None): 2}

    def test_a_malformed_entry_is_removed_too(self, stores: Stores) -> None:
        insert(stores, entry("x"), without(entry("x", "a"), "http_status"), entry("y"))

        assert stores.cache.remove(["x", "y"]) == 3

        assert list(stores.cache.dataset_names()) == []

    def test_totals_that_cannot_be_moved_are_moved_by_the_next_removal(self, stores: Stores) -> None:
        insert(stores, entry("x"), entry("x", "a"))
        self.count(stores, "dataset-info", 200, None, 5)

        with refusing(stores, CACHE_TOTALS, {"kind": "a"}), pytest.raises(BulkWriteError):
            stores.cache.remove(["x"])

        assert self.totals(stores) == {("dataset-info", 200, None): 5}
        assert stores.cache.remove(["unknown"]) == 0
        assert self.totals(stores) == {("dataset-info", 200, None): 4, ("a", 200, None): -1}


@contextmanager
def refusing(stores: Stores, collection: str, validator: Document) -> Iterator[None]:
    """Let a collection of the cache refuse what the validator does not admit."""
    database = stores.databases.cache
    database.command("collMod", collection, validator=validator)
    try:
        yield
    finally:
        database.command("collMod", collection, validator={})


@pytest.mark.parametrize("release_name", release_names())
def test_an_up_to_date_dataset_reads_as_one(stores: Stores, release: Release) -> None:
    insert_up_to_date(
        stores.databases.cache, release, splits={"a": ["train", "test"], "\U0001f917 b": ["train"], "c": []}
    )

    assert plan_dataset(release, read(stores), [], REVISION).is_empty
