"""What the console reads of the queue as a whole: the counts that are kept, the oldest jobs, blockages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from pymongo import ASCENDING
from pymongo.database import Database

from include.databases.bounded import max_time_ms, unless_too_slow
from include.databases.malformed import ANY_TEXT, ANY_TIME, is_number, is_text
from include.planning.dataset_state import JobStatus, Priority
from include.planning.rules import BLOCKED_FOR

Document = dict[str, Any]

#: The blocked datasets that are named.
BLOCKED_NAMED = 100
_MOST_COUNTS = 10_000


@dataclass(frozen=True, slots=True)
class JobTotal:
    """How many jobs of a step have a status; ``is_blocked`` if their datasets are rate-limited."""

    step: str
    status: str
    is_blocked: bool
    total: int


@dataclass(frozen=True, slots=True)
class OldestJobs:
    """Since when the oldest job of each priority is in the queue (UTC); no priority that has none."""

    since: Mapping[Priority, datetime]

    @property
    def of_all(self) -> datetime | None:
        """Since when the oldest of all is there; None if there is none."""
        return min(self.since.values(), default=None)


@dataclass(frozen=True, slots=True)
class StartedJob:
    """A job that a worker has taken, and when (UTC)."""

    step: str
    dataset: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Blockage:
    """A rate-limited dataset: no job of it starts before ``ends_at`` (UTC)."""

    dataset: str
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Blockages:
    """How many datasets are rate-limited, and the first of them, the soonest end first."""

    datasets: int
    first: tuple[Blockage, ...] = ()


class QueueReader:
    """Reads the queue for a person who waits.

    :param database: the queue database of datasets-server.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._jobs = database.get_collection("jobsBlue", ANY_TEXT)
        self._totals = database.get_collection("jobTotalMetric", ANY_TEXT)
        self._worker_sizes = database.get_collection("workerTypeJobCounts", ANY_TEXT)
        self._blockages = database.get_collection("datasetBlockages", ANY_TEXT)

    def totals(self) -> list[JobTotal]:
        """Return the counts by step and status that are kept; a malformed one is left out."""
        found = self._totals.find({}, {"_id": 0}, limit=_MOST_COUNTS, max_time_ms=max_time_ms())
        return [total for document in found if (total := _total(document))]

    def by_worker_size(self) -> dict[str, int]:
        """Return the counts of the jobs by the size of the workers, which are scaled by these counts."""
        found = self._worker_sizes.find({}, limit=_MOST_COUNTS, max_time_ms=max_time_ms())
        return {
            each["worker_size"]: max(0, int(each["jobs_count"]))
            for each in found
            if is_text(each.get("worker_size")) and is_number(each.get("jobs_count"))
        }

    def oldest_waiting(self) -> OldestJobs | None:
        """Return since when the oldest waiting jobs are in the queue.

        The index (priority, status, created_at, namespace, difficulty) has the oldest of each priority first.
        A queue without it would have to be sorted.

        :return: None if MongoDB would take too long.
        """
        return unless_too_slow(self._oldest_waiting)

    def _oldest_waiting(self) -> OldestJobs:
        since: dict[Priority, datetime] = {}
        for priority in Priority:
            for job in self._first(priority, JobStatus.WAITING, "created_at"):
                since[priority] = job["created_at"].replace(tzinfo=UTC)
        return OldestJobs(since)

    def longest_started(self) -> StartedJob | None:
        """Return the job that was started first; None if none is, or if MongoDB would take too long.

        The same index finds the started jobs, of which there are as many as workers. These few are sorted.
        """
        return unless_too_slow(self._longest_started)

    def _longest_started(self) -> StartedJob | None:
        jobs = [
            StartedJob(job["type"], job["dataset"], job["started_at"].replace(tzinfo=UTC))
            for priority in Priority
            for job in self._first(priority, JobStatus.STARTED, "started_at")
            if is_text(job.get("type")) and is_text(job.get("dataset"))
        ]
        return min(jobs, key=attrgetter("started_at"), default=None)

    def _first(self, priority: Priority, status: JobStatus, time: str) -> Iterator[Document]:
        """Yield the job of a priority and a status whose field ``time`` is the earliest, if there is one."""
        query: Document = {"priority": priority.value, "status": status.value, time: ANY_TIME}
        fields = {"_id": 0, "type": 1, "dataset": 1, time: 1}
        yield from self._jobs.find(query, fields, max_time_ms=max_time_ms()).sort(time, ASCENDING).limit(1)

    def blockages(self) -> Blockages:
        """Return the rate-limited datasets, the first ones by the index by which they expire."""
        number = self._blockages.estimated_document_count(maxTimeMS=max_time_ms())
        found = self._blockages.find({"blocked_at": ANY_TIME}, {"_id": 0}, max_time_ms=max_time_ms())
        first = found.sort("blocked_at", ASCENDING).limit(BLOCKED_NAMED)
        return Blockages(number, tuple(_blockage(each) for each in first if is_text(each.get("dataset"))))


def _total(document: Document) -> JobTotal | None:
    step, status, total = document.get("job_type"), document.get("status"), document.get("total")
    if not (is_text(step) and is_text(status) and is_number(total)):
        return None
    # A count may be wrong for a while, but there are never fewer than none.
    return JobTotal(step, status, document.get("dataset_status") == "blocked", max(0, int(total)))


def _blockage(document: Document) -> Blockage:
    return Blockage(document["dataset"], document["blocked_at"].replace(tzinfo=UTC) + BLOCKED_FOR)
