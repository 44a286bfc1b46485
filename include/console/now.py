"""The page *Now*: whether datasets-server and its maintenance are healthy, and the counts behind that."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from include.actions.backfill.removal_limit import default_limit
from include.console.action_ids import BACKFILL, REFRESH_DATASETS, RETRYABLE_ERRORS
from include.console.findings import Finding, findings_of
from include.console.growth import ErrorGrowth, Growth, read_growth
from include.databases.cache_reader import CacheReader, EntryTotal, RunsLeft, dataset_count
from include.databases.own_reader import ENTRIES, JOBS, Holder, OwnReader, Record, Removals
from include.databases.proof_store import Look
from include.databases.queue_reader import Blockages, JobTotal, OldestJobs, QueueReader, StartedJob
from include.databases.run_reports import RunReport
from include.planning.dataset_state import JobStatus
from include.planning.processing_graph import Release

#: The actions whose last report is read.
_REPORTED = (BACKFILL, RETRYABLE_ERRORS, REFRESH_DATASETS)
#: The error codes of which the failed runs are read: each takes a look at some entries.
_CODES_LOOKED_AT = 12


@dataclass(frozen=True, slots=True)
class Settings:
    """What the page needs of the Variables.

    :param overdue_after: so long after its last good run, ``backfill`` is overdue.
    :param max_removals_per_day: over all runs; None for the default.
    """

    overdue_after: timedelta = timedelta(hours=26)
    max_removals_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Freshness:
    """The artifacts that the last whole backfill found up to date, and those that needed a job.

    :param at: when it ended (UTC).
    """

    up_to_date: int
    need_jobs: int
    at: datetime

    @property
    def share(self) -> float | None:
        """The share that was up to date, from 0 to 1; None if there were no artifacts."""
        all_artifacts = self.up_to_date + self.need_jobs
        return self.up_to_date / all_artifacts if all_artifacts else None


@dataclass(frozen=True, slots=True)
class StepEntries:
    """The number of cache entries of a step, by HTTP status."""

    step: str
    by_status: Mapping[int, int]
    errors: int

    @property
    def total(self) -> int:
        """The number of all."""
        return sum(self.by_status.values())


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """The entries with an error code (None: errors without a code).

    :param max_failed_runs: an error that has failed so often is no longer retried; None if it never is.
    :param runs_left: how many may still be retried; None if it never is, or that is not known.
    """

    growth: Growth
    max_failed_runs: int | None
    runs_left: RunsLeft | None

    @property
    def code(self) -> str | None:
        """The code."""
        return self.growth.name

    @property
    def entries(self) -> int:
        """How many there are."""
        return self.growth.now

    @property
    def is_retried(self) -> bool:
        """Whether the release retries it."""
        return self.max_failed_runs is not None


@dataclass(frozen=True, slots=True)
class StepJobs:
    """The number of jobs of a step, by status. Those of rate-limited datasets are all ``blocked``."""

    step: str
    waiting: int
    started: int
    blocked: int

    @property
    def total(self) -> int:
        """The number of all."""
        return self.waiting + self.started + self.blocked


@dataclass(frozen=True)
class Now:
    """What the page shows. All times are in UTC.

    :param freshness: None if no whole backfill has told it yet.
    :param datasets: as the counts of the cache have it.
    :param steps: in the order of the release; then those that it does not know.
    :param errors: the most frequent first.
    :param oldest_waiting: None if it is not known.
    :param longest_started: None if no job is started, or that is not known.
    :param blockages: None if the release knows none.
    :param max_removals: of 24 hours.
    :param entries_counted_at: when the counts of the cache were last made anew; None if they never were. The
        same for ``jobs_counted_at``.
    """

    at: datetime
    settings: Settings
    freshness: Freshness | None
    entries: int
    datasets: int
    steps: tuple[StepEntries, ...]
    errors: tuple[ErrorCode, ...]
    growth: ErrorGrowth
    jobs: tuple[StepJobs, ...]
    worker_sizes: Mapping[str, int]
    oldest_waiting: OldestJobs | None
    longest_started: StartedJob | None
    blockages: Blockages | None
    removals: Removals
    max_removals: int
    holders: tuple[Holder, ...]
    records: Mapping[str, Record]
    last_reports: Mapping[str, RunReport]
    look: Look | None
    entries_counted_at: datetime | None
    jobs_counted_at: datetime | None

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What a person should know, the worst first."""
        return findings_of(self)

    @property
    def counted_entries(self) -> int:
        """The number of entries, as the counts of the cache have it."""
        return sum(step.total for step in self.steps)

    @property
    def statuses(self) -> list[int]:
        """The HTTP statuses that entries have, the lowest first."""
        return sorted({status for step in self.steps for status, total in step.by_status.items() if total})

    @property
    def waiting_jobs(self) -> int:
        """The number of waiting jobs of datasets that are not rate-limited."""
        return sum(step.waiting for step in self.jobs)

    @property
    def started_jobs(self) -> int:
        """The number of started jobs of datasets that are not rate-limited."""
        return sum(step.started for step in self.jobs)

    @property
    def last_good_backfill(self) -> datetime | None:
        """When the last good run of ``backfill`` over the whole cache ended; None if there was none."""
        record = self.records.get(BACKFILL)
        return record.last_good_run if record else None


def read_now(
    cache: CacheReader,
    queue: QueueReader,
    own: OwnReader,
    release: Release,
    now: datetime,
    settings: Settings = Settings(),
) -> Now:
    """Read what the page shows, with bounded reads."""
    totals = cache.totals()
    datasets = dataset_count(totals)
    growth = read_growth(totals, own, now)
    max_removals = settings.max_removals_per_day
    reports = {action: own.last_report(action) for action in _REPORTED}
    return Now(
        at=now,
        settings=settings,
        freshness=_freshness(own.last_whole_report(BACKFILL)),
        entries=cache.entry_count(),
        datasets=datasets,
        steps=_steps(totals, release),
        errors=_errors(growth, cache, release),
        growth=growth,
        jobs=_jobs(queue.totals(), release),
        worker_sizes=queue.by_worker_size(),
        oldest_waiting=queue.oldest_waiting(),
        longest_started=queue.longest_started(),
        blockages=queue.blockages() if release.queue_knows_blocked_datasets else None,
        removals=own.removals(),
        max_removals=default_limit(datasets) if max_removals is None else max_removals,
        holders=tuple(own.holders()),
        records={record.dag_id: record for record in own.records()},
        last_reports={action: report for action, report in reports.items() if report},
        look=own.last_look(cache.name),
        entries_counted_at=own.last_counted_at(ENTRIES),
        jobs_counted_at=own.last_counted_at(JOBS),
    )


def _freshness(report: RunReport | None) -> Freshness | None:
    """Return what a report tells; an earlier version did not count the artifacts."""
    if report is None or "artifacts" not in report.figures:
        return None
    up_to_date, need_jobs = (report.figure("artifacts", what) for what in ("up_to_date", "need_jobs"))
    return Freshness(up_to_date, need_jobs, report.ended_at)


def _steps(totals: Sequence[EntryTotal], release: Release) -> tuple[StepEntries, ...]:
    by_step: dict[str, Counter[int]] = defaultdict(Counter)
    errors: Counter[str] = Counter()
    for total in totals:
        by_step[total.kind][total.http_status] += total.total
        errors[total.kind] += total.total if total.is_error else 0
    return tuple(StepEntries(step, by_step[step], errors[step]) for step in _in_order(by_step, release))


def _in_order(steps: Mapping[str, object], release: Release) -> list[str]:
    known = [step.name for step in release.steps]
    return [*known, *sorted(steps.keys() - known)]


def _errors(growth: ErrorGrowth, cache: CacheReader, release: Release) -> tuple[ErrorCode, ...]:
    present = sorted((each for each in growth.codes if each.now), key=lambda each: -each.now)
    maxima = [release.max_failed_runs.get(each.name or "") for each in present]
    looked_at = _CODES_LOOKED_AT
    errors = []
    for each, maximum in zip(present, maxima, strict=True):
        runs_left = None
        if maximum is not None and each.name is not None and looked_at:
            runs_left = cache.runs_left(each.name, maximum)
            looked_at = 0 if runs_left is None else looked_at - 1  # What was too slow once, is so again.
        errors.append(ErrorCode(each, maximum, runs_left))
    return tuple(errors)


def _jobs(totals: Sequence[JobTotal], release: Release) -> tuple[StepJobs, ...]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for total in totals:
        counts[total.step]["blocked" if total.is_blocked else total.status] += total.total
    return tuple(
        StepJobs(
            step,
            waiting=counts[step][JobStatus.WAITING.value],
            started=counts[step][JobStatus.STARTED.value],
            blocked=counts[step]["blocked"],
        )
        for step in _in_order(counts, release)
    )
