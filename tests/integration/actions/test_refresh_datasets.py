"""The refresh and the recreation of datasets, on real stores, with the real client of the Hub."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from dev.local_stack.documents import (
    BLOCKAGES,
    JOBS,
    WORKER_SIZES,
    Document,
    utc_now,
    write_totals,
)
from dev.local_stack.hub_server import HubDataset, HubServer
from include.actions.backfill.archiving import Archiver
from include.actions.backfill.removal import Remover
from include.actions.backfill.removal_limit import RemovalLimit
from include.actions.refresh_datasets import Refresher, RefreshSummary, named_datasets
from include.actions.restore_datasets import Restorer
from include.errors import ConfigurationError
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.planning.artifact_name import ArtifactName, by_dataset
from include.planning.dataset_state import JobStatus, Priority
from include.planning.processing_graph import Level, Release
from include.planning.refresh import Refresh
from include.storage.folder_storage import FolderStorage
from tests.builders import OTHER_REVISION, REVISION, contents, insert_up_to_date
from tests.integration.actions.killed_run import archives_beside
from tests.integration.actions.test_backfill import World
from tests.integration.actions.test_killed_runs import assert_counts_are_right
from tests.integration.conftest import Stores
from tests.releases import releases_that

MANY = 10_000
SIZES = Refresh(steps=frozenset({"config-size", "dataset-size"}))
NAMES = Refresh(steps=frozenset({"dataset-config-names"}))


class RefreshWorld(World):
    """A cache, a queue, a storage and a Hub, and refreshes of them."""

    def refresher(self, run: str = "run", *, dry_run: bool = False) -> Refresher:
        stores, release = self.stores, self.release
        archiver = Archiver(archives_beside(self.root), stores.cache, stores.queue, release.name, "a run")
        return Refresher(
            run,
            release,
            stores.cache,
            stores.queue,
            stores.maintenance,
            Hub(self.hub_server.url, "hf_token", release, BlockList.parse(self.blocked)),
            Remover(stores.cache, stores.queue, [FolderStorage(self.root)], archiver=archiver),
            dry_run=dry_run,
        )

    def refresh(
        self, *names: str, refresh: Refresh = SIZES, max_jobs: int = MANY, **how: Any
    ) -> RefreshSummary:
        return self.refresher(**how).refresh(names, refresh, max_jobs)

    def recreate(self, *names: str, limit: int = 10, **how: Any) -> RefreshSummary:
        return self.refresher(**how).recreate(names, Priority.NORMAL, RemovalLimit(limit))

    def count_everything(self) -> None:
        """Let the counts be right, as they are before a run."""
        write_totals(self.stores.databases.cache, self.stores.databases.queue, self.release)

    def found_jobs(self, **query: object) -> list[Document]:
        return list(self.stores.databases.queue[JOBS].find(query).sort("$natural"))

    def work_off(self) -> None:
        """Let workers finish all jobs without a trace."""
        self.stores.databases.queue[JOBS].delete_many({})

    def dataset_steps(self) -> list[str]:
        return [step.name for step in self.release.steps if step.input_type is Level.DATASET]


@pytest.fixture
def world(stores: Stores, release: Release, shared_hub: HubServer, tmp_path: Path) -> RefreshWorld:
    return RefreshWorld(stores, release, shared_hub, tmp_path / "assets")


def types(jobs: Iterable[Document]) -> list[str]:
    return [job["type"] for job in jobs]


class TestRefreshes:
    def test_create_the_jobs_of_steps_that_are_up_to_date(self, world: RefreshWorld) -> None:
        world.cache("user/a", "user/b")
        world.host("user/a", "user/b")
        world.count_everything()
        entries = contents(world.stores.databases.cache)

        summary = world.refresh("user/a")

        assert summary == RefreshSummary(
            refreshed=1,
            jobs_created=2,
            hub_requests=1,
            refreshed_sample=["user/a: create 2 jobs (2 refresh)"],
        )
        size, of_dataset = world.found_jobs()
        assert {key: value for key, value in size.items() if key not in ("_id", "created_at")} == {
            "type": "config-size",
            "dataset": "user/a",
            "revision": REVISION,
            "config": "config",
            "unicity_id": f"config-size,user/a,{REVISION},config",
            "namespace": "user",
            "priority": "normal",
            "status": "waiting",
            "difficulty": world.release.step("config-size").difficulty,
        }
        assert of_dataset["type"] == "dataset-size"
        assert size["created_at"] < of_dataset["created_at"]
        assert contents(world.stores.databases.cache) == entries
        assert_counts_are_right(world.stores)

    def test_with_children_create_all_jobs_parents_before_children(self, world: RefreshWorld) -> None:
        world.cache("user/a")
        world.host("user/a")
        steps = {step.name: step for step in world.release.steps}

        world.refresh("user/a", refresh=Refresh(frozenset({world.release.steps[0].name}), with_children=True))

        created = {job["type"]: job["created_at"] for job in world.found_jobs()}
        assert len(created) == len(world.found_jobs()) > 10
        for name, created_at in created.items():
            assert all(created[p.name] < created_at for p in steps[name].parents if p.name in created)

    def test_are_for_the_revision_on_the_hub(self, world: RefreshWorld) -> None:
        world.cache("user/a")
        world.host("user/a", revision=OTHER_REVISION)

        world.refresh("user/a")

        assert {job["revision"] for job in world.found_jobs()} == {OTHER_REVISION}

    def test_double_no_pending_job(self, world: RefreshWorld) -> None:
        world.cache("user/a")
        world.host("user/a")
        world.queue("dataset-size", "user/a", status=JobStatus.STARTED)
        world.count_everything()

        first = world.refresh("user/a", run="first")
        second = world.refresh("user/a", run="second")

        assert (first.jobs_created, second.jobs_created, second.pending) == (1, 0, 1)
        assert sorted(types(world.found_jobs())) == ["config-size", "dataset-size"]
        assert_counts_are_right(world.stores)

    def test_replace_a_job_that_waits_with_a_lower_priority(self, world: RefreshWorld) -> None:
        world.cache("user/a")
        world.host("user/a")
        world.queue("dataset-config-names", "user/a")
        world.queue("dataset-size", "user/a")
        world.count_everything()

        summary = world.refresh("user/a", refresh=NAMES)

        assert (summary.jobs_created, summary.jobs_replaced) == (1, 1)
        assert [(job["type"], job["priority"]) for job in world.found_jobs()] == [
            ("dataset-size", "low"),
            ("dataset-config-names", "normal"),
        ]
        assert_counts_are_right(world.stores)

    def test_are_deleted_by_a_backfill_that_comes_before_they_start(self, world: RefreshWorld) -> None:
        """A rule of the plan of datasets-server: waiting jobs of what is up to date are deleted."""
        world.cache("user/a")
        world.host("user/a")
        world.refresh("user/a")
        world.stores.databases.queue[JOBS].update_one(
            {"type": "config-size"}, {"$set": {"status": JobStatus.STARTED.value}}
        )

        world.backfill("user/a")

        assert types(world.found_jobs()) == ["config-size"]

    def test_leave_a_dataset_that_the_hub_does_not_support_to_a_backfill(self, world: RefreshWorld) -> None:
        world.cache("user/gone", "user/blocked")
        world.host("user/blocked")
        world.blocked = ["user/blocked"]
        world.stores.maintenance.start_rebuilds(["user/gone"])
        before = world.contents()

        summary = world.refresh("user/gone", "user/blocked")

        assert summary == RefreshSummary(
            unsupported=2,
            hub_requests=2,
            unsupported_sample=[
                "user/gone: it is not found on the Hub",
                "user/blocked: it is on the block list",
            ],
        )
        assert world.contents() == before

    def test_count_a_dataset_about_which_the_hub_does_not_answer(self, world: RefreshWorld) -> None:
        world.cache("user/a", "user/b")
        world.host("user/b")
        world.hub_server.state.put(HubDataset("user/a", None))

        summary = world.refresh("user/a", "user/b")

        assert (summary.refreshed, summary.failed) == (1, 1)
        assert summary.error_sample == ["user/a: the Hub's answer has no revision"]

    def test_of_a_dataset_that_is_not_cached_create_the_jobs_of_the_dataset_itself(
        self, world: RefreshWorld
    ) -> None:
        world.host("user/new", "user/newer")

        summary = world.refresh("user/new", refresh=NAMES)
        none = world.refresh("user/newer", refresh=Refresh(frozenset({"config-size"})))

        assert [(job["dataset"], job["type"]) for job in world.found_jobs()] == [
            ("user/new", "dataset-config-names")
        ]
        assert summary.refreshed == 1
        assert none == RefreshSummary(
            without_artifacts=1,
            without_artifacts_sample=[
                "user/newer: it is not in the cache, so it has no configs and splits yet: name a step of the"
                " dataset itself"
            ],
        )

    def test_of_entries_with_an_error_are_of_exactly_these(self, world: RefreshWorld) -> None:
        world.cache("user/a", "user/b")
        world.host("user/a", "user/b")
        error = {"http_status": 500, "error_code": "UnexpectedError"}
        world.entries.update_one({"dataset": "user/a", "kind": "split-first-rows"}, {"$set": error})

        names = list(named_datasets(world.stores.cache, ["user/*"], ["UnexpectedError"]))
        summary = world.refresh(*names, refresh=Refresh(error_codes=frozenset({"UnexpectedError"})))

        assert names == ["user/a"]
        assert summary.jobs_created == 1
        [job] = world.found_jobs()
        assert (job["type"], job["config"], job["split"]) == ("split-first-rows", "config", "train")

    def test_create_no_job_if_they_would_create_more_than_they_may(self, world: RefreshWorld) -> None:
        world.cache("user/a", "user/b")
        world.host("user/a", "user/b")
        before = world.contents()

        with pytest.raises(ConfigurationError, match=r"more jobs than max_jobs \(3\), so it creates none"):
            world.refresh("user/a", "user/b", max_jobs=3)

        assert world.contents() == before
        assert world.refresh("user/a", "user/b", max_jobs=4).jobs_created == 4

    def test_write_nothing_in_a_dry_run_and_report_the_same(self, world: RefreshWorld) -> None:
        world.cache("user/a", "user/gone")
        world.host("user/a", "user/new")
        world.queue("dataset-size", "user/a")
        before = world.contents()

        dry = world.refresh("user/a", "user/gone", "user/new", dry_run=True)

        assert world.contents() == before
        assert dry == world.refresh("user/a", "user/gone", "user/new")
        assert (dry.refreshed, dry.unsupported, dry.jobs_created, dry.jobs_replaced) == (2, 1, 3, 1)

    def test_that_are_tried_again_leave_out_what_is_done_even_if_it_was_worked_off(
        self, world: RefreshWorld
    ) -> None:
        world.cache("user/a", "user/b")
        world.host("user/a")
        world.refresh("user/a", "user/b")
        world.work_off()
        world.host("user/b")

        second = world.refresh("user/a", "user/b")

        assert {job["dataset"] for job in world.found_jobs()} == {"user/b"}
        assert second.refreshed == 1
        assert world.refresh("user/a", run="another").refreshed == 1

    def test_of_a_malformed_dataset_are_errors(self, world: RefreshWorld) -> None:
        world.cache("user/a", "user/b")
        world.host("user/a", "user/b")
        world.entries.update_one({"dataset": "user/a", "kind": "config-size"}, {"$set": {"failed_runs": "x"}})

        summary = world.refresh("user/a", "user/b")

        assert (summary.failed, summary.refreshed) == (1, 1)
        assert {job["dataset"] for job in world.found_jobs()} == {"user/b"}

    @pytest.mark.parametrize(
        "release_name", releases_that(lambda release: release.queue_knows_blocked_datasets)
    )
    def test_of_a_rate_limited_dataset_do_not_count_by_worker_size(self, world: RefreshWorld) -> None:
        world.cache("user/a", "user/b")
        world.host("user/a", "user/b")
        queue = world.stores.databases.queue
        queue[BLOCKAGES].insert_one({"dataset": "user/a", "blocked_at": utc_now()})
        world.count_everything()

        world.refresh("user/a", "user/b", refresh=Refresh(frozenset({"dataset-config-names"})))

        assert sum(size["jobs_count"] for size in queue[WORKER_SIZES].find()) == 1
        assert len(world.found_jobs()) == 2


class TestRefreshesOfNamedArtifacts:
    """Each with its dataset, up to date or not."""

    FIRST_ROWS = ("split-first-rows", "config", "train")

    def refresh(
        self, world: RefreshWorld, *names: ArtifactName, error_codes: str = "", **how: Any
    ) -> RefreshSummary:
        artifacts = by_dataset(names)
        codes = frozenset(error_codes.split())
        return world.refresh(*artifacts, refresh=Refresh(artifacts=artifacts, error_codes=codes), **how)

    def test_create_exactly_their_jobs_for_the_revision_on_the_hub(self, world: RefreshWorld) -> None:
        world.cache("user/a", "user/b", "user/c")
        world.host("user/a", "user/b", "user/c", revision=OTHER_REVISION)
        world.count_everything()
        names = [
            ArtifactName("user/b", *self.FIRST_ROWS),
            ArtifactName("user/a", "config-size", "config"),
            ArtifactName("user/b", "dataset-size"),
        ]

        dry = self.refresh(world, *names, dry_run=True)
        assert world.found_jobs() == []
        summary = self.refresh(world, *names)

        jobs = world.found_jobs()
        assert {(job["dataset"], job["type"], job.get("config"), job.get("split")) for job in jobs} == set(
            names
        )
        assert len(jobs) == len(names)
        assert {job["revision"] for job in jobs} == {OTHER_REVISION}
        assert (summary.refreshed, summary.jobs_created) == (2, 3)
        assert summary == dry
        assert_counts_are_right(world.stores)

    def test_double_no_pending_job(self, world: RefreshWorld) -> None:
        world.cache("user/a")
        world.host("user/a")
        name = ArtifactName("user/a", *self.FIRST_ROWS)
        self.refresh(world, name, run="first")

        second = self.refresh(world, name, name, run="second")

        assert (second.pending, second.jobs_created) == (1, 0)
        assert len(world.found_jobs()) == 1

    def test_leave_an_entry_alone_that_has_healed(self, world: RefreshWorld) -> None:
        world.cache("user/a", "user/b", "user/c")
        world.host("user/a", "user/b", "user/c")
        error = {"http_status": 500, "error_code": "UnexpectedError"}
        world.entries.update_many(
            {"dataset": {"$in": ["user/a", "user/c"]}, "kind": "split-first-rows"}, {"$set": error}
        )

        summary = self.refresh(
            world,
            ArtifactName("user/a", *self.FIRST_ROWS),
            ArtifactName("user/a", "config-size", "config"),
            ArtifactName("user/b", *self.FIRST_ROWS),
            error_codes="UnexpectedError OtherError",
        )

        [job] = world.found_jobs()
        assert (job["dataset"], job["type"]) == ("user/a", "split-first-rows")
        assert (summary.refreshed, summary.without_artifacts, summary.artifacts_left_out) == (1, 1, 2)
        assert summary.left_out_sample == [
            '["user/a", "config-size", "config"]: it has no such error now',
            '["user/b", "split-first-rows", "config", "train"]: it has no such error now',
        ]
        assert summary.without_artifacts_sample == [
            "user/b: none of the named artifacts exists, or has such an error"
        ]

    def test_report_what_does_not_exist_and_create_the_jobs_of_the_others(self, world: RefreshWorld) -> None:
        world.cache("user/a")
        world.host("user/a", "user/new")

        summary = self.refresh(
            world,
            ArtifactName("user/a", "split-first-rows", "gone", "train"),
            ArtifactName("user/a", "forgotten-step"),
            ArtifactName("user/a", "dataset-size"),
            ArtifactName("user/new", "config-size", "config"),
            ArtifactName("user/*", "dataset-size", "\0"),
            ArtifactName("", "dataset-size", ""),
        )

        assert types(world.found_jobs()) == ["dataset-size"]
        assert (summary.refreshed, summary.without_artifacts, summary.artifacts_left_out) == (1, 3, 5)
        assert summary.left_out_sample[:3] == [
            f'["user/a", "forgotten-step"]: the release {world.release.name} has no such step',
            '["user/a", "split-first-rows", "gone", "train"]: the cache lists no such artifact',
            '["user/new", "config-size", "config"]: its dataset is not in the cache',
        ]

    @pytest.mark.parametrize(
        "dataset", ["", "/", "..", "a/b/c", "user/a\0", "user/*", "\u202e, \n", "x" * 9_000]
    )
    def test_of_a_name_that_no_dataset_can_have_disturb_no_other(
        self, world: RefreshWorld, dataset: str
    ) -> None:
        world.cache("user/a")
        world.host("user/a")

        summary = self.refresh(
            world, ArtifactName(dataset, "dataset-info"), ArtifactName("user/a", "dataset-info")
        )

        assert [job["dataset"] for job in world.found_jobs()] == ["user/a"]
        assert (summary.refreshed, summary.unsupported + summary.failed) == (1, 1)

    def test_create_no_job_if_they_would_create_more_than_they_may(self, world: RefreshWorld) -> None:
        world.cache("user/a")
        world.host("user/a")
        names = [ArtifactName("user/a", "dataset-size"), ArtifactName("user/a", "dataset-info")]

        with pytest.raises(ConfigurationError, match=r"more jobs than max_jobs \(1\), so it creates none"):
            self.refresh(world, *names, max_jobs=1)

        assert world.found_jobs() == []

    def test_that_are_tried_again_leave_out_what_is_done(self, world: RefreshWorld) -> None:
        world.cache("user/a", "user/b")
        world.host("user/a")
        names = [ArtifactName("user/a", *self.FIRST_ROWS), ArtifactName("user/b", *self.FIRST_ROWS)]
        assert self.refresh(world, *names).unsupported == 1
        world.work_off()
        world.host("user/b")

        second = self.refresh(world, *names)

        assert (second.refreshed, second.artifacts_left_out) == (1, 0)
        assert {job["dataset"] for job in world.found_jobs()} == {"user/b"}


class TestNamedDatasets:
    def test_are_the_names_and_what_the_wildcards_match_each_once(self, world: RefreshWorld) -> None:
        world.cache("org/a", "org/b", "other/a")

        def found(*names: str, codes: tuple[str, ...] = ()) -> list[str]:
            return list(named_datasets(world.stores.cache, names, codes))

        assert found("new/one", "org/b", "org/*", "org/b") == ["new/one", "org/b", "org/a"]
        assert found("nobody/*") == []
        assert found("org/a", codes=("SomeError",)) == []


class TestRecreations:
    def test_archive_and_remove_a_dataset_and_build_it_from_nothing(self, world: RefreshWorld) -> None:
        world.cache("user/a", "user/b")
        world.host("user/a", "user/b")
        world.queue("dataset-size", "user/a", OTHER_REVISION)
        folder = world.root / "user" / "a" / "--" / REVISION
        folder.mkdir(parents=True)
        (folder / "file").touch()
        world.count_everything()
        entries = world.entries.count_documents({"dataset": "user/a"})

        summary = world.recreate("user/a")

        steps = world.dataset_steps()
        assert summary == RefreshSummary(
            refreshed=1,
            recreated=1,
            jobs_created=len(steps),
            hub_requests=1,
            refreshed_sample=[
                "user/a: remove it first, because a person asked to make it anew;"
                f" create {len(steps)} jobs ({len(steps)} empty)"
            ],
        )
        assert list(world.stores.cache.dataset_names()) == ["user/b"]
        assert types(world.found_jobs()) == steps
        assert {job["priority"] for job in world.found_jobs()} == {"normal"}
        assert not (folder / "file").exists()
        assert_counts_are_right(world.stores)
        assert list(world.stores.maintenance.unfinished_rebuilds()) == []
        restorer = Restorer(archives_beside(world.root), world.stores.cache, "a run", restores=None)
        restored = restorer.restore(["user/a"])
        assert restored.restored_entries == entries
        assert "by a run: a person asked to make it anew" in restored.restored_sample[0]

    def test_of_a_dataset_that_is_not_cached_create_its_first_jobs(self, world: RefreshWorld) -> None:
        world.host("user/new")

        assert world.recreate("user/new").recreated == 1
        assert types(world.found_jobs()) == world.dataset_steps()

    def test_leave_what_the_hub_does_not_support(self, world: RefreshWorld) -> None:
        world.cache("user/gone")
        before = world.contents()

        summary = world.recreate("user/gone")

        assert (summary.unsupported, summary.recreated) == (1, 0)
        assert world.contents() == before

    @pytest.mark.parametrize("dry_run", [False, True])
    def test_count_in_the_limit_of_the_day(self, world: RefreshWorld, *, dry_run: bool) -> None:
        names = ["user/a", "user/b", "user/c"]
        world.cache(*names)
        world.host(*names)
        world.stores.maintenance.removal_ledger().begin("another run", {"removed": "it is gone"}, 10)
        world.stores.maintenance.removal_ledger().finish(["removed"])

        summary = world.recreate(*names, limit=3, dry_run=dry_run)

        assert (summary.recreated, summary.over_daily_limit, summary.pending) == (2, 1, 0)
        assert summary.over_daily_limit_sample == ["user/c"]
        assert list(world.stores.cache.dataset_names()) == (names if dry_run else ["user/c"])

    def test_that_are_tried_again_do_not_begin_anew(self, world: RefreshWorld) -> None:
        """Since the first attempt, workers have computed an entry."""
        world.cache("user/a", "user/b")
        world.host("user/a")
        world.recreate("user/a", "user/b")
        world.work_off()
        insert_up_to_date(world.stores.databases.cache, world.release, "user/a")
        world.host("user/b")

        second = world.recreate("user/a", "user/b")

        assert second.recreated == 1
        assert list(world.stores.cache.dataset_names()) == ["user/a"]
        assert world.recreate("user/a", run="another").recreated == 1

    def test_that_were_cut_short_are_finished_by_a_backfill(self, world: RefreshWorld) -> None:
        world.cache("user/a")
        world.host("user/a")
        world.stores.maintenance.start_rebuilds(["user/a"])
        world.stores.cache.remove(["user/a"])

        world.backfill(*world.stores.maintenance.unfinished_rebuilds())

        assert types(world.found_jobs()) == world.dataset_steps()
