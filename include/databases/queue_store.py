"""The queue database: the only place that knows ``jobsBlue``, its counts, the locks and the blockages."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.database import Database

from include.batches import batched
from include.databases.counts import CountCollection, Counts, Group
from include.databases.mongo import (
    DOCUMENTS_PER_TRANSACTION,
    NO_LIMIT_BUT_THE_REPLY_SIZE,
    Session,
    in_transaction,
    in_transactions,
)
from include.errors import DatasetError
from include.planning.dataset_state import Job, JobStatus, Priority
from include.planning.plan import NewJob, Plan
from include.planning.processing_graph import Release
from include.planning.rules import MAX_DIFFICULTY, MAX_LIGHT_DIFFICULTY, MAX_MEDIUM_DIFFICULTY

Document = dict[str, Any]

#: The collections that maintenance reads and writes.
COLLECTIONS = ("jobsBlue", "jobTotalMetric", "locks", "workerTypeJobCounts")


_JOB_FIELDS = dict.fromkeys(
    (
        "type",
        "dataset",
        "revision",
        "config",
        "split",
        "unicity_id",
        "status",
        "priority",
        "difficulty",
        "created_at",
    ),
    1,
)


@dataclass(frozen=True, slots=True)
class JobChanges:
    """How many jobs were created, and how many waiting ones deleted."""

    created: int = 0
    deleted: int = 0


class QueueStore:
    """Reads, creates and deletes jobs, for many datasets at a time, and keeps their counts right.

    :param database: the queue database of datasets-server.
    :param release: tells whether the jobs of blocked datasets are set apart.
    """

    def __init__(self, database: Database[Document], release: Release) -> None:
        self._database = database
        self._release = release
        self._jobs = database["jobsBlue"]
        self._locks = database["locks"]
        self._blockages = database["datasetBlockages"]
        self._totals = database["jobTotalMetric"]
        self._worker_sizes = database["workerTypeJobCounts"]

    def pending_jobs(self, names: Sequence[str]) -> dict[str, list[Job] | DatasetError]:
        """Read the waiting and the started jobs of some datasets, with one query.

        :return: by name, for each dataset that has any; an error for a dataset with a malformed job.
        """
        jobs: dict[str, list[Job]] = defaultdict(list)
        errors: dict[str, DatasetError] = {}
        query = {"dataset": {"$in": names}}  # all jobs are pending: those that have finished are deleted
        for document in self._jobs.find(query, _JOB_FIELDS, batch_size=NO_LIMIT_BUT_THE_REPLY_SIZE):
            try:
                jobs[document["dataset"]].append(_job(document))
            except (KeyError, ValueError) as error:
                errors[document["dataset"]] = DatasetError(f"malformed job {document['_id']}: {error!r}")
        return {**jobs, **errors}

    def with_pending_jobs(self, names: Sequence[str]) -> set[str]:
        """Give those of some datasets that have waiting or started jobs; an index answers it."""
        return set(self._jobs.distinct("dataset", {"dataset": {"$in": names}}))

    def apply(
        self,
        plans: Sequence[Plan],
        priority: Priority,
        and_write: Callable[[Session], None] | None = None,
    ) -> JobChanges:
        """Delete and create the jobs of some plans, as a whole or not at all; deletions come first.

        More than 10,000 are written in several transactions. Each leaves the counts right, and where the last
        ones are missing, a new plan will have what they lack. A job that a worker has started since the plan
        was made is left alone. What ``and_write`` writes on the same server is in the last transaction.
        """
        writes: list[ObjectId | tuple[Plan, NewJob]] = [job.id for plan in plans for job in plan.deleted_jobs]
        writes += [(plan, job) for plan in plans for job in plan.new_jobs]
        parts = list(batched(writes, DOCUMENTS_PER_TRANSACTION)) or [[]]
        changes = JobChanges()
        for number, part in enumerate(parts, start=1):
            ids = [item for item in part if isinstance(item, ObjectId)]
            jobs = [item for item in part if not isinstance(item, ObjectId)]
            last = and_write if number == len(parts) else None
            done = in_transaction(self._database.client, partial(self._apply, ids, jobs, priority, last))
            changes = JobChanges(changes.created + done.created, changes.deleted + done.deleted)
        return changes

    def _apply(
        self,
        deleted_ids: Sequence[ObjectId],
        new_jobs: Sequence[tuple[Plan, NewJob]],
        priority: Priority,
        and_write: Callable[[Session], None] | None,
        session: Session,
    ) -> JobChanges:
        deleted = self._delete_waiting({"_id": {"$in": deleted_ids}}, session) if deleted_ids else []
        now = datetime.now(UTC)
        created = [_new_document(plan, job, priority, now) for plan, job in new_jobs]
        if created:
            self._jobs.insert_many(created, session=session)
        self._count(created, deleted, session)
        if and_write is not None:
            and_write(session)
        return JobChanges(len(created), len(deleted))

    def remove(self, names: Sequence[str]) -> int:
        """Delete the waiting jobs of some datasets and release their locks.

        Started jobs are left to their workers. Up to 10,000 jobs are deleted as a whole or not at all, and
        more in several transactions.

        :return: the number of jobs deleted.
        """
        return in_transactions(self._database.client, lambda session: self._remove(names, session))

    def _remove(self, names: Sequence[str], session: Session) -> int:
        deleted = self._delete_waiting({"dataset": {"$in": names}}, session)
        if deleted:
            self._locks.update_many(
                {"_id": {"$in": [job["unicity_id"] for job in deleted]}},
                {"$set": {"owner": None, "updated_at": datetime.now(UTC)}},
                session=session,
            )
        self._count([], deleted, session)
        return len(deleted)

    def _delete_waiting(self, query: Document, session: Session) -> list[Document]:
        """Delete jobs that meet the query and still wait, and give what counts and locks need of them."""
        fields = {"type": 1, "dataset": 1, "difficulty": 1, "unicity_id": 1}
        waiting = {"status": JobStatus.WAITING.value}
        found = self._jobs.find(query | waiting, fields, session=session)
        jobs = list(found.limit(DOCUMENTS_PER_TRANSACTION))
        if jobs:
            ids = {"_id": {"$in": [job["_id"] for job in jobs]}}
            self._jobs.delete_many(ids | waiting, session=session)
        return jobs

    def _count(self, created: Sequence[Document], deleted: Sequence[Document], session: Session) -> None:
        """Move the counts of waiting jobs, by type, and of jobs, by worker size, with one update for each.

        Last in its transaction, because the workers move the same counts, and wait as long as it lasts.
        """
        types = Counter(job["type"] for job in created)
        types.subtract(job["type"] for job in deleted)
        blocked = self._blocked({job["dataset"] for job in created}, session)
        sizes = Counter(worker_size(job["difficulty"]) for job in created if job["dataset"] not in blocked)
        sizes.subtract(worker_size(job["difficulty"]) for job in deleted)
        if moves := [_move(self._total_key(type_), "total", by) for type_, by in types.items() if by]:
            self._totals.bulk_write(moves, session=session)
        if moves := [_move({"worker_size": size}, "jobs_count", by) for size, by in sizes.items() if by]:
            self._worker_sizes.bulk_write(moves, session=session)

    def _total_key(self, job_type: str) -> Document:
        key = {"job_type": job_type, "status": JobStatus.WAITING.value}
        return key | {"dataset_status": "normal"} if self._release.queue_knows_blocked_datasets else key

    def _blocked(self, names: Iterable[str], session: Session) -> set[str]:
        if not self._release.queue_knows_blocked_datasets:
            return set()
        found = self._blockages.find({"dataset": {"$in": list(names)}}, {"dataset": 1}, session=session)
        return {document["dataset"] for document in found}

    def collect_metrics(self, *, dry_run: bool = False) -> list[Counts]:
        """Count the jobs by type and status, and by worker size, and store the counts (not in a dry run).

        Where the release sets the jobs of blocked datasets apart, they have totals of their own, and are
        not counted by worker size.
        """
        by_release = ("dataset_status",) if self._release.queue_knows_blocked_datasets else ()
        totals = CountCollection(
            self._totals, "queue.jobs", ("job_type", "status", *by_release), count_field="total"
        )
        sizes = CountCollection(
            self._worker_sizes, "queue.jobs_by_worker_size", ("worker_size",), count_field="jobs_count"
        )
        stored_totals, stored_sizes = totals.stored(), sizes.stored()
        by_total, by_size = self._count_jobs()
        return [
            totals.replace(stored_totals, by_total, dry_run=dry_run),
            sizes.replace(stored_sizes, by_size, dry_run=dry_run),
        ]

    def _count_jobs(self) -> tuple[dict[Group, int], dict[Group, int]]:
        """Count the jobs by total and by worker size, in one pass, so that both are of the same moment.

        It reads each job once: no index holds the difficulty together with the type and the dataset.
        """
        totals: Counter[Group] = Counter()
        sizes: Counter[Group] = Counter(dict.fromkeys((("light",), ("medium",), ("heavy",)), 0))
        knows_blocked = self._release.queue_knows_blocked_datasets
        for job in self._jobs.aggregate([{"$group": self._job_group()}]):
            key, count = job["_id"], job["count"]
            blocked = key.get("blocked", False)
            dataset_status = ("blocked" if blocked else "normal",) if knows_blocked else ()
            totals[(key.get("type"), key.get("status"), *dataset_status)] += count
            if not blocked and _is_difficulty(key.get("difficulty")):
                sizes[(worker_size(key["difficulty"]),)] += count
        return totals, sizes

    def _job_group(self) -> Document:
        key: Document = {"type": "$type", "status": "$status", "difficulty": "$difficulty"}
        if self._release.queue_knows_blocked_datasets:
            blocked = [document["dataset"] for document in self._blockages.find({}, {"dataset": 1})]
            # As $in, but with a hash set: it takes no longer for thousands of blocked datasets.
            key["blocked"] = {"$setIsSubset": [["$dataset"], {"$literal": blocked}]}
        return {"_id": key, "count": {"$sum": 1}}


def worker_size(difficulty: int) -> str:
    """Tell the size of the workers that take jobs of a difficulty from 1 to 100."""
    if difficulty <= MAX_LIGHT_DIFFICULTY:
        return "light"
    return "medium" if difficulty <= MAX_MEDIUM_DIFFICULTY else "heavy"


def _is_difficulty(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value <= MAX_DIFFICULTY


def _move(key: Document, count: str, by: int) -> UpdateOne:
    return UpdateOne(
        key, {"$inc": {count: by}, "$setOnInsert": {"created_at": datetime.now(UTC)}}, upsert=True
    )


def _job(document: Document) -> Job:
    return Job(
        id=document["_id"],
        type=document["type"],
        dataset=document["dataset"],
        revision=document["revision"],
        config=document.get("config"),
        split=document.get("split"),
        unicity_id=document["unicity_id"],
        status=JobStatus(document["status"]),
        priority=Priority(document["priority"]),
        difficulty=document["difficulty"],
        created_at=document["created_at"],
    )


def _new_document(plan: Plan, job: NewJob, priority: Priority, now: datetime) -> Document:
    """Make the document of a new job: without ``config`` and ``split`` where they do not apply."""
    config_and_split = {"config": job.config, "split": job.split}
    place = {field: name for field, name in config_and_split.items() if name is not None}
    return {
        "type": job.type,
        "dataset": plan.dataset,
        "revision": plan.revision,
        **place,
        "unicity_id": ",".join([job.type, plan.dataset, plan.revision, *place.values()]),
        "namespace": plan.dataset.split("/")[0],
        "priority": priority.value,
        "status": JobStatus.WAITING.value,
        "difficulty": job.difficulty,
        "created_at": now,
    }
