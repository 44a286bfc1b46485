"""What the console reads of our own database: the history of the counts, and what runs have left there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import DESCENDING
from pymongo.database import Database

from include.databases import removal_ledger, run_records, run_reports
from include.databases.bounded import max_time_ms
from include.databases.counts import Group
from include.databases.maintenance_store import METRICS_HISTORY
from include.databases.proof_store import Look, ProofStore
from include.databases.run_reports import Outcome, RunReport
from include.planning.rules import FIRST_ERROR_STATUS

Document = dict[str, Any]

#: A span of the history is thinned out to as many collections at most: more cannot be seen in a chart.
POINTS = 200

_MILLISECOND = timedelta(milliseconds=1)
_MOST_RECORDS = 100


@dataclass(frozen=True, slots=True)
class What:
    """What an action counts, as the history names it."""

    action: str
    names: tuple[str, ...]


ENTRIES = What("collect-cache-metrics", ("cache.entries",))
JOBS = What("collect-queue-metrics", ("queue.jobs", "queue.jobs_by_worker_size"))


@dataclass(frozen=True, slots=True)
class Span:
    """A time from ``since`` (inclusive) to ``until`` (exclusive), in UTC."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted at a time (UTC), by group."""

    at: datetime
    by_group: Mapping[Group, int]


@dataclass(frozen=True, slots=True)
class Holder:
    """A run that does some work which only one run at a time may do, and its name."""

    work: str
    run: str
    run_name: str


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of the runs of a DAG.

    :param last_good_run: when it ended (UTC); None if there was none yet.
    :param waiting_run: the token of the last run that had to wait or was skipped; None if none did since the
        last run that had its turn at once.
    :param waiting_for: the work that another run did; None if that run has had its turn since.
    :param waiting_since: when it was noted (UTC).
    :param waiting_in_a_row: how many runs in a row had to wait or were skipped.
    """

    dag_id: str
    last_good_run: datetime | None
    waiting_run: str | None
    waiting_for: str | None
    waiting_since: datetime | None
    waiting_in_a_row: int


@dataclass(frozen=True, slots=True)
class Removals:
    """How many removals and rebuilds began in the last 24 hours, and how many removals are not finished."""

    begun_in_a_day: int
    unfinished: int


class OwnReader:
    """Reads our own database for a person who waits.

    :param database: the database ``datasets_server_airflow``.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._database = database
        self._history = database[METRICS_HISTORY]
        self._leases = database["leases"]
        self._records = database[run_records.COLLECTION]
        self._removals = database[removal_ledger.COLLECTION]
        self._reports = database[run_reports.COLLECTION]

    # The history of the counts

    def entries_over_time(self, codes: Sequence[str], span: Span) -> list[Counted]:
        """Return the counts of the cache entries over a time, by the status class and the error code.

        The status class is the first digit of the HTTP status; the code is None if it is not among ``codes``.
        """
        code = {
            "$cond": [{"$in": ["$counts.error_code", {"$literal": list(codes)}]}, "$counts.error_code", None]
        }
        groups = {"class": {"$floor": {"$divide": ["$counts.http_status", 100]}}, "code": code}
        return self._counted(ENTRIES, groups, self._times(ENTRIES, span))

    def jobs_over_time(self, span: Span) -> list[Counted]:
        """Return the counts of the jobs over a time, by status and, counted once more, by worker size.

        Where a group is of a status, its size is None, and the other way round.
        """
        groups = {"status": "$counts.status", "size": "$counts.worker_size"}
        return self._counted(JOBS, groups, self._times(JOBS, span))

    def errors_before(self, time: datetime, oldest: datetime) -> Counted | None:
        """Return the counts of the errors by step and code, as counted the last time before ``time``.

        :param oldest: counts from before this time are too old.
        :return: None if there are none.
        """
        query = {"action": ENTRIES.action, "collected_at": {"$gte": oldest, "$lt": time}}
        groups = {"kind": "$counts.kind", "code": {"$ifNull": ["$counts.error_code", None]}}
        only_errors = {"counts.http_status": {"$gte": FIRST_ERROR_STATUS}}
        return next(iter(self._counted(ENTRIES, groups, self._last_time(query), only_errors)), None)

    def last_counted_at(self, what: What) -> datetime | None:
        """Return when something was counted the last time (UTC); None if it never was."""
        return next(map(_utc, self._last_time({"action": what.action})), None)

    def _last_time(self, query: Document) -> list[datetime]:
        found = self._history.find(query, {"_id": 0, "collected_at": 1}, limit=1, max_time_ms=max_time_ms())
        return [each["collected_at"] for each in found.sort("collected_at", DESCENDING)]

    def _times(self, what: What, span: Span) -> list[datetime]:
        """Return the times of the last collection in each part of a span; the index alone answers this."""
        milliseconds = -(-(span.until - span.since) // _MILLISECOND // POINTS)
        part = {"$floor": {"$divide": [{"$subtract": ["$collected_at", span.since]}, milliseconds]}}
        pipeline: list[Document] = [
            {"$match": {"action": what.action, "collected_at": {"$gte": span.since, "$lt": span.until}}},
            {"$group": {"_id": part, "last": {"$max": "$collected_at"}}},
        ]
        return [each["last"] for each in self._history.aggregate(pipeline, maxTimeMS=max_time_ms())]

    def _counted(
        self, what: What, groups: Document, times: Sequence[datetime], rows: Document | None = None
    ) -> list[Counted]:
        """Add up the counts of some collections, by group.

        :param groups: the parts of a group, each with its expression.
        :param rows: selects the rows to count; by default, all.
        """
        pipeline: list[Document] = [
            {"$match": {"action": what.action, "collected_at": {"$in": list(times)}}},
            {"$unwind": "$counts"},
            {"$match": {"counts.name": {"$in": list(what.names)}, **(rows or {})}},
            {"$group": {"_id": {"at": "$collected_at", **groups}, "count": {"$sum": "$counts.count"}}},
        ]
        # A collection in which nothing of it was counted is one, too: of zeros.
        by_time: dict[datetime, dict[Group, int]] = {time: {} for time in times}
        for found in self._history.aggregate(pipeline, maxTimeMS=max_time_ms()):
            group = found["_id"]
            by_time[group["at"]][tuple(group.get(part) for part in groups)] = found["count"]
        return [Counted(_utc(time), by_time[time]) for time in sorted(by_time)]

    # Runs

    def holders(self) -> list[Holder]:
        """Return the runs that do some work now which only one run at a time may do."""
        query = {"$expr": {"$gt": ["$expires_at", "$$NOW"]}}
        found = self._leases.find(query, limit=_MOST_RECORDS, max_time_ms=max_time_ms())
        return [Holder(each["_id"], each["run"], each["run_name"]) for each in found]

    def records(self) -> list[Record]:
        """Return what is kept of the runs of each DAG."""
        found = self._records.find({}, limit=_MOST_RECORDS, max_time_ms=max_time_ms())
        return [
            Record(
                each["_id"],
                _utc_or_none(each.get("last_good_run")),
                each.get("waiting_run"),
                each.get("waiting_for"),
                _utc_or_none(each.get("waiting_since")),
                each.get("waiting_in_a_row", 0),
            )
            for each in found
        ]

    def changes_by_runs(self, actions: Sequence[str], since: datetime) -> list[RunReport]:
        """Return the reports of the runs that created or deleted jobs, or removed datasets, the newest first.

        If there are more than ``POINTS``, the oldest are left out.
        """
        figures = ("jobs.created", "jobs.deleted", "datasets.removed")
        query: Document = {"action": {"$in": list(actions)}, "ended_at": {"$gte": since}, "dry_run": False}
        query["$or"] = [{f"figures.{figure}": {"$gt": 0}} for figure in figures]
        found = self._reports.find(query, {"_id": 0}, limit=POINTS, max_time_ms=max_time_ms())
        return [RunReport.from_document(each) for each in found.sort("ended_at", DESCENDING)]

    def last_report(self, action: str) -> RunReport | None:
        """Return the report of the last run of an action that was no dry run; None if there is none."""
        return self._last_report({"action": action, "dry_run": False})

    def last_whole_report(self, action: str) -> RunReport | None:
        """Return the report of the last good run of an action that covered everything, and was no dry run."""
        good = {"dry_run": False, "outcome": Outcome.SUCCESS, "covers_everything": True}
        return self._last_report({"action": action, **good})

    def _last_report(self, query: Document) -> RunReport | None:
        found = self._reports.find(query, {"_id": 0}, limit=1, max_time_ms=max_time_ms())
        return next((RunReport.from_document(each) for each in found.sort("ended_at", DESCENDING)), None)

    def removals(self) -> Removals:
        """Return the removals of the last 24 hours, and those that are not finished."""
        begun = self._removals.count_documents(removal_ledger.BEGUN_IN_A_DAY, maxTimeMS=max_time_ms())
        return Removals(begun, self._removals.count_documents({"finished": False}, maxTimeMS=max_time_ms()))

    def last_look(self, cache: str) -> Look | None:
        """Return when a run looked last for what has changed in a cache, and when all was read last."""
        return ProofStore(self._database, cache).last_look()


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC)


def _utc_or_none(time: datetime | None) -> datetime | None:
    return None if time is None else _utc(time)
