"""The backfill of many datasets on real stores, with the real client of the Hub."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from pymongo.collection import Collection
from pymongo.database import Database

from dev.local_stack.documents import CACHE, JOBS, new_job, write_totals
from dev.local_stack.hub_server import HubDataset, HubServer
from include.actions.backfill.pipeline import Backfill, BackfillOptions
from include.actions.backfill.removal import Remover
from include.actions.backfill.removal_limit import RemovalLimit
from include.actions.backfill.report import BackfillSummary
from include.databases.cache_store import CacheStore
from include.databases.listing_store import HubListing
from include.databases.mongo import Session
from include.databases.queue_store import QueueStore
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.hub.answers import ListedDataset, Supported
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.hub.requests import FAILURES_IN_A_ROW, HubUnavailableError
from include.planning.dataset_state import JobStatus, Priority
from include.planning.processing_graph import Release
from include.storage.folder_storage import FolderStorage
from include.summaries import SAMPLE_SIZE
from tests.builders import NOON, OTHER_REVISION, REVISION, contents, insert_up_to_date, put_listing
from tests.integration.conftest import Stores
from tests.releases import releases_that

Document = dict[str, Any]
NEWEST_REVISION = "3" * 40


@dataclass(slots=True)
class World:
    """A cache, a queue, a storage and a Hub, and a backfill of them."""

    stores: Stores
    release: Release
    hub_server: HubServer
    root: Path
    blocked: list[str] = field(default_factory=list)
    listing: HubListing | None = None

    def cache(self, *names: str, revision: str = REVISION) -> None:
        """Let datasets be up to date in the cache."""
        for name in names:
            insert_up_to_date(self.stores.databases.cache, self.release, name, revision=revision)

    def forget(self, name: str, kind: str) -> None:
        """Lose an entry of a dataset."""
        self.entries.delete_one({"dataset": name, "kind": kind})

    def host(self, *names: str, revision: str = REVISION) -> None:
        """Let the Hub have datasets."""
        self.hub_server.state.put(*(HubDataset(name, revision) for name in names))

    def list_on_hub(self, *names: str, revision: str | None = REVISION) -> None:
        """Let the Hub's listing have had datasets."""
        listed = (ListedDataset(name, revision) for name in names)
        self.listing = put_listing(self.stores.maintenance.listings(), *listed)

    def queue(
        self, step: str, name: str, revision: str = REVISION, status: JobStatus = JobStatus.WAITING
    ) -> ObjectId:
        """Let a job be pending."""
        job = new_job(self.release.step(step), name, revision, created_at=NOON, status=status)
        self.stores.databases.queue[JOBS].insert_one(job)
        job_id: ObjectId = job["_id"]
        return job_id

    def backfill(
        self, *names: str, options: BackfillOptions | None = None, right: RightToWrite = UNRESTRICTED
    ) -> BackfillSummary:
        stores = self.stores
        maintenance = stores.maintenance
        return Backfill(
            "run",
            self.release,
            stores.cache,
            stores.queue,
            maintenance.with_listing(self.listing.id) if self.listing else maintenance,
            Hub(self.hub_server.url, "hf_token", self.release, BlockList.parse(self.blocked)),
            self.remover,
            options or BackfillOptions(),
            right,
        ).run(names or stores.cache.dataset_names())

    @property
    def remover(self) -> Remover:
        """Removes datasets."""
        return Remover(self.stores.cache, self.stores.queue, [FolderStorage(self.root)])

    @property
    def entries(self) -> Collection[Document]:
        """The cache entries."""
        return self.stores.databases.cache[CACHE]

    def jobs(self) -> list[tuple[str, str, str]]:
        """Dataset, type and revision of all jobs, in the order of their insertion."""
        found = self.stores.databases.queue[JOBS].find().sort("$natural")
        return [(job["dataset"], job["type"], job["revision"][0]) for job in found]

    def contents(self) -> Document:
        databases = self.stores.databases
        return contents(databases.cache, databases.queue, databases.maintenance)

    def candidates(self) -> dict[str, str]:
        found = self.stores.maintenance.removal_candidates("run")
        return {candidate.dataset: candidate.reason for candidate in found}


@pytest.fixture
def world(stores: Stores, release: Release, shared_hub: HubServer, tmp_path: Path) -> World:
    return World(stores, release, shared_hub, tmp_path)


@contextmanager
def profiled(database: Database[Document]) -> Iterator[list[Document]]:
    """Let MongoDB tell the queries for cache entries that it answers in the meantime."""
    found: list[Document] = []
    database.command("profile", 2)
    try:
        yield found
    finally:
        database.command("profile", 0)
        found += database["system.profile"].find({"command.find": CACHE}).sort("ts")
        database.drop_collection("system.profile")


class TestListing:
    def test_proves_that_there_is_nothing_to_do(self, world: World) -> None:
        world.cache("a", "b", "user/c")
        world.host("a", "b", "user/c")
        world.list_on_hub("a", "b", "user/c")

        summary = world.backfill()

        assert summary == BackfillSummary(untouched=3)
        assert world.hub_server.state.requests == 0

    def test_does_not_matter_for_the_count_of_artifacts(self, world: World) -> None:
        world.cache("a", "b", "user/c", "unsupported")
        world.host("a", "b", "user/c")
        world.forget("b", "dataset-info")
        all_artifacts = world.entries.count_documents({"dataset": {"$ne": "unsupported"}}) + 1

        asked = world.backfill(options=BackfillOptions(dry_run=True))
        world.list_on_hub("a", "b", "user/c")
        listed, again = world.backfill(), world.backfill()

        in_need = asked.artifacts_in_need
        assert in_need == listed.jobs_created > 0
        assert asked.artifacts_up_to_date + in_need == all_artifacts
        for summary in (listed, again):  # The second time, the jobs are pending.
            assert summary.artifacts_up_to_date == asked.artifacts_up_to_date
            assert summary.artifacts_in_need == in_need
        assert again.jobs_created == 0

    def test_lets_what_is_up_to_date_be_read_as_columns_alone(self, world: World) -> None:
        names = [f"user/{number}" for number in range(10)]
        world.cache(*names)
        world.host(*names)
        world.list_on_hub(*names)
        world.forget("user/3", "config-size")

        with profiled(world.stores.databases.cache) as found:
            summary = world.backfill()

        assert (summary.untouched, summary.backfilled) == (9, 1)
        entries_read = [
            query["nreturned"] for query in found if "updated_at" in query["command"]["projection"]
        ]
        steps = len(world.release.steps)
        assert entries_read == [10 * steps - 1, steps - 1]  # all as columns, then those of one dataset

    def test_a_malformed_entry_hides_nothing_about_the_others(self, world: World) -> None:
        world.cache("a", "b", "c")
        world.host("a", "b", "c")
        world.list_on_hub("a", "b", "c")
        world.forget("c", "config-size")
        world.entries.update_one({"dataset": "b", "kind": "config-size"}, {"$set": {"http_status": "200"}})

        summary = world.backfill()

        assert (summary.untouched, summary.backfilled, summary.failed) == (1, 1, 1)

    def test_is_not_needed(self, world: World) -> None:
        world.cache("a", "b")
        world.host("a", "b")
        world.list_on_hub("a", "b")

        summary = world.backfill(options=BackfillOptions(trust_listing=False))

        assert summary == BackfillSummary(untouched=2, hub_requests=2)

    def test_that_misses_a_dataset_makes_the_hub_be_asked(self, world: World) -> None:
        world.cache("a", "b")
        world.host("a", "b")
        world.list_on_hub("a")

        assert world.backfill() == BackfillSummary(untouched=2, hub_requests=1)

    def test_that_does_not_prove_support_makes_the_hub_be_asked(self, world: World) -> None:
        world.cache("a")
        world.list_on_hub("a", revision=None)
        world.hub_server.state.put(HubDataset("a", REVISION, card_data={"viewer": False}))

        assert world.backfill().unsupported == 1
        assert world.candidates() == {"a": "its card turns the viewer off"}

    @pytest.mark.parametrize("revision", [OTHER_REVISION, None])
    def test_contradicts_a_hub_that_does_not_find_a_dataset(self, world: World, revision: str | None) -> None:
        world.cache("a", "gone")
        world.list_on_hub("a", revision=revision)

        summary = world.backfill()

        assert (summary.unsupported, summary.failed) == (1, 1)
        assert world.candidates() == {"gone": "it is not found on the Hub"}
        [line] = summary.error_sample
        assert line.startswith("a: the Hub does not find it, but lists it")

    def test_may_be_stale_the_plan_is_for_the_revision_that_the_hub_tells_when_asked(
        self, world: World
    ) -> None:
        world.cache("a")
        world.list_on_hub("a", revision=OTHER_REVISION)
        world.host("a", revision=NEWEST_REVISION)

        summary = world.backfill()

        assert summary.backfilled == summary.hub_requests == 1
        assert {revision for _, _, revision in world.jobs()} == {"3"}

    def test_may_be_stale_and_there_is_nothing_to_do(self, world: World) -> None:
        world.cache("a")
        world.list_on_hub("a", revision=OTHER_REVISION)
        world.host("a")

        assert world.backfill() == BackfillSummary(untouched=1, hub_requests=1)

    def test_proves_nothing_of_a_dataset_blocked_since(self, world: World) -> None:
        world.cache("user/a")
        world.list_on_hub("user/a")
        world.host("user/a")
        world.blocked = ["user/*"]

        assert world.backfill().unsupported == 1
        assert world.candidates() == {"user/a": "it is on the block list"}

    def test_proves_nothing_of_a_dataset_with_a_job_to_delete(self, world: World) -> None:
        world.cache("a")
        world.list_on_hub("a")
        world.host("a")
        world.queue("dataset-config-names", "a")

        assert world.backfill() == BackfillSummary(
            backfilled=1, jobs_deleted=1, hub_requests=1, plan_sample=["a: delete 1 waiting job"]
        )
        assert world.jobs() == []


class TestWrites:
    def test_new_jobs_come_in_the_order_of_their_reasons_dataset_by_dataset(self, world: World) -> None:
        world.cache("a", "b")
        world.host("a", "b")
        for name in ("a", "b"):
            world.forget(name, "dataset-size")
            world.entries.update_one(
                {"dataset": name, "kind": "dataset-config-names"},
                {"$set": {"dataset_git_revision": OTHER_REVISION}},
            )
            world.entries.update_one(
                {"dataset": name, "kind": "dataset-info"},
                {"$set": {"http_status": 500, "error_code": "ConnectionError"}},
            )

        summary = world.backfill()

        types = ["dataset-size", "dataset-info", "dataset-config-names"]
        assert sorted(world.jobs()[:3]) == sorted(("a", job_type, "1") for job_type in types)
        assert [job_type for _, job_type, _ in world.jobs()] == types * 2
        assert summary.jobs_by_reason == {"empty": 2, "error to retry": 2, "other revision": 2}
        assert summary.plan_sample == [
            f"{name}: create 3 jobs (1 empty, 1 error to retry, 1 other revision)" for name in ("a", "b")
        ]

    def test_twice_changes_nothing_the_second_time(self, world: World) -> None:
        world.cache("a", "b", revision=OTHER_REVISION)
        world.host("a", "b")
        world.backfill()
        before = world.contents()

        summary = world.backfill()

        assert summary == BackfillSummary(untouched=2, hub_requests=2)
        assert world.contents() == before

    @pytest.mark.parametrize("batch_size", [1, 2, 3, 500])
    def test_do_not_depend_on_the_size_of_a_batch(self, world: World, batch_size: int) -> None:
        names = ["a", "b", "c", "d", "e"]
        world.cache(*names)
        world.host(*names)
        for name in names[:4]:
            world.forget(name, "dataset-size")

        summary = world.backfill(options=BackfillOptions(batch_size=batch_size))

        assert (summary.untouched, summary.backfilled, summary.jobs_created) == (1, 4, 4)
        assert sorted(world.jobs()) == [(name, "dataset-size", "1") for name in names[:4]]

    def test_rest_on_a_state_that_is_read_again_if_the_hub_took_long(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While the Hub was asked, a webhook has created the job."""
        world.cache("a")
        world.forget("a", "dataset-size")

        def answer_late(*_: object) -> Supported:
            world.queue("dataset-size", "a")
            return Supported(REVISION)

        monkeypatch.setattr(Hub, "support", answer_late)
        monkeypatch.setattr("include.actions.backfill.reading.STATE_LASTS_SECONDS", 0.0)

        assert world.backfill() == BackfillSummary(untouched=1)
        assert world.jobs() == [("a", "dataset-size", "1")]

    @pytest.mark.parametrize("priority", Priority)
    def test_have_the_priority_of_the_run(self, world: World, priority: Priority) -> None:
        world.cache("a")
        world.forget("a", "dataset-size")
        world.host("a")

        world.backfill(options=BackfillOptions(priority=priority))

        [job] = world.stores.databases.queue[JOBS].find()
        assert job["priority"] == priority.value

    def test_a_started_job_stays(self, world: World) -> None:
        world.cache("a")
        world.host("a")
        started = world.queue("dataset-size", "a", OTHER_REVISION, status=JobStatus.STARTED)

        assert world.backfill() == BackfillSummary(untouched=1, hub_requests=1)
        assert [job["_id"] for job in world.stores.databases.queue[JOBS].find()] == [started]

    def test_of_a_dry_run_are_none_at_all(self, world: World) -> None:
        world.cache("fine", "missing", "gone", "incoherent")
        world.host("fine", "missing", "incoherent")
        world.list_on_hub("fine")
        world.forget("missing", "dataset-size")
        world.entries.update_one(
            {"dataset": "incoherent", "kind": "split-first-rows"}, {"$set": {"config": "unlisted"}}
        )
        world.queue("dataset-config-names", "missing", OTHER_REVISION)
        write_totals(world.stores.databases.cache, world.stores.databases.queue, world.release)
        before = world.contents()

        dry = world.backfill(options=BackfillOptions(dry_run=True))

        assert world.contents() == before
        assert (dry.untouched, dry.backfilled, dry.unsupported) == (1, 2, 1)
        assert dry.jobs_deleted == 1
        real = world.backfill()
        assert dry == real

    def test_unsupported_datasets_are_only_written_down(self, world: World) -> None:
        world.cache("a", "gone", "off")
        world.host("a")
        world.hub_server.state.put(HubDataset("off", REVISION, card_data={"viewer": False}))
        world.queue("dataset-config-names", "gone")
        before = world.contents()

        summary = world.backfill()

        assert summary.unsupported == 2
        reasons = {"gone": "it is not found on the Hub", "off": "its card turns the viewer off"}
        assert world.candidates() == reasons
        assert summary.unsupported_sample == [f"{name}: {reason}" for name, reason in reasons.items()]
        world.stores.databases.maintenance.removalCandidates.delete_many({})
        assert world.contents() == before

    def test_tell_some_datasets_that_the_hub_supports(self, world: World) -> None:
        names = [f"user/{number:02}" for number in range(30)]
        world.cache(*names, "gone")
        world.host(*names)

        found = world.backfill(options=BackfillOptions(batch_size=4)).supported_sample

        assert len(set(found)) == len(found) == SAMPLE_SIZE
        assert set(found) < set(names)

    def test_cross_off_what_the_hub_did_not_find_in_an_earlier_attempt(self, world: World) -> None:
        names = ["fine", "missing", "gone"]
        world.cache(*names)
        world.host("fine", "missing")
        world.forget("missing", "dataset-size")
        world.hub_server.state.not_found_times = {"fine": 1, "missing": 1}
        world.backfill()
        assert set(world.candidates()) == set(names)

        world.backfill()

        assert set(world.candidates()) == {"gone"}

    def test_of_a_dry_run_cross_nothing_off(self, world: World) -> None:
        world.cache("fine")
        world.host("fine")
        world.hub_server.state.not_found_times = {"fine": 1}
        world.backfill()

        world.backfill(options=BackfillOptions(dry_run=True))

        assert set(world.candidates()) == {"fine"}


class TestProgress:
    @pytest.mark.parametrize("listed", [True, False])
    def test_is_reported_while_nothing_is_written(self, world: World, listed: bool) -> None:
        world.cache("a", "b", "user/c")
        world.host("a", "b", "user/c")
        if listed:
            world.list_on_hub("a", "b", "user/c")
        reports: list[None] = []

        class Right:
            def check(self, session: Session = None) -> None:
                pytest.fail(f"nothing is to be written, with the session {session}")

            def progress(self) -> None:
                reports.append(None)

        summary = world.backfill(options=BackfillOptions(batch_size=1), right=Right())

        assert summary.untouched == 3
        assert len(reports) == (3 if listed else 6)


class TestChangesMeanwhile:
    """What webhooks and workers do while a backfill is at work."""

    @pytest.fixture
    def slow_hub(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
        """While the Hub answers, something happens that the answer does not know; the state is read again."""

        def answer_after(event: Callable[[], object]) -> None:
            def answer(*_: object) -> Supported:
                event()
                return Supported(REVISION)

            monkeypatch.setattr(Hub, "support", answer)
            monkeypatch.setattr("include.actions.backfill.reading.STATE_LASTS_SECONDS", 0.0)

        return answer_after

    @pytest.mark.parametrize("trust_listing", [True, False])
    def test_the_job_of_a_webhook_that_came_since_the_hub_was_asked_stays(
        self, world: World, slow_hub: Callable[[Callable[[], object]], None], trust_listing: bool
    ) -> None:
        world.cache("a")
        world.list_on_hub("a")
        world.queue("dataset-size", "a", OTHER_REVISION)
        slow_hub(lambda: world.queue("dataset-config-names", "a", NEWEST_REVISION))

        summary = world.backfill(options=BackfillOptions(trust_listing=trust_listing))

        assert summary.jobs_deleted == 1
        assert world.jobs() == [("a", "dataset-config-names", "3")]

    def test_no_jobs_are_created_for_the_revision_before_that_of_a_webhook(
        self, world: World, slow_hub: Callable[[Callable[[], object]], None]
    ) -> None:
        world.cache("a", revision=OTHER_REVISION)
        slow_hub(lambda: world.queue("dataset-config-names", "a", NEWEST_REVISION))

        summary = world.backfill(options=BackfillOptions(trust_listing=False))

        assert summary.jobs_created == 0
        assert world.jobs() == [("a", "dataset-config-names", "3")]

    @pytest.mark.parametrize("release_name", ["2026-08"])
    def test_the_job_of_a_webhook_that_came_since_the_hub_was_asked_survives_a_rebuild(
        self, world: World, slow_hub: Callable[[Callable[[], object]], None]
    ) -> None:
        world.cache("a")
        world.entries.update_one(
            {"dataset": "a", "kind": "split-first-rows"}, {"$set": {"config": "unlisted"}}
        )
        world.queue("dataset-size", "a", OTHER_REVISION)
        slow_hub(lambda: world.queue("dataset-config-names", "a", NEWEST_REVISION))

        world.backfill()

        assert ("a", "dataset-config-names", "3") in world.jobs()
        assert ("a", "dataset-size", "2") not in world.jobs()

    def test_the_hub_is_asked_again_if_its_answer_has_become_old(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer about one dataset waits for that about another."""
        world.cache("a", "b", revision=OTHER_REVISION)
        revisions = {"a": [REVISION], "b": [REVISION]}

        def answer(_: Hub, name: str) -> Supported:
            if name == "b" and len(revisions["b"]) == 1:
                time.sleep(0.6)
            revisions[name].append(NEWEST_REVISION)
            return Supported(revisions[name][-2])

        monkeypatch.setattr(Hub, "support", answer)
        monkeypatch.setattr("include.actions.backfill.pipeline.ANSWERS_LAST_SECONDS", 0.5)

        summary = world.backfill()

        assert summary.backfilled == 2
        assert {revision for name, _, revision in world.jobs() if name == "a"} == {"3"}

    def test_the_job_of_a_child_that_a_worker_creates_stays(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker finishes a parent, and creates its child's job, between the two reads of the state."""
        world.cache("a")
        world.forget("a", "dataset-size")
        world.host("a")
        worker_is_done: list[bool] = []

        def worker_finishes_a_parent() -> None:
            if not worker_is_done:
                worker_is_done.append(True)
                world.entries.update_one(
                    {"dataset": "a", "kind": "dataset-config-names"},
                    {"$set": {"updated_at": datetime.now(UTC)}},
                )
                world.queue("dataset-info", "a")

        for store, method in ((CacheStore, "read"), (QueueStore, "pending_jobs")):
            monkeypatch.setattr(store, method, _then(getattr(store, method), worker_finishes_a_parent))

        world.backfill()

        assert [job for job in world.jobs() if job[1] == "dataset-info"] == [("a", "dataset-info", "1")]


def _then(read: Callable[..., Any], event: Callable[[], None]) -> Callable[..., Any]:
    def read_then(*arguments: Any, **options: Any) -> Any:
        result = read(*arguments, **options)
        event()
        return result

    return read_then


class TestErrors:
    def test_of_one_dataset_are_counted_and_the_others_go_on(self, world: World) -> None:
        names = ["a", "broken", "c"]
        world.cache(*names, revision=OTHER_REVISION)
        world.host("a", "c")
        world.hub_server.state.put(HubDataset("broken", REVISION, fault="server_error"))

        summary = world.backfill()

        assert (summary.backfilled, summary.failed) == (2, 1)
        [line] = summary.error_sample
        assert line.startswith("broken: the Hub did not answer: ")
        assert {name for name, _, _ in world.jobs()} == {"a", "c"}
        assert world.candidates() == {}

    def test_a_hub_that_fails_for_many_datasets_in_a_row_ends_the_backfill(self, world: World) -> None:
        names = [f"user/{number}" for number in range(FAILURES_IN_A_ROW + 10)]
        world.cache(*names, revision=OTHER_REVISION)
        world.hub_server.state.put(*(HubDataset(name, REVISION, fault="server_error") for name in names))

        with pytest.raises(HubUnavailableError, match="times in a row"):
            world.backfill()

        assert world.jobs() == []
        assert world.candidates() == {}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"$unset": {"http_status": 1}}, "it has no http_status"),
            ({"$set": {"updated_at": "yesterday"}}, "updated_at is of the type str"),
            ({"$set": {"http_status": "200"}}, "http_status is of the type str"),
            ({"$set": {"job_runner_version": "2"}}, "job_runner_version is of the type str"),
            ({"$set": {"config": ["a"]}}, "config is of the type list"),
            ({"$set": {"kind": ["config-info"]}}, "kind is of the type list"),
        ],
        ids=repr,
    )
    def test_a_malformed_entry_is_one(self, world: World, change: Document, message: str) -> None:
        world.cache("a", "malformed")
        world.host("a", "malformed")
        world.list_on_hub("a", "malformed")
        world.forget("a", "dataset-size")
        world.entries.update_one({"dataset": "malformed", "kind": "dataset-info"}, change)

        summary = world.backfill()

        assert (summary.backfilled, summary.failed) == (1, 1)
        [line] = summary.error_sample
        assert line.startswith("malformed: malformed cache entry")
        assert message in line
        assert world.jobs() == [("a", "dataset-size", "1")]

    def test_a_malformed_job_is_one(self, world: World) -> None:
        world.cache("a", "malformed", revision=OTHER_REVISION)
        world.host("a", "malformed")
        job = world.queue("dataset-config-names", "malformed")
        world.stores.databases.queue[JOBS].update_one({"_id": job}, {"$set": {"priority": "urgent"}})

        summary = world.backfill()

        assert (summary.backfilled, summary.failed) == (1, 1)
        [line] = summary.error_sample
        assert line.startswith(f"malformed: malformed job {job}: ")
        assert {name for name, _, _ in world.jobs() if name != "malformed"} == {"a"}

    def test_are_counted_in_full_and_shown_in_part(self, world: World) -> None:
        names = [f"user/{number:02}" for number in range(30)]
        world.cache(*names)
        world.hub_server.state.put(*(HubDataset(name, None) for name in names))

        summary = world.backfill()

        assert summary.failed == 30
        assert summary.error_sample == [f"{name}: the Hub's answer has no revision" for name in names[:20]]


class TestRebuilds:
    """Of incoherent caches."""

    @pytest.fixture(params=releases_that(lambda release: release.rebuilds_incoherent_caches))
    def release_name(self, request: pytest.FixtureRequest) -> str:
        name: str = request.param
        return name

    @pytest.fixture
    def spoil(self, world: World) -> Callable[[str], None]:
        def give_an_entry_to_an_unlisted_config(name: str) -> None:
            world.entries.update_one(
                {"dataset": name, "kind": "split-first-rows"}, {"$set": {"config": "unlisted"}}
            )
            folder = world.root / name / "--" / REVISION
            folder.mkdir(parents=True)
            (folder / "file").touch()

        return give_an_entry_to_an_unlisted_config

    def dataset_jobs(self, world: World, name: str) -> list[tuple[str, str, str]]:
        return [(name, step.name, "1") for step in world.release.steps if step.name.startswith("dataset-")]

    def test_remove_the_dataset_and_begin_from_nothing(
        self, world: World, spoil: Callable[[str], None]
    ) -> None:
        world.cache("user/a", "user/b")
        world.host("user/a", "user/b")
        spoil("user/a")
        world.queue("dataset-size", "user/a", OTHER_REVISION)
        world.queue("dataset-info", "user/a", status=JobStatus.STARTED)

        summary = world.backfill()

        assert (summary.untouched, summary.backfilled, summary.failed) == (1, 1, 0)
        assert list(world.stores.cache.dataset_names()) == ["user/b"]
        assert sorted(world.jobs()) == sorted(self.dataset_jobs(world, "user/a"))
        assert [path for path in world.root.rglob("*") if path.is_file()] == []
        assert list(world.stores.maintenance.unfinished_rebuilds()) == []

    def test_of_a_dataset_with_an_unsafe_name_are_errors(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The Hub's client refuses such a name, but nothing may be removed even if it did not."""
        name = "user/.."
        world.cache(name)
        world.entries.update_one(
            {"dataset": name, "kind": "split-first-rows"}, {"$set": {"config": "unlisted"}}
        )
        monkeypatch.setattr(Hub, "support", lambda *_: Supported(REVISION))
        before = world.contents()

        summary = world.backfill()

        assert summary == BackfillSummary(
            failed=1, error_sample=[f"{name}: the name {name!r} is not safe as a folder of a storage"]
        )
        assert world.contents() == before

    def test_that_were_cut_short_are_finished(self, world: World, spoil: Callable[[str], None]) -> None:
        """The run was killed when it had removed the entries, but not the files."""
        world.cache("user/a")
        world.host("user/a")
        spoil("user/a")
        world.stores.maintenance.start_rebuilds(["user/a"])
        world.stores.cache.remove(["user/a"])

        summary = world.backfill(*world.stores.maintenance.unfinished_rebuilds())

        assert summary.backfilled == 1
        assert world.jobs() == self.dataset_jobs(world, "user/a")
        assert [path for path in world.root.rglob("*") if path.is_file()] == []
        assert list(world.stores.maintenance.unfinished_rebuilds()) == []

    def test_that_were_cut_short_after_their_jobs_are_crossed_off(self, world: World) -> None:
        world.host("user/a")
        world.backfill("user/a")
        world.stores.maintenance.start_rebuilds(["user/a"])

        world.backfill(*world.stores.maintenance.unfinished_rebuilds())

        assert world.jobs() == self.dataset_jobs(world, "user/a")
        assert list(world.stores.maintenance.unfinished_rebuilds()) == []

    def test_that_were_cut_short_and_are_gone_since_are_crossed_off(self, world: World) -> None:
        world.stores.maintenance.start_rebuilds(["user/gone"])

        world.backfill(*world.stores.maintenance.unfinished_rebuilds())

        assert list(world.stores.maintenance.unfinished_rebuilds()) == []

    @pytest.mark.parametrize("batch_size", [1, 500])
    def test_that_were_cut_short_before_the_removal_are_done_once(
        self, world: World, spoil: Callable[[str], None], batch_size: int
    ) -> None:
        """The dataset is among the unfinished ones, and in the cache too."""
        world.cache("user/a")
        world.host("user/a")
        spoil("user/a")
        world.stores.maintenance.start_rebuilds(["user/a"])
        unfinished = list(world.stores.maintenance.unfinished_rebuilds())

        world.backfill(
            *chain(unfinished, world.stores.cache.dataset_names()),
            options=BackfillOptions(batch_size=batch_size),
        )

        assert world.jobs() == self.dataset_jobs(world, "user/a")

    def test_whose_files_cannot_be_removed_are_counted_once(self, world: World) -> None:
        world.cache("user/a")
        world.host("user/a")
        world.entries.update_one(
            {"dataset": "user/a", "kind": "split-first-rows"}, {"$set": {"config": "unlisted"}}
        )
        (world.root / "user" / "a").mkdir(parents=True)
        (world.root / "user" / "a" / "--").touch()

        summary = world.backfill()

        assert summary.error_sample[0].startswith("user/a: its files could not be removed: ")
        assert summary.backfilled + summary.failed == 1

    def limited(self, number: int, *, dry_run: bool = False) -> BackfillOptions:
        return BackfillOptions(batch_size=2, removal_limit=RemovalLimit(number), dry_run=dry_run)

    @pytest.mark.parametrize("dry_run", [False, True])
    @pytest.mark.parametrize("limit", [0, 3])
    def test_above_the_limit_of_the_day_are_skipped_and_reported(
        self, world: World, spoil: Callable[[str], None], limit: int, dry_run: bool
    ) -> None:
        """One job runner has failed: the entries that list the configs are errors now."""
        names = [f"user/{number}" for number in range(9)]
        world.cache(*names)
        world.host(*names)
        for name in names:
            spoil(name)

        summary = world.backfill(options=self.limited(limit, dry_run=dry_run))

        assert (summary.rebuilt, summary.backfilled) == (limit, limit)
        assert summary.over_limit == summary.untouched == len(names) - limit
        assert len(summary.over_limit_sample) == summary.over_limit
        left = list(world.stores.cache.dataset_names())
        assert left == (names if dry_run else summary.over_limit_sample)
        assert sorted({path.parts[-4] for path in world.root.rglob("file")}) == [name[5:] for name in left]

    def test_of_other_runs_and_removals_count_too(self, world: World, spoil: Callable[[str], None]) -> None:
        world.cache("user/a", "user/b")
        world.host("user/a", "user/b")
        spoil("user/a")
        spoil("user/b")
        world.stores.maintenance.removal_ledger().begin("another run", {"removed": "it is gone"}, 10)

        assert world.backfill(options=self.limited(2)).rebuilt == 1

    def test_that_were_cut_short_are_finished_whatever_the_limit(
        self, world: World, spoil: Callable[[str], None]
    ) -> None:
        world.cache("user/a")
        world.host("user/a")
        spoil("user/a")
        world.stores.maintenance.start_rebuilds(["user/a"])

        assert world.backfill(options=self.limited(0)).rebuilt == 1

    def test_are_not_of_a_dataset_to_which_a_worker_adds_a_config_meanwhile(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between our two queries, the first of which reads the lists, and the second one the entries."""
        world.cache("user/a")
        world.host("user/a")
        read_lists = CacheStore._read_lists
        configs = ["config"]

        def read_lists_slowly(store: CacheStore, *arguments: Any) -> Any:
            lists = read_lists(store, *arguments)
            configs.append(f"new-{len(configs)}")
            world.entries.update_one(
                {"kind": "dataset-config-names"},
                {"$set": {"content.config_names": [{"config": config} for config in configs]}},
            )
            entry = world.entries.find_one({"kind": "config-size"}, {"_id": 0})
            assert entry is not None
            world.entries.insert_one(entry | {"config": configs[-1]})
            return lists

        monkeypatch.setattr(CacheStore, "_read_lists", read_lists_slowly)
        before = world.entries.count_documents({})

        summary = world.backfill()

        assert (summary.rebuilt, summary.failed) == (0, 0)
        assert world.entries.count_documents({}) == before + len(configs) - 1
