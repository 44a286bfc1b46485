"""The page *Over time*: how the counts changed, what runs did, and which errors grew most since yesterday."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter

from include.console.action_ids import BACKFILL, REFRESH_DATASETS, RETRYABLE_ERRORS
from include.console.growth import ErrorGrowth, read_growth
from include.databases.cache_reader import CacheReader, EntryTotal
from include.databases.counts import Group
from include.databases.own_reader import Counted, OwnReader, Span
from include.databases.run_reports import RunReport

#: By the name of each span that the page offers.
SPANS: Mapping[str, timedelta] = {
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
#: The most frequent error codes have a line of their own, and so have those that grew most since yesterday.
_FREQUENT_CODES = 5
_GROWING_CODES = 3
_OTHER_CODES = "other codes"
#: The actions whose runs create jobs and remove datasets.
_REPORTED = (BACKFILL, RETRYABLE_ERRORS, REFRESH_DATASETS)

_CLASSES: Mapping[object, str] = {
    1: "1xx",
    2: "successful (2xx)",
    3: "3xx",
    4: "errors (4xx)",
    5: "errors (5xx)",
}
_ERROR_CLASSES = (4, 5)
_WORKER_SIZES = ("light", "medium", "heavy")
_STATUSES = ("waiting", "started")


@dataclass(frozen=True, slots=True)
class Line:
    """A count over time: a value for each time of its chart."""

    name: str
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """Counts over the same times (UTC), from the oldest to the newest."""

    times: tuple[datetime, ...]
    lines: tuple[Line, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted."""
        return not self.times


@dataclass(frozen=True, slots=True)
class RunChanges:
    """What a run changed. It ended at this time (UTC)."""

    action: str
    run_id: str
    ended_at: datetime
    jobs_created: int
    jobs_deleted: int
    datasets_removed: int

    @classmethod
    def of(cls, report: RunReport) -> RunChanges:
        """Return what a report says."""
        return cls(
            report.action,
            report.run_id,
            report.ended_at,
            report.figure("jobs", "created"),
            report.figure("jobs", "deleted"),
            report.figure("datasets", "removed") + report.figure("datasets", "recreated"),
        )


@dataclass(frozen=True, slots=True)
class OverTime:
    """What the page shows.

    :param span: one of ``SPANS``.
    :param runs: those that changed something, the newest first.
    """

    at: datetime
    span: str
    entries_by_status: Lines
    errors_by_code: Lines
    jobs_by_status: Lines
    jobs_by_worker_size: Lines
    runs: tuple[RunChanges, ...]
    growth: ErrorGrowth


def read_over_time(cache: CacheReader, own: OwnReader, now: datetime, span: str) -> OverTime:
    """Read what the page shows, with bounded reads.

    :param span: one of ``SPANS``.
    """
    time = Span(now - SPANS[span], now)
    totals = cache.totals()
    growth = read_growth(totals, own, now)
    codes = _shown_codes(totals, growth)
    entries, jobs = own.entries_over_time(codes, time), own.jobs_over_time(time)
    return OverTime(
        at=now,
        span=span,
        entries_by_status=_lines(entries, _status_class, tuple(_CLASSES.values())),
        errors_by_code=_lines(entries, _code_of_error, (*codes, _OTHER_CODES)),
        jobs_by_status=_lines(jobs, itemgetter(0), _STATUSES),
        jobs_by_worker_size=_lines(jobs, itemgetter(1), _WORKER_SIZES),
        runs=tuple(map(RunChanges.of, own.changes_by_runs(_REPORTED, time.since))),
        growth=growth,
    )


def _shown_codes(totals: Sequence[EntryTotal], growth: ErrorGrowth) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for total in totals:
        if total.is_error and total.error_code is not None:
            counts[total.error_code] += total.total
    frequent = [code for code, _ in counts.most_common(_FREQUENT_CODES)]
    growing = [each.name for each in growth.codes if each.added > 0 and each.name is not None]
    return tuple(dict.fromkeys([*frequent, *growing[:_GROWING_CODES]]))


def _status_class(group: Group) -> str | None:
    return _CLASSES.get(group[0])


def _code_of_error(group: Group) -> str | None:
    status_class, code = group
    if status_class not in _ERROR_CLASSES:
        return None
    return _OTHER_CODES if code is None else str(code)


def _lines(counted: Sequence[Counted], name_of: Callable[[Group], str | None], names: Sequence[str]) -> Lines:
    """Return a line for each name of which anything was counted, in their order.

    :param name_of: returns the name of a group's line; None if it belongs to none.
    """
    columns: list[Counter[str]] = []
    for each in counted:
        column: Counter[str] = Counter()
        for group, count in each.by_group.items():
            if (name := name_of(group)) is not None:
                column[name] += count
        columns.append(column)
    lines = (Line(name, tuple(column[name] for column in columns)) for name in names)
    return Lines(tuple(each.at for each in counted), tuple(line for line in lines if any(line.values)))
