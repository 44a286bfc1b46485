"""The queue database: the only module that knows ``jobsBlue``, its counts, the locks and the blockages."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from bson import Int64, ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.cursor import Cursor
from pymongo.database import Database

from include.databases.counts import CountCollection, Counts, Group
from include.databases.malformed import ANY_DATE, ANY_TEXT, is_number, is_text, read_separately
from include.databases.mongo import (
    DOCUMENTS_PER_TRANSACTION,
    FROM_PRIMARY,
    MAINTENANCE_DATABASE,
    NO_LIMIT_BUT_THE_REPLY_SIZE,
    ReadMode,
    Session,
    enough_for_a_transaction,
    in_transaction,
    in_transactions,
    raw_collection,
    retried,
)
from include.databases.owed_counts import CountMove, OwedCounts
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.errors import DatasetError
from include.planning.dataset_state import Job, JobStatus, Priority
from include.planning.plan import NewJob, Plan
from include.planning.processing_graph import Release
from include.planning.rules import MAX_DIFFICULTY, MAX_LIGHT_DIFFICULTY, MAX_MEDIUM_DIFFICULTY

Document = dict[str, Any]

logger = logging.getLogger(__name__)

#: The collections that maintenance uses, each with the actions that a role of MongoDB must allow.
COLLECTIONS = {
    "jobsBlue": ("find", "insert", "remove"),
    "jobTotalMetric": ("find", "insert", "update", "remove"),
    "workerTypeJobCounts": ("find", "insert", "update", "remove"),
    "locks": ("update",),
}


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


_TYPES: Mapping[str, tuple[type, ...]] = {
    "_id": (ObjectId,),
    "type": (str,),
    "revision": (str,),
    "config": (str, type(None)),
    "split": (str, type(None)),
    "unicity_id": (str,),
    "difficulty": (int, Int64, float),
    "created_at": (datetime,),
}

#: In our own database: the ids of jobs that were created, until it is known that no other program has created
#: them too. A document has those of one transaction.
UNCHECKED_JOBS = "uncheckedJobs"

#: What identifies the artifact of a job, and its revision.
_ARTIFACT_FIELDS = ("type", "dataset", "revision", "config", "split")


@dataclass(frozen=True, slots=True)
class JobChanges:
    """How many jobs were created, and how many waiting ones deleted."""

    created: int = 0
    deleted: int = 0

    def __add__(self, other: JobChanges) -> JobChanges:
        return JobChanges(self.created + other.created, self.deleted + other.deleted)


class QueueStore:
    """Reads, creates and deletes jobs, for many datasets at a time, and keeps their counts right.

    :param database: the queue database of datasets-server.
    :param release: its rules say whether the jobs of blocked datasets are counted separately.
    :param read_preference: of the reads that no write to a job is based on: those of metrics.
    :param max_time_ms: for how long MongoDB may work on the query of :meth:`pending_jobs`; None: without a
        limit.
    """

    def __init__(
        self,
        database: Database[Document],
        release: Release,
        read_preference: ReadMode = FROM_PRIMARY,
        max_time_ms: int | None = None,
    ) -> None:
        self._database = database
        self._release = release
        self._max_time_ms = max_time_ms
        self._jobs = database.get_collection("jobsBlue", ANY_TEXT)
        self._raw_jobs = raw_collection(self._jobs)
        self._decodable = self._jobs.with_options(ANY_DATE)
        self._locks = database["locks"]
        self._blockages = database.get_collection("datasetBlockages", ANY_TEXT)
        self._totals = database["jobTotalMetric"]
        self._worker_sizes = database["workerTypeJobCounts"]
        self._owed = OwedCounts(database)
        self._unchecked = database.client[MAINTENANCE_DATABASE][UNCHECKED_JOBS]
        self._delays = _delays(release)
        self._counted_jobs = self._jobs.with_options(read_preference=read_preference)
        self._counted_blockages = self._blockages.with_options(read_preference=read_preference)

    @property
    def name(self) -> str:
        """The name of the database."""
        return self._database.name

    def pending_jobs(self, names: Sequence[str]) -> dict[str, list[Job] | DatasetError]:
        """Read the waiting and the started jobs of some datasets, with one query.

        :return: by name, for each dataset that has any; an error for a dataset with a malformed job.
        """
        return read_separately(names, self._pending_together)

    def _pending_together(self, names: Sequence[str]) -> dict[str, list[Job] | DatasetError]:
        jobs: dict[str, list[Job]] = defaultdict(list)
        errors: dict[str, DatasetError] = {}
        query = {"dataset": {"$in": names}}  # all jobs are pending: those that have finished are deleted
        found = self._decodable.find(
            query, _JOB_FIELDS, batch_size=NO_LIMIT_BUT_THE_REPLY_SIZE, max_time_ms=self._max_time_ms
        )
        for document in found:
            name = document["dataset"]
            if not isinstance(name, str):
                continue  # A list of names is found by each of them.
            try:
                jobs[name].append(_job(document))
            except (KeyError, TypeError, ValueError) as error:
                errors[name] = DatasetError(f"malformed job {document['_id']}: {error!r}")
        return {**jobs, **errors}

    def pending_job_ids(self, names: Sequence[str]) -> set[ObjectId]:
        """Read the ids of the waiting and the started jobs of some datasets."""
        found = self._jobs.find({"dataset": {"$in": names}}, {"_id": 1})
        return {document["_id"] for document in found if isinstance(document["_id"], ObjectId)}

    def with_pending_jobs(self, names: Sequence[str]) -> set[str]:
        """Return the datasets among ``names`` that have waiting or started jobs; an index answers this."""
        return set(filter(is_text, self._jobs.distinct("dataset", {"dataset": {"$in": names}})))

    def apply(
        self,
        plans: Sequence[Plan],
        priority: Priority,
        also: Callable[[Session], None] | None = None,
        right: RightToWrite = UNRESTRICTED,
    ) -> JobChanges:
        """Delete and create the jobs of some plans, in transactions of at most 1,000 jobs, deletions first.

        If not all of them are committed, a new plan finds what is missing. A job that a worker has started
        since the plan was made is left alone, and a job that another program has created since then is not
        created again, or ours is withdrawn. The counts are moved every few seconds:
        ``pay_owed_counts`` moves them at the end.

        :param also: writes something else to the same server, in the last transaction.
        :param right: checked in each transaction.
        :raises ServiceError: if the right is lost.
        """
        changes = JobChanges()
        for writes in self._transactions(plans, priority):
            write = partial(self._apply, writes, also if writes.is_last else None)
            done = in_transaction(self._database.client, write, right)
            withdrawn = self._check(done.created, right) if done.created else 0
            changes += JobChanges(len(done.created) - withdrawn, done.deleted)
        self._owed.pay_soon()
        return changes

    def _transactions(self, plans: Sequence[Plan], priority: Priority) -> Iterator[_JobWrites]:
        """Cut what is to be written, in its order, into parts for a transaction each."""
        now = datetime.now(UTC)
        deleted = [job.id for plan in plans for job in plan.deleted_jobs]
        new = [(plan, job) for plan in plans for job in plan.new_jobs]
        total = len(deleted) + len(new)
        for start in range(0, max(total, 1), DOCUMENTS_PER_TRANSACTION):
            end = start + DOCUMENTS_PER_TRANSACTION
            part = new[max(0, start - len(deleted)) : max(0, end - len(deleted))]
            documents = [
                _new_document(plan, job, priority, now + self._delays[job.type]) for plan, job in part
            ]
            yield _JobWrites(deleted[start:end], documents, is_last=end >= total)

    def _apply(self, writes: _JobWrites, also: Callable[[Session], None] | None, session: Session) -> _Done:
        """Write the jobs of a transaction.

        What workers want too, the waiting jobs, is deleted last, so that no worker waits for the rest.
        """
        deleted = self._waiting({"_id": {"$in": writes.deleted_ids}}, session) if writes.deleted_ids else []
        created = self._not_yet_pending(writes.new_jobs, deleted, session)
        if created:
            ids = self._jobs.insert_many(created, session=session).inserted_ids
            self._unchecked.insert_one(
                {"_id": ids[0], "database": self._database.name, "jobs": ids}, session=session
            )
        self._owed.owe(self._moves(created, deleted, session), session)
        if also is not None:
            also(session)
        self._delete(deleted, session)
        return _Done(created, len(deleted))

    def _not_yet_pending(
        self, new_jobs: Sequence[Document], deleted: Sequence[Document], session: Session
    ) -> list[Document]:
        """Leave out the new jobs that another program has created since the plan was made."""
        if not new_jobs:
            return []
        pending = _artifacts(self._pending_like(new_jobs, session), but={job["_id"] for job in deleted})
        # insert_many adds an _id to each document: a transaction that is tried again must have new ones.
        return [dict(job) for job in new_jobs if _artifact(job) not in pending]

    def _pending_like(self, jobs: Sequence[Document], session: Session) -> Cursor[Document]:
        """Find the pending jobs of the artifacts of some jobs; some may only have the same unicity id."""
        return self._jobs.find(
            _like(jobs), _ARTIFACT_FIELDS, session=session, batch_size=NO_LIMIT_BUT_THE_REPLY_SIZE
        )

    def _check(self, created: Sequence[Document], right: RightToWrite) -> int:
        """Delete those of our new jobs that another program has created too, while ours were not yet visible.

        A job's unicity id names its artifact and revision, so there is nothing to look for if no two pending
        jobs share one.

        :return: their number.
        """
        pending = partial(self._jobs.count_documents, _like(created))
        withdrawn = 0
        if retried(pending) != len(created):
            withdrawn = in_transaction(self._database.client, partial(self._withdraw, created), right)
        self._forget_unchecked(created[0]["_id"])
        return withdrawn

    def check_new_jobs(self, right: RightToWrite = UNRESTRICTED) -> None:
        """Finish the look for doubled jobs of a program that was killed before it could do so itself."""
        for record in retried(lambda: list(self._unchecked.find({"database": self._database.name}))):
            created = retried(partial(self._still_pending, record["jobs"]))
            in_transaction(self._database.client, partial(self._withdraw, created), right)
            self._forget_unchecked(record["_id"])

    def _forget_unchecked(self, record_id: ObjectId) -> None:
        retried(partial(self._unchecked.delete_one, {"_id": record_id}))

    def _still_pending(self, ids: Sequence[ObjectId]) -> list[Document]:
        return list(self._decodable.find({"_id": {"$in": ids}}, _JOB_FIELDS))

    def _withdraw(self, created: Sequence[Document], session: Session) -> int:
        ids = [job["_id"] for job in self._duplicates(created, session)]
        withdrawn = self._waiting({"_id": {"$in": ids}}, session)
        self._owed.owe(self._moves([], withdrawn, session), session)
        self._delete(withdrawn, session)
        return len(withdrawn)

    def _duplicates(self, created: Sequence[Document], session: Session) -> list[Document]:
        others = _artifacts(self._pending_like(created, session), but={job["_id"] for job in created})
        return [job for job in created if _artifact(job) in others]

    def remove(
        self,
        names: Sequence[str],
        right: RightToWrite = UNRESTRICTED,
        deletable: Set[ObjectId] | None = None,
    ) -> int:
        """Delete the waiting jobs of some datasets and release their locks.

        Started jobs are left to their workers. A transaction deletes at most 1,000 jobs; the counts follow.

        :param right: checked in each transaction.
        :param deletable: the ids of the jobs that may be deleted; by default, all.
        :return: the number of jobs deleted.
        :raises ServiceError: if the right is lost.
        """
        query: Document = {"dataset": {"$in": names}}
        if deletable is not None:
            query["_id"] = {"$in": list(deletable)}
        removed = in_transactions(self._database.client, partial(self._remove, query), right)
        self._owed.pay_soon()
        return removed

    def raw_waiting_jobs(self, name: str) -> Iterator[RawBSONDocument]:
        """Yield the waiting jobs of a dataset as they are."""
        waiting = {"dataset": name, "status": JobStatus.WAITING.value}
        return iter(self._raw_jobs.find(waiting, batch_size=NO_LIMIT_BUT_THE_REPLY_SIZE))

    def _remove(self, query: Document, session: Session) -> int:
        deleted = self._waiting(query, session)
        self._owed.owe(self._moves([], deleted, session), session)
        if deleted:
            self._locks.update_many(
                {"_id": {"$in": [job["unicity_id"] for job in deleted if is_text(job.get("unicity_id"))]}},
                {"$set": {"owner": None, "updated_at": datetime.now(UTC)}},
                session=session,
            )
        self._delete(deleted, session)
        return len(deleted)

    def _waiting(self, query: Document, session: Session) -> list[Document]:
        """Read what counts and locks need of jobs that meet the query and wait, for one transaction."""
        fields = {"type": 1, "dataset": 1, "difficulty": 1, "unicity_id": 1}
        found = self._jobs.find(query | {"status": JobStatus.WAITING.value}, fields, session=session)
        return enough_for_a_transaction(found)

    def _delete(self, jobs: Sequence[Document], session: Session) -> None:
        """Delete jobs that wait."""
        if jobs:
            ids = [job["_id"] for job in jobs]
            self._jobs.delete_many({"_id": {"$in": ids}, "status": JobStatus.WAITING.value}, session=session)

    def _moves(
        self, created: Sequence[Document], deleted: Sequence[Document], session: Session
    ) -> Iterator[CountMove]:
        """Yield the moves of the counts of waiting jobs, by type, and of jobs, by worker size."""
        types = Counter(job["type"] for job in created)
        types.subtract(job["type"] for job in deleted if is_text(job.get("type")))
        blocked = self._blocked({job["dataset"] for job in created}, session)
        sizes = Counter(worker_size(job["difficulty"]) for job in created if job["dataset"] not in blocked)
        sizes.subtract(worker_size(job["difficulty"]) for job in deleted if is_number(job.get("difficulty")))
        for job_type, by in types.items():
            yield CountMove(self._totals.name, self._total_key(job_type), "total", by)
        for size, by in sizes.items():
            yield CountMove(self._worker_sizes.name, {"worker_size": size}, "jobs_count", by)

    def _total_key(self, job_type: str) -> Document:
        key = {"job_type": job_type, "status": JobStatus.WAITING.value}
        return key | {"dataset_status": "normal"} if self._release.queue_knows_blocked_datasets else key

    def _blocked(self, names: Iterable[str], session: Session) -> set[str]:
        if not self._release.queue_knows_blocked_datasets:
            return set()
        found = self._blockages.find({"dataset": {"$in": list(names)}}, {"dataset": 1}, session=session)
        return {document["dataset"] for document in found if is_text(document["dataset"])}

    def pay_owed_counts(self) -> None:
        """Move the counts by what an earlier run has recorded, but not paid before it was killed."""
        self._owed.pay()

    def collect_metrics(self, *, dry_run: bool = False) -> list[Counts]:
        """Count the jobs by type and status, and by worker size, and store the counts (not in a dry run).

        If the release counts the jobs of blocked datasets separately, they have their own totals, and do not
        count by worker size.
        """
        by_release = ("dataset_status",) if self._release.queue_knows_blocked_datasets else ()
        totals = CountCollection(
            self._totals, "queue.jobs", ("job_type", "status", *by_release), count_field="total"
        )
        sizes = CountCollection(
            self._worker_sizes, "queue.jobs_by_worker_size", ("worker_size",), count_field="jobs_count"
        )
        if not dry_run:
            self._owed.pay()  # else it would be added to counts that have it already
        stored_totals, stored_sizes = totals.stored(), sizes.stored()
        by_total, by_size = retried(self._count_jobs)
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
        malformed = 0
        for job in self._counted_jobs.aggregate([{"$group": self._job_group()}]):
            key, count = job["_id"], job["count"]
            blocked = key.get("blocked", False)
            if not (is_text(key.get("type")) and is_text(key.get("status"))):
                malformed += count
                continue
            dataset_status = ("blocked" if blocked else "normal",) if knows_blocked else ()
            totals[(key.get("type"), key.get("status"), *dataset_status)] += count
            if not blocked and _is_difficulty(key.get("difficulty")):
                sizes[(worker_size(key["difficulty"]),)] += count
        if malformed:
            logger.warning("%s malformed jobs are not counted.", f"{malformed:,}")
        return totals, sizes

    def _job_group(self) -> Document:
        key: Document = {"type": "$type", "status": "$status", "difficulty": "$difficulty"}
        if self._release.queue_knows_blocked_datasets:
            found = self._counted_blockages.find({}, {"dataset": 1})
            blocked = [each["dataset"] for each in found if is_text(each.get("dataset"))]
            # As $in, but with a hash set: it takes no longer for thousands of blocked datasets.
            key["blocked"] = {"$setIsSubset": [["$dataset"], {"$literal": blocked}]}
        return {"_id": key, "count": {"$sum": 1}}


@dataclass(frozen=True, slots=True)
class _Done:
    """What a transaction has done: the jobs created, and how many were deleted."""

    created: Sequence[Document]
    deleted: int


@dataclass(frozen=True, slots=True)
class _JobWrites:
    """The writes of one transaction: jobs to delete if they still wait, then documents of jobs to insert."""

    deleted_ids: Sequence[ObjectId]
    new_jobs: Sequence[Document]
    is_last: bool


def _delays(release: Release) -> dict[str, timedelta]:
    """Return, by step, how much later than the first job of a dataset its job is created.

    Workers take the oldest job first, and parents have to come before children. So a step comes a
    millisecond, the unit of MongoDB's dates, after its last parent.
    """
    delays: dict[str, timedelta] = {}
    for step in release.steps:
        parents = [delays[parent.name] + timedelta(milliseconds=1) for parent in step.parents]
        delays[step.name] = max(parents, default=timedelta())
    return delays


def _like(jobs: Sequence[Document]) -> Document:
    """Return the query for all pending jobs of the artifacts and revisions of some jobs."""
    return {"unicity_id": {"$in": [job["unicity_id"] for job in jobs]}}


def _artifact(job: Document) -> tuple[Any, ...]:
    return tuple(job.get(field) for field in _ARTIFACT_FIELDS)


def _artifacts(jobs: Iterable[Document], but: Set[ObjectId]) -> set[tuple[Any, ...]]:
    """Return the artifacts of jobs, but for the jobs with these ids and for malformed ones."""
    return {
        _artifact(job)
        for job in jobs
        if all(value is None or is_text(value) for value in _artifact(job))
        and not (isinstance(job["_id"], ObjectId) and job["_id"] in but)
    }


def worker_size(difficulty: int) -> str:
    """Tell the size of the workers that take jobs of a difficulty from 1 to 100."""
    if difficulty <= MAX_LIGHT_DIFFICULTY:
        return "light"
    return "medium" if difficulty <= MAX_MEDIUM_DIFFICULTY else "heavy"


def _is_difficulty(value: object) -> bool:
    return is_number(value) and 0 < value <= MAX_DIFFICULTY


def _job(document: Document) -> Job:
    """Read a job.

    :raises KeyError, TypeError, ValueError: if a field is absent, or of a wrong type or value.
    """
    for field, types in _TYPES.items():
        if type(document.get(field)) not in types:
            raise TypeError(f"{field} is of the type {type(document[field]).__name__}")
    if not is_number(document["difficulty"]):
        raise ValueError("difficulty is not finite")
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
        difficulty=int(document["difficulty"]),
        created_at=document["created_at"],
    )


def _new_document(plan: Plan, job: NewJob, priority: Priority, created_at: datetime) -> Document:
    """Make the document of a new job; it has no ``config`` or ``split`` that does not apply."""
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
        "created_at": created_at,
    }
