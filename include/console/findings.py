"""What a person should know about the state of datasets-server and of its maintenance, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from include.console.action_ids import BACKFILL
from include.console.words import counted, duration
from include.databases.own_reader import ENTRIES, JOBS

if TYPE_CHECKING:
    from include.console.growth import Growth
    from include.console.now import Now
    from include.databases.own_reader import Record

#: Growth that stands out is told from this share of all entries on.
_LEAST_SHARE_OF_ENTRIES = 1 / 10_000
#: From this share of all entries on, if they also have doubled, it is bad.
_BAD_SHARE_OF_ENTRIES = 1 / 1_000
_CODES_NAMED = 3

LONG_WAIT = timedelta(hours=12)
VERY_LONG_WAIT = timedelta(days=2)
LONG_JOB = timedelta(hours=6)
_MANY_BLOCKED = 100
#: As many runs in a row that wait are told to operators.
_WAITING_RUNS = 3
#: A run waits no longer: then it fails.
_LONGEST_RUN = timedelta(days=1)
#: Some times as long as it takes from one collection to the next.
_OLD_COUNTS_OF_ENTRIES = timedelta(hours=12)
_OLD_COUNTS_OF_JOBS = timedelta(hours=2)


class Level(StrEnum):
    """How much a finding matters, the worst first."""

    BAD = "bad"
    WARN = "warn"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know, and what to do about it.

    :param code: an error code that it is about: the page Errors shows it.
    :param action: the id of a DAG that it is about: the page Runs shows its runs.
    :param dataset: a dataset that it is about: the page One dataset shows it.
    """

    level: Level
    text: str
    what_to_do: str
    code: str | None = None
    action: str | None = None
    dataset: str | None = None


def findings_of(now: Now) -> tuple[Finding, ...]:
    """Return the findings, the worst first."""
    looks = (
        _backfill,
        _failed_datasets,
        _waiting_runs,
        _errors,
        _waiting_jobs,
        _started_jobs,
        _blockages,
        _removals,
        _counts,
    )
    found = [finding for look in looks for finding in look(now)]
    ranks = {level: rank for rank, level in enumerate(Level)}
    return tuple(sorted(found, key=lambda finding: ranks[finding.level]))


def _backfill(now: Now) -> Iterator[Finding]:
    last = now.last_good_backfill
    what_to_do = "See whether the DAG backfill is paused, waits for an approval or for its turn, or fails."
    if last is None:
        text = "There has been no good run of backfill over the whole cache yet."
        yield Finding(Level.WARN, text, "Unpause the DAG backfill, or trigger it.", action=BACKFILL)
    elif now.at - last > now.settings.overdue_after:
        text = f"There has been no good run of backfill over the whole cache for {duration(now.at - last)}."
        yield Finding(Level.BAD, text, what_to_do, action=BACKFILL)


def _failed_datasets(now: Now) -> Iterator[Finding]:
    for action, report in now.last_reports.items():
        if failed := report.figure("datasets", "failed"):
            ago = duration(now.at - report.ended_at)
            text = f"{counted(failed, 'dataset')} failed in the last run of {action}, which ended {ago} ago."
            what_to_do = "Its report has the first errors. The next run tries again."
            yield Finding(Level.WARN, text, what_to_do, action=action)


def _waiting_runs(now: Now) -> Iterator[Finding]:
    for record in now.records.values():
        holder = _holder_before(record, now)
        if holder is None:
            continue
        in_a_row = record.waiting_in_a_row
        runs, was = ("A run", "was") if in_a_row == 1 else (f"{in_a_row:,} runs in a row", "were")
        yield Finding(
            Level.WARN if in_a_row >= _WAITING_RUNS else Level.NOTE,
            f"{runs} of {record.dag_id} had to wait or {was} skipped: the run {holder} is at work.",
            "Nothing, if the log of that run shows progress. If it hangs, mark its running tasks as failed.",
            action=record.dag_id,
        )


def _holder_before(record: Record, now: Now) -> str | None:
    """Return the name of the run that another one waits for; None if it does not wait."""
    if record.waiting_since is None or now.at - record.waiting_since > _LONGEST_RUN:
        return None
    holders = (each for each in now.holders if each.work == record.waiting_for)
    return next((each.run_name for each in holders if each.run != record.waiting_run), None)


def _errors(now: Now) -> Iterator[Finding]:
    if now.growth.since is None and now.counted_entries:
        text = "Nobody counted the entries yesterday: it is not known whether errors have grown."
        yield Finding(Level.NOTE, text, "Nothing, if collect-cache-metrics is new.", action=ENTRIES.action)
    grown = [growth for growth in now.growth.codes if _is_noticed(growth, now)]
    for growth in grown[:_CODES_NAMED]:
        yield Finding(
            _level_of(growth, now),
            f"Errors of {_code(growth)} grew from {growth.before:,} to {growth.now:,} since"
            f" {_day_before(now.growth.since)}.",
            "The page Errors shows the datasets that have them, and their messages.",
            growth.name,
        )
    if more := grown[_CODES_NAMED:]:
        text = f"Errors of {counted(len(more), 'further code')} grew, too."
        yield Finding(Level.WARN, text, "The page Over time shows all of them.")


def _is_noticed(growth: Growth, now: Now) -> bool:
    return growth.stands_out and growth.added >= _LEAST_SHARE_OF_ENTRIES * now.counted_entries


def _level_of(growth: Growth, now: Now) -> Level:
    has_doubled = growth.now >= 2 * (growth.before or 0)
    return (
        Level.BAD
        if has_doubled and growth.added >= _BAD_SHARE_OF_ENTRIES * now.counted_entries
        else Level.WARN
    )


def _code(growth: Growth) -> str:
    return "no code" if growth.name is None else f"the code {growth.name}"


def _day_before(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC" if time else "yesterday"


def _waiting_jobs(now: Now) -> Iterator[Finding]:
    if now.oldest_waiting is None:
        text = "MongoDB takes too long to find the oldest waiting job."
        yield Finding(Level.WARN, text, "See whether the index of jobsBlue that begins with priority exists.")
        return
    since = now.oldest_waiting.of_all
    if since is not None and now.at - since >= LONG_WAIT:
        yield Finding(
            Level.BAD if now.at - since >= VERY_LONG_WAIT else Level.WARN,
            f"The oldest waiting job has waited for {duration(now.at - since)}.",
            "See whether there are enough workers of each size, and whether they take jobs.",
        )


def _started_jobs(now: Now) -> Iterator[Finding]:
    job = now.longest_started
    if job is not None and now.at - job.started_at >= LONG_JOB:
        yield Finding(
            Level.WARN,
            f"A job of {job.step} was started {duration(now.at - job.started_at)} ago, and has not ended.",
            "See whether its worker is alive. No other worker takes the job while it is started.",
            dataset=job.dataset,
        )


def _blockages(now: Now) -> Iterator[Finding]:
    if now.blockages and (number := now.blockages.datasets):
        is_one = number == 1
        yield Finding(
            Level.WARN if number >= _MANY_BLOCKED else Level.NOTE,
            f"{counted(number, 'dataset')} {'is' if is_one else 'are'} rate-limited.",
            "Nothing: the workers take their jobs again six hours after they were blocked.",
        )


def _removals(now: Now) -> Iterator[Finding]:
    if now.removals.begun_in_a_day >= now.max_removals:
        yield Finding(
            Level.WARN,
            f"{counted(now.removals.begun_in_a_day, 'dataset')} removed or rebuilt in 24 hours: the limit of"
            f" {now.max_removals:,} is reached.",
            "If these datasets ought to be on the Hub, pause backfill, and check the token of the Connection"
            " huggingface_hub. Nothing more is removed until these removals are a day old.",
            action=BACKFILL,
        )
    if now.removals.unfinished and not now.holders:
        yield Finding(
            Level.WARN,
            f"The removal of {counted(now.removals.unfinished, 'dataset')} was cut short.",
            "The next run of backfill finishes it.",
            action=BACKFILL,
        )


def _counts(now: Now) -> Iterator[Finding]:
    for what, counted_at, longest, dag_id in (
        ("entries", now.entries_counted_at, _OLD_COUNTS_OF_ENTRIES, ENTRIES.action),
        ("jobs", now.jobs_counted_at, _OLD_COUNTS_OF_JOBS, JOBS.action),
    ):
        if counted_at is None:
            text = f"The {what} have never been counted: the numbers may be wrong, and there is no history."
        elif now.at - counted_at > longest:
            text = (
                f"The {what} were last counted {duration(now.at - counted_at)} ago: the numbers may be wrong."
            )
        else:
            continue
        yield Finding(Level.WARN, text, f"Unpause the DAG {dag_id}, or trigger it.", action=dag_id)
