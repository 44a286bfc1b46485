"""The queue store on a real MongoDB with the indexes of datasets-server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import encode
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import BulkWriteError, OperationFailure
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from dev.local_stack.documents import BLOCKAGES, JOB_TOTALS, JOBS, LOCKS, WORKER_SIZES, new_job
from dev.local_stack.mongod import Mongod
from include.databases.mongo import MAINTENANCE_DATABASE
from include.databases.queue_store import UNCHECKED_JOBS, JobChanges, QueueStore, worker_size
from include.errors import DatasetError
from include.planning.dataset_state import Job, JobStatus, Priority
from include.planning.plan import NewJob, Plan, Reason
from include.planning.processing_graph import DEFAULT_RELEASE, Level, Release
from tests.builders import DATASET, NOON, OTHER_REVISION, REVISION, contents
from tests.integration.conftest import Stores
from tests.releases import releases_that

Document = dict[str, Any]
WITH_BLOCKAGES = releases_that(lambda release: release.queue_knows_blocked_datasets)

NAMES = NewJob("dataset-config-names", None, None, 50, Reason.EMPTY)
INFO = NewJob("config-info", "a", None, 20, Reason.OBSOLETE)
PLACES = {Level.DATASET: (None, None), Level.CONFIG: ("a", None), Level.SPLIT: ("a", "train")}
ROWS = NewJob("split-first-rows", "a", "train", 90, Reason.OTHER_REVISION)


def plan(
    *new_jobs: NewJob, deleted: Sequence[Job] = (), dataset: str = DATASET, revision: str = REVISION
) -> Plan:
    return Plan(dataset, revision, new_jobs, tuple(deleted))


def put(stores: Stores, release: Release, *jobs: Document) -> None:
    """Insert jobs, and count them."""
    queue = stores.databases.queue
    queue[JOBS].insert_many(jobs)
    for job in jobs:
        key = {"job_type": job["type"], "status": job["status"]}
        if release.queue_knows_blocked_datasets:
            key["dataset_status"] = "normal"
        queue[JOB_TOTALS].update_one(key, {"$inc": {"total": 1}}, upsert=True)
        queue[WORKER_SIZES].update_one(
            {"worker_size": worker_size(job["difficulty"])}, {"$inc": {"jobs_count": 1}}, upsert=True
        )


def document(
    release: Release,
    step: str = "dataset-config-names",
    config: str | None = None,
    split: str | None = None,
    *,
    dataset: str = DATASET,
    status: JobStatus = JobStatus.WAITING,
) -> Document:
    return new_job(release.step(step), dataset, REVISION, config, split, created_at=NOON, status=status)


def pending(stores: Stores, name: str = DATASET) -> list[Job]:
    found = stores.queue.pending_jobs([name])[name]
    assert isinstance(found, list)
    return found


def jobs(stores: Stores) -> list[Document]:
    """All jobs, in the order of their insertion."""
    return list(stores.databases.queue[JOBS].find().sort("$natural"))


def totals(stores: Stores) -> dict[tuple[str, str], int]:
    found = stores.databases.queue[JOB_TOTALS].find({"total": {"$ne": 0}})
    return {(total["job_type"], total["status"]): total["total"] for total in found}


def sizes(stores: Stores) -> dict[str, int]:
    found = stores.databases.queue[WORKER_SIZES].find({"jobs_count": {"$ne": 0}})
    return {count["worker_size"]: count["jobs_count"] for count in found}


class TestPendingJobs:
    def test_are_read(self, stores: Stores, release: Release) -> None:
        waiting = document(release, "split-first-rows", "a", "train")
        started = document(release, status=JobStatus.STARTED) | {"priority": "high", "difficulty": 90}
        put(stores, release, waiting, started, document(release, dataset="other"))

        assert sorted(pending(stores), key=lambda job: job.id) == [
            Job(
                waiting["_id"],
                "split-first-rows",
                DATASET,
                REVISION,
                "a",
                "train",
                f"split-first-rows,{DATASET},{REVISION},a,train",
                JobStatus.WAITING,
                Priority.LOW,
                70,
                NOON,
            ),
            Job(
                started["_id"],
                "dataset-config-names",
                DATASET,
                REVISION,
                None,
                None,
                f"dataset-config-names,{DATASET},{REVISION}",
                JobStatus.STARTED,
                Priority.HIGH,
                90,
                NOON,
            ),
        ]

    def test_of_several_datasets_at_a_time(self, stores: Stores, release: Release) -> None:
        put(stores, release, *(document(release, dataset=name) for name in ("x", "y", "x", "z")))

        found = stores.queue.pending_jobs(["x", "y", "unknown"])

        assert {name: len(jobs) for name, jobs in found.items() if isinstance(jobs, list)} == {"x": 2, "y": 1}

    def test_ids_alone(self, stores: Stores, release: Release) -> None:
        found = [document(release, dataset="x"), document(release, dataset="y", status=JobStatus.STARTED)]
        put(stores, release, *found, document(release, dataset="z"))

        assert stores.queue.pending_job_ids(["x", "y", "unknown"]) == {job["_id"] for job in found}

    def test_which_datasets_have_any(self, stores: Stores, release: Release) -> None:
        started = document(release, dataset="y", status=JobStatus.STARTED)
        put(stores, release, started, *(document(release, dataset=name) for name in ("x", "x", "z")))

        assert stores.queue.with_pending_jobs(["x", "y", "unknown"]) == {"x", "y"}

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda job: job.pop("revision"),
            lambda job: job.pop("created_at"),
            lambda job: job.update(priority="urgent"),
            lambda job: job.update(status=["waiting"]),
        ],
        ids=["no revision", "no time", "unknown priority", "malformed status"],
    )
    def test_a_malformed_one_is_an_error_of_its_dataset_alone(
        self, stores: Stores, release: Release, spoil: Callable[[Document], None]
    ) -> None:
        malformed = document(release)
        spoil(malformed)
        good, other = document(release), document(release, dataset="other")
        stores.databases.queue[JOBS].insert_many([good, malformed, other])

        found = stores.queue.pending_jobs([DATASET, "other"])

        assert isinstance(found["other"], list)
        error = found[DATASET]
        assert isinstance(error, DatasetError)
        assert str(error).startswith(f"malformed job {malformed['_id']}: ")


class TestApply:
    def test_creates_jobs_as_workers_expect_them(self, stores: Stores) -> None:
        before = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=1)

        changes = stores.queue.apply([plan(NAMES, INFO, ROWS)], Priority.NORMAL)

        assert changes == JobChanges(created=3, deleted=0)
        found = jobs(stores)
        for job in found:
            del job["_id"]
            assert before <= job.pop("created_at") <= datetime.now(UTC).replace(tzinfo=None)
        common = {"dataset": DATASET, "revision": REVISION, "namespace": "user"}
        common |= {"priority": "normal", "status": "waiting"}
        assert found == [
            {
                "type": "dataset-config-names",
                "unicity_id": f"dataset-config-names,{DATASET},{REVISION}",
                "difficulty": 50,
                **common,
            },
            {
                "type": "config-info",
                "config": "a",
                "unicity_id": f"config-info,{DATASET},{REVISION},a",
                "difficulty": 20,
                **common,
            },
            {
                "type": "split-first-rows",
                "config": "a",
                "split": "train",
                "unicity_id": f"split-first-rows,{DATASET},{REVISION},a,train",
                "difficulty": 90,
                **common,
            },
        ]

    def test_a_canonical_dataset_is_its_own_namespace(self, stores: Stores) -> None:
        stores.queue.apply([plan(NAMES, dataset="squad")], Priority.LOW)

        assert [job["namespace"] for job in jobs(stores)] == ["squad"]

    def test_inserts_in_the_order_of_the_plans(self, stores: Stores) -> None:
        stores.queue.apply([plan(ROWS, NAMES, dataset="b"), plan(INFO, dataset="a")], Priority.LOW)

        order = [(job["dataset"], job["type"]) for job in jobs(stores)]
        assert order == [("b", "split-first-rows"), ("b", "dataset-config-names"), ("a", "config-info")]
        ids = [job["_id"] for job in jobs(stores)]
        assert ids == sorted(ids)

    def test_counts_the_created_and_the_deleted_jobs(self, stores: Stores, release: Release) -> None:
        obsolete = [document(release), document(release), document(release, "split-first-rows", "a", "x")]
        kept = document(release, "config-info", "b")
        put(stores, release, *obsolete, kept)
        deleted = [job for job in pending(stores) if job.id != kept["_id"]]

        changes = stores.queue.apply(
            [plan(NAMES, INFO, deleted=deleted), plan(INFO, dataset="other")], Priority.LOW
        )

        assert changes == JobChanges(created=3, deleted=3)
        assert jobs(stores)[0]["_id"] == kept["_id"]
        assert totals(stores) == {("dataset-config-names", "waiting"): 1, ("config-info", "waiting"): 3}
        assert sizes(stores) == {"light": 3, "medium": 1}

    def test_counts_in_documents_of_the_release(self, stores: Stores, release: Release) -> None:
        stores.queue.apply([plan(NAMES)], Priority.LOW)

        [total] = stores.databases.queue[JOB_TOTALS].find({}, {"_id": 0})
        status = {"dataset_status": "normal"} if release.queue_knows_blocked_datasets else {}
        assert total == {"job_type": "dataset-config-names", "status": "waiting", "total": 1} | status
        [size] = stores.databases.queue[WORKER_SIZES].find({}, {"_id": 0})
        assert size == {"worker_size": "medium", "jobs_count": 1}

    def test_leaves_the_time_of_a_count_alone(self, stores: Stores) -> None:
        stores.databases.queue[WORKER_SIZES].insert_one(
            {"worker_size": "medium", "jobs_count": 5, "created_at": NOON}
        )

        stores.queue.apply([plan(NAMES)], Priority.LOW)

        [size] = stores.databases.queue[WORKER_SIZES].find({}, {"_id": 0})
        assert size == {"worker_size": "medium", "jobs_count": 6, "created_at": NOON}

    def test_a_new_job_of_a_blocked_dataset_is_not_one_for_the_workers(
        self, stores: Stores, release: Release
    ) -> None:
        stores.databases.queue[BLOCKAGES].insert_one({"dataset": "blocked", "blocked_at": datetime.now(UTC)})

        stores.queue.apply([plan(NAMES, INFO, dataset="blocked"), plan(NAMES)], Priority.LOW)

        every_job, not_blocked = {"light": 1, "medium": 2}, {"medium": 1}
        assert sizes(stores) == (not_blocked if release.queue_knows_blocked_datasets else every_job)
        assert totals(stores) == {("dataset-config-names", "waiting"): 2, ("config-info", "waiting"): 1}

    def test_leaves_locks_alone(self, stores: Stores, release: Release) -> None:
        put(stores, release, document(release))
        [job] = pending(stores)
        lock = {"_id": job.unicity_id, "owner": "worker", "ttl": 600, "updated_at": NOON}
        stores.databases.queue[LOCKS].insert_one(lock)

        stores.queue.apply([plan(deleted=[job])], Priority.LOW)

        assert list(stores.databases.queue[LOCKS].find()) == [lock]

    def test_a_job_started_meanwhile_is_left_alone(self, stores: Stores, release: Release) -> None:
        put(stores, release, document(release), document(release, "config-info", "a"))
        planned = pending(stores)
        start(stores, "dataset-config-names")

        changes = stores.queue.apply([plan(deleted=planned)], Priority.LOW)

        assert changes == JobChanges(created=0, deleted=1)
        assert [(job["type"], job["status"]) for job in jobs(stores)] == [("dataset-config-names", "started")]
        assert totals(stores) == {("dataset-config-names", "waiting"): 1}  # it is the worker that counts it
        assert sizes(stores) == {"medium": 1}

    def test_a_job_started_at_the_same_time_is_left_alone(
        self, stores: Stores, release: Release, mongod: Mongod
    ) -> None:
        """The worker is in between the look at the waiting jobs and their deletion."""
        put(stores, release, document(release), document(release, "config-info", "a"))
        planned = pending(stores)
        worker = OnFirst("find", lambda: start(stores, "dataset-config-names"))
        with MongoClient[Document](mongod.uri, event_listeners=[worker]) as client:
            client.admin.command("ping")
            queue = QueueStore(client[stores.databases.queue.name], release)

            changes = queue.apply([plan(deleted=planned)], Priority.LOW)

        assert worker.is_done
        assert changes == JobChanges(created=0, deleted=1)
        assert [(job["type"], job["status"]) for job in jobs(stores)] == [("dataset-config-names", "started")]
        assert totals(stores) == {("dataset-config-names", "waiting"): 1}

    def test_is_a_transaction_even_if_it_is_the_first_thing_a_client_does(
        self, stores: Stores, release: Release, mongod: Mongod
    ) -> None:
        commits = OnFirst("commitTransaction", lambda: None)
        with MongoClient[Document](mongod.uri, event_listeners=[commits]) as client:
            queue = QueueStore(client[stores.databases.queue.name], release)

            queue.apply([plan(NAMES)], Priority.LOW)

        assert commits.is_done

    @pytest.mark.parametrize("refusing_collection", [JOB_TOTALS, WORKER_SIZES])
    def test_counts_that_cannot_be_moved_are_moved_by_the_next_run(
        self, stores: Stores, refusing_collection: str
    ) -> None:
        with refusing_writes(stores, refusing_collection), pytest.raises(BulkWriteError):
            stores.queue.apply([plan(NAMES, ROWS)], Priority.LOW)

        assert len(jobs(stores)) == 2
        assert totals(stores) == {}
        assert sizes(stores) == {}
        stores.queue.apply([], Priority.LOW)
        assert totals(stores) == {("dataset-config-names", "waiting"): 1, ("split-first-rows", "waiting"): 1}
        assert sizes(stores) == {"medium": 1, "heavy": 1}

    def test_writes_a_transaction_as_a_whole_or_not_at_all(self, stores: Stores, release: Release) -> None:
        put(stores, release, document(release), document(release, "config-info", "a"))
        before = contents(stores.databases.queue)
        deleted = pending(stores)

        with refusing_writes(stores, JOBS), pytest.raises(BulkWriteError):
            stores.queue.apply([plan(NAMES, ROWS, deleted=deleted)], Priority.LOW)

        assert contents(stores.databases.queue) == before

    def test_a_job_that_a_webhook_creates_meanwhile_is_not_created_again(
        self, stores: Stores, release: Release
    ) -> None:
        put(stores, release, document(release), document(release, "config-info", "a", dataset="other"))

        changes = stores.queue.apply([plan(NAMES, INFO)], Priority.LOW)

        assert changes == JobChanges(created=1, deleted=0)
        assert [(job["dataset"], job["type"]) for job in jobs(stores)] == [
            (DATASET, "dataset-config-names"),
            ("other", "config-info"),
            (DATASET, "config-info"),
        ]
        assert totals(stores) == {("dataset-config-names", "waiting"): 1, ("config-info", "waiting"): 2}

    def test_a_job_that_a_webhook_creates_at_the_same_time_is_there_once(
        self, stores: Stores, release: Release, mongod: Mongod
    ) -> None:
        """The webhook sees no job, because the transaction that inserts ours is not yet committed."""
        of_webhook = document(release)
        webhook = OnFirst("insert", lambda: put(stores, release, of_webhook))
        with MongoClient[Document](mongod.uri, event_listeners=[webhook]) as client:
            queue = QueueStore(client[stores.databases.queue.name], release)

            changes = queue.apply([plan(NAMES, INFO)], Priority.LOW)

        assert webhook.is_done
        assert changes == JobChanges(created=1, deleted=0)
        assert {job["_id"]: job["type"] for job in jobs(stores)}[of_webhook["_id"]] == "dataset-config-names"
        assert sorted(job["type"] for job in jobs(stores)) == ["config-info", "dataset-config-names"]
        assert totals(stores) == {("dataset-config-names", "waiting"): 1, ("config-info", "waiting"): 1}
        assert sizes(stores) == {"light": 1, "medium": 1}

    def test_a_worker_can_start_a_job_that_is_about_to_be_deleted(
        self, stores: Stores, release: Release, mongod: Mongod
    ) -> None:
        """It does not have to wait for the transaction, which then does not delete the job."""
        put(stores, release, document(release))
        waiting = stores.databases.queue[JOBS]
        worker = OnFirst(
            "insert",
            lambda: (
                None
                if waiting.find_one_and_update(
                    {"status": "waiting"}, {"$set": {"status": "started"}}, maxTimeMS=2_000
                )
                else pytest.fail("there is no job to start")
            ),
        )
        with MongoClient[Document](mongod.uri, event_listeners=[worker]) as client:
            queue = QueueStore(client[stores.databases.queue.name], release)

            changes = queue.apply([plan(INFO, deleted=pending(stores))], Priority.LOW)

        assert changes == JobChanges(created=1, deleted=0)
        assert sorted((job["type"], job["status"]) for job in jobs(stores)) == [
            ("config-info", "waiting"),
            ("dataset-config-names", "started"),
        ]

    def test_a_job_doubled_by_another_program_before_a_kill_is_withdrawn_by_the_next_run(
        self, stores: Stores, release: Release, mongod: Mongod
    ) -> None:
        of_webhook = document(release)

        def double_and_die() -> None:
            put(stores, release, of_webhook)
            raise KilledError

        killer = OnFirst("commitTransaction", double_and_die)
        with MongoClient[Document](mongod.uri, event_listeners=[killer]) as client:
            queue = QueueStore(client[stores.databases.queue.name], release)
            with pytest.raises(KilledError):
                queue.apply([plan(NAMES, INFO)], Priority.LOW)
        assert len(jobs(stores)) == 3

        stores.queue.check_new_jobs()
        stores.queue.pay_owed_counts()

        left = {job["type"]: job["_id"] for job in jobs(stores)}
        assert len(jobs(stores)) == 2
        assert left["dataset-config-names"] == of_webhook["_id"]
        assert totals(stores) == {("dataset-config-names", "waiting"): 1, ("config-info", "waiting"): 1}
        assert queue_records(stores) == 0

    def test_what_was_checked_is_not_checked_again(self, stores: Stores) -> None:
        stores.queue.apply([plan(NAMES, INFO)], Priority.LOW)

        assert queue_records(stores) == 0

    def test_an_artifact_with_the_same_unicity_id_as_another_one_is_created(
        self, stores: Stores, release: Release
    ) -> None:
        """The id does not say whether a comma parts two names or belongs to one."""
        put(stores, release, document(release, "split-first-rows", "a,b", "c"))

        stores.queue.apply([plan(NewJob("split-first-rows", "a", "b,c", 70, Reason.EMPTY))], Priority.LOW)

        assert [(job["config"], job["split"]) for job in jobs(stores)] == [("a,b", "c"), ("a", "b,c")]

    def test_workers_take_the_jobs_of_parents_before_those_of_children(
        self, stores: Stores, release: Release
    ) -> None:
        """A plan inserts an empty child before an obsolete parent."""
        children_first = [
            NewJob(step.name, *PLACES[step.input_type], step.difficulty, Reason.EMPTY)
            for step in reversed(release.steps)
        ]

        stores.queue.apply([plan(*children_first)], Priority.LOW)

        # As workers take them: of a priority, the oldest.
        found = stores.databases.queue[JOBS].find({"priority": "low", "status": "waiting"}).sort("created_at")
        taken = [job["type"] for job in found]
        created_at = {job["type"]: job["created_at"] for job in jobs(stores)}
        assert sorted(taken) == sorted(step.name for step in release.steps)
        for step in release.steps:
            for parent in step.parents:
                assert taken.index(parent.name) < taken.index(step.name)
                assert created_at[parent.name] < created_at[step.name]

    @pytest.mark.parametrize("release_name", [DEFAULT_RELEASE])
    def test_the_jobs_of_a_giant_dataset_take_several_transactions(
        self, stores: Stores, release: Release
    ) -> None:
        put(stores, release, document(release))
        new = [NewJob("config-info", str(number), None, 20, Reason.EMPTY) for number in range(20_001)]
        jobs_when_called: list[int] = []

        changes = stores.queue.apply(
            [plan(*new, deleted=pending(stores))],
            Priority.LOW,
            also=lambda session: jobs_when_called.append(
                stores.databases.queue[JOBS].count_documents({}, session=session)
            ),
        )

        assert changes == JobChanges(created=20_001, deleted=1)
        assert [int(job["config"]) for job in jobs(stores)] == list(range(20_001))
        assert totals(stores) == {("config-info", "waiting"): 20_001}
        assert jobs_when_called == [20_001]

    def test_of_no_plan_writes_nothing(self, stores: Stores) -> None:
        assert stores.queue.apply([], Priority.LOW) == JobChanges(0, 0)

        assert contents(stores.databases.queue) == {}


class TestRemove:
    def test_deletes_the_waiting_jobs_and_counts(self, stores: Stores, release: Release) -> None:
        started = document(release, dataset="x", status=JobStatus.STARTED)
        other = document(release, dataset="other")
        put(stores, release, started, other, document(release, dataset="x"))
        put(stores, release, document(release, "config-info", "a", dataset="y"))

        assert stores.queue.remove(["x", "y", "unknown"]) == 2

        assert [job["_id"] for job in jobs(stores)] == [started["_id"], other["_id"]]
        assert totals(stores) == {
            ("dataset-config-names", "started"): 1,
            ("dataset-config-names", "waiting"): 1,
        }
        assert sizes(stores) == {"medium": 2}

    @pytest.mark.parametrize("release_name", [DEFAULT_RELEASE])
    def test_the_jobs_of_a_giant_dataset_take_several_transactions(self, stores: Stores) -> None:
        new = [NewJob("config-info", str(number), None, 20, Reason.EMPTY) for number in range(10_001)]
        stores.queue.apply([plan(*new)], Priority.LOW)

        assert stores.queue.remove([DATASET]) == 10_001
        stores.queue.pay_owed_counts()

        assert jobs(stores) == []
        assert totals(stores) == {}

    @pytest.mark.parametrize("release_name", [DEFAULT_RELEASE])
    def test_a_job_whose_id_cannot_be_written_keeps_no_other_job(
        self, stores: Stores, release: Release
    ) -> None:
        malformed = encode({**document(release), "_id": "??"}).replace(b"??", b"?\xff")
        stores.databases.queue[JOBS].insert_one(RawBSONDocument(malformed))
        stores.databases.queue[JOBS].insert_many(
            document(release, "config-info", str(number)) for number in range(1_001)
        )

        assert stores.queue.remove([DATASET]) == 1_001

    def test_releases_the_locks_of_the_deleted_jobs_alone(self, stores: Stores, release: Release) -> None:
        waiting = document(release)
        started = document(release, "config-info", "a", status=JobStatus.STARTED)
        put(stores, release, waiting, started)
        locks = [
            {"_id": unicity_id, "owner": "worker", "ttl": 600, "updated_at": NOON}
            for unicity_id in (waiting["unicity_id"], started["unicity_id"], "another")
        ]
        stores.databases.queue[LOCKS].insert_many(locks)

        stores.queue.remove([DATASET])

        first, *others = stores.databases.queue[LOCKS].find()
        assert first.pop("updated_at") > NOON
        assert first == {"_id": waiting["unicity_id"], "owner": None, "ttl": 600}
        assert others == locks[1:]

    def test_makes_no_lock(self, stores: Stores, release: Release) -> None:
        put(stores, release, document(release))

        stores.queue.remove([DATASET])

        assert list(stores.databases.queue[LOCKS].find()) == []

    @pytest.mark.parametrize("release_name", WITH_BLOCKAGES)
    def test_a_job_of_a_blocked_dataset_is_taken_off_the_counts(
        self, stores: Stores, release: Release
    ) -> None:
        put(stores, release, document(release))
        stores.databases.queue[BLOCKAGES].insert_one({"dataset": DATASET, "blocked_at": datetime.now(UTC)})

        stores.queue.remove([DATASET])

        assert totals(stores) == {}
        assert sizes(stores) == {}

    @pytest.mark.parametrize("names", [[], ["unknown"]])
    def test_of_nothing_writes_nothing(self, stores: Stores, release: Release, names: list[str]) -> None:
        put(stores, release, document(release))
        before = contents(stores.databases.queue)

        assert stores.queue.remove(names) == 0

        assert contents(stores.databases.queue) == before

    @pytest.mark.parametrize("refusing_collection", [LOCKS])
    def test_is_done_as_a_whole_or_not_at_all(
        self, stores: Stores, release: Release, refusing_collection: str
    ) -> None:
        waiting = document(release)
        put(stores, release, waiting, document(release, "config-info", "a"))
        stores.databases.queue[LOCKS].insert_one({"_id": waiting["unicity_id"], "owner": "worker"})
        before = contents(stores.databases.queue)

        with refusing_writes(stores, refusing_collection), pytest.raises(OperationFailure):
            stores.queue.remove([DATASET])

        assert contents(stores.databases.queue) == before


@pytest.mark.parametrize(
    ("difficulty", "size"),
    [(1, "light"), (40, "light"), (41, "medium"), (70, "medium"), (71, "heavy"), (100, "heavy")],
)
def test_the_size_of_workers(difficulty: int, size: str) -> None:
    assert worker_size(difficulty) == size


def test_other_revisions_have_jobs_of_their_own(stores: Stores) -> None:
    stores.queue.apply([plan(NAMES)], Priority.LOW)
    stores.queue.apply([plan(NAMES, revision=OTHER_REVISION)], Priority.LOW)

    assert [job.revision for job in pending(stores)] == [REVISION, OTHER_REVISION]


def start(stores: Stores, job_type: str) -> None:
    """Do as a worker does that takes a job."""
    stores.databases.queue[JOBS].update_one({"type": job_type}, {"$set": {"status": "started"}})


def queue_records(stores: Stores) -> int:
    """Count the records of new jobs that are not checked yet."""
    records = stores.databases.queue.client[MAINTENANCE_DATABASE][UNCHECKED_JOBS]
    return records.count_documents({"database": stores.databases.queue.name})


class KilledError(BaseException):
    """Ends a program at once: nothing catches it."""


class OnFirst(CommandListener):
    """Does something once the first command of a name has been answered."""

    def __init__(self, command: str, do: Callable[[], None]) -> None:
        self._command = command
        self._do = do
        self.is_done = False

    def started(self, event: CommandStartedEvent) -> None: ...

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if event.command_name == self._command and not self.is_done:
            self.is_done = True
            self._do()

    def failed(self, event: CommandFailedEvent) -> None: ...


@contextmanager
def refusing_writes(stores: Stores, collection: str) -> Iterator[None]:
    """Let a collection of the queue refuse every write."""
    database = stores.databases.queue
    if collection not in database.list_collection_names():
        database.create_collection(collection)
    database.command("collMod", collection, validator={"_id": None})
    try:
        yield
    finally:
        database.command("collMod", collection, validator={})
