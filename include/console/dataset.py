"""One dataset as the console shows it: its artifacts, the Hub's answer, and what a backfill would do now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from threading import Lock
from typing import NoReturn

from httpx2 import HTTPError

from include.actions.backfill.proofs import fingerprint
from include.batches import rare_garbage_collection
from include.console.matrix import Artifacts, State, Trouble, place_text
from include.databases.dataset_reader import MAX_ENTRIES, MAX_JOBS, DatasetReader, OwnRecords, Size
from include.databases.dataset_reader import State as Stored
from include.databases.error_messages import ErrorMessage
from include.databases.proof_store import Proof
from include.databases.removal_ledger import Removal
from include.databases.restores import Restore
from include.errors import DatasetError, ServiceError
from include.hub.answers import Unsupported
from include.hub.client import Hub
from include.hub.deadline import within
from include.hub.support import DatasetInfo
from include.planning.dataset_state import Job
from include.planning.plan import Plan, Reason, first_unlisted, job_rank, plan_dataset
from include.planning.processing_graph import Release

#: For how long a page waits for the Hub.
HUB_SECONDS = 5.0
MAX_TROUBLES = 20
#: So many troubles come with the message of an example.
MAX_MESSAGES = 10
MAX_JOBS_SHOWN = 100
#: Of a dataset with so many entries and pending jobs, the view is made alone.
LARGE = 20_000
_LONGEST_WAIT_SECONDS = 5.0

_large = Lock()


@dataclass(frozen=True, slots=True)
class HubView:
    """What the Hub says about a dataset now.

    :param supported: None if it does not say.
    :param text: why it is not supported, or why that is not known; empty if it is supported.
    """

    supported: bool | None
    text: str
    info: DatasetInfo | None = None

    @property
    def revision(self) -> str | None:
        """The revision of its main branch, if it is known."""
        return self.info.revision if self.info else None


#: With the token of maintenance, anybody could ask which private datasets there are.
_NOT_ASKED = HubView(
    None,
    "it was not asked, because nothing here knows this dataset: it has no cache entries and no jobs, and was"
    " never removed",
)


class Outcome(StrEnum):
    """What a backfill of the dataset would do now."""

    UNKNOWN = "unknown"
    NOT_CACHED = "not cached"
    NOTHING = "nothing"
    JOBS = "jobs"
    REMOVAL = "removal"
    REBUILD = "rebuild"


@dataclass(frozen=True, slots=True)
class BackfillView:
    """What a backfill of the dataset would do now, as its plan says.

    :param why: in a sentence, unless the jobs say it all.
    :param created: jobs, by step.
    :param reasons: of the jobs that are created.
    :param deleted: waiting jobs, by step.
    """

    outcome: Outcome
    why: str = ""
    created: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[Reason, int] = field(default_factory=dict)
    deleted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordView:
    """A record that an earlier run has proven the dataset to be up to date.

    :param holds: whether the next run may leave the dataset out.
    :param why_not: why it may not.
    """

    revision: str
    entries: int
    holds: bool
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class TroubleView:
    """Artifacts that are not up to date for one reason.

    :param message: of the first, if that is an error.
    :param backfill: what a backfill would do about them now, in words.
    """

    trouble: Trouble
    message: ErrorMessage | None
    backfill: str


@dataclass(frozen=True, slots=True)
class JobView:
    """A pending job, and whether a backfill would delete it."""

    job: Job
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class DatasetView:
    """One dataset.

    :param problem: why its artifacts are not shown; empty if they are.
    :param compared_with: the revision by which the artifacts are judged: that of the Hub if it is known,
        otherwise that of the newest entry.
    :param jobs: the first pending jobs, those that come first for a worker at the top.
    :param rate_limited_since: since when the queue holds back its jobs.
    :param restore: its restore, unless it was removed again.
    """

    name: str
    size: Size
    problem: str
    hub: HubView
    compared_with: str
    artifacts: Artifacts | None
    troubles: Sequence[TroubleView]
    jobs: Sequence[JobView]
    backfill: BackfillView
    rate_limited_since: datetime | None
    removal: Removal | None
    restore: Restore | None
    record: RecordView | None

    @property
    def is_removed(self) -> bool:
        """Whether it was removed, and not restored since."""
        return self.removal is not None and self.restore is None

    @property
    def weight(self) -> int:
        """How many entries and jobs it holds."""
        return self.size.entries + self.size.jobs if self.artifacts else 0


def ask_hub(hub: Hub, name: str) -> HubView:
    """Ask a Hub about a dataset. Its failure is an answer too: the rest of a page is worth reading.

    :param hub: its ``sleep`` should be :func:`no_waiting`.
    """
    try:
        answer = within(HUB_SECONDS, lambda: hub.look_up(name))
    except (DatasetError, ServiceError, HTTPError) as error:
        return HubView(None, str(error))
    if isinstance(answer.support, Unsupported):
        return HubView(False, answer.support.reason, answer.info)
    return HubView(True, "", answer.info)


def no_waiting(seconds: float) -> NoReturn:
    """Refuse to wait, where a :class:`Hub` would wait for its rate limit."""
    raise DatasetError(f"its rate limit is reached, for {seconds:.0f} s")


def read_dataset(
    reader: DatasetReader,
    ask: Callable[[str], HubView],
    release: Release,
    name: str,
    clock_tolerance: timedelta = timedelta(),
) -> DatasetView:
    """Read a dataset, ask the Hub about it if anything here knows it, and plan it.

    :param ask: asks the Hub, as :func:`ask_hub` does.
    :param clock_tolerance: by how much the clocks of the workers and of the database may differ at most.
    """
    size = reader.size(name)
    with _alone_if_large(size):
        return _read_dataset(reader, ask, release, name, size, clock_tolerance)


@contextmanager
def _alone_if_large(size: Size) -> Iterator[None]:
    """Let only one large dataset be read at a time: each takes seconds, and a hundred megabytes.

    :raises ServiceError: if another one takes too long.
    """
    if size.has_too_many or size.entries + size.jobs < LARGE:
        yield
        return
    if not _large.acquire(timeout=_LONGEST_WAIT_SECONDS):
        raise ServiceError("Another large dataset is being read: load this page again in some seconds.")
    try:
        with rare_garbage_collection():  # Of the whole process; nobody else changes it in the API server.
            yield
    finally:
        _large.release()


def _read_dataset(
    reader: DatasetReader,
    ask: Callable[[str], HubView],
    release: Release,
    name: str,
    size: Size,
    clock_tolerance: timedelta,
) -> DatasetView:
    records = reader.own_records(name, fingerprint(release))
    stored, problem = _read(reader, name, size)
    # After the jobs: its answer is no reason to delete newer ones.
    answer = ask(name) if _is_known(size, records) else _NOT_ASKED
    artifacts, plan = _judge(release, stored, answer, records)
    if stored and plan and plan.incoherent and not records.is_rebuilt:
        # It also looks incoherent if a worker adds a config between two queries.
        stored = reader.state(name, at_one_moment=True)
        artifacts, plan = _judge(release, stored, answer, records)
    backfill = _backfill(stored, problem, answer, records, plan)
    return DatasetView(
        name=name,
        size=size,
        problem=problem,
        hub=answer,
        compared_with=artifacts.revision if artifacts else answer.revision or "",
        artifacts=artifacts,
        troubles=_troubles(reader, name, artifacts, plan, backfill.outcome),
        jobs=_jobs(stored, plan),
        backfill=backfill,
        rate_limited_since=reader.rate_limited_since(name),
        removal=records.removal,
        restore=records.restore,
        record=_record(records, answer, size, stored, clock_tolerance),
    )


def _is_known(size: Size, records: OwnRecords) -> bool:
    return bool(size.entries or size.jobs or records.removal or records.is_rebuilt)


def _read(reader: DatasetReader, name: str, size: Size) -> tuple[Stored | None, str]:
    """Return the state of a dataset; if it is not readable, None and why."""
    if size.has_too_many:
        return None, (
            f"It has more than {MAX_ENTRIES:,} cache entries, or more than {MAX_JOBS:,} pending jobs:"
            " too many to be read here. A dry run of backfill with this dataset says what there is to do."
        )
    try:
        return reader.state(name), ""
    except DatasetError as error:
        return None, f"It cannot be read: {error}."


def _judge(
    release: Release, stored: Stored | None, answer: HubView, records: OwnRecords
) -> tuple[Artifacts | None, Plan | None]:
    """Judge the artifacts of a dataset and, if the Hub supports it, plan it, as a backfill does."""
    if stored is None:
        return None, None
    cached, jobs = stored.cached, stored.jobs
    artifacts = Artifacts.of(release, cached, jobs, answer.revision or _newest_revision(stored))
    if not answer.supported:
        return artifacts, None
    judged = artifacts.judged()
    rebuild = records.is_rebuilt
    return artifacts, plan_dataset(release, cached, jobs, artifacts.revision, rebuild=rebuild, judged=judged)


def _newest_revision(stored: Stored) -> str:
    newest = max(stored.cached.entries, key=attrgetter("updated_at"), default=None)
    return newest.revision if newest else ""


def _backfill(
    stored: Stored | None, problem: str, answer: HubView, records: OwnRecords, plan: Plan | None
) -> BackfillView:
    if stored is None:
        return BackfillView(Outcome.UNKNOWN, problem)
    if not stored.cached.entries and not records.is_rebuilt:
        return BackfillView(Outcome.NOT_CACHED, "A backfill only looks at datasets that have cache entries.")
    if answer.supported is None:
        return BackfillView(Outcome.UNKNOWN, f"It depends on the Hub's answer: {answer.text}.")
    if plan is None:
        return BackfillView(Outcome.REMOVAL, f"The Hub says that {answer.text}.")
    if plan.is_empty:
        return BackfillView(Outcome.NOTHING)
    outcome, why = (Outcome.REBUILD, _why_rebuilt(stored)) if plan.incoherent else (Outcome.JOBS, "")
    return BackfillView(
        outcome,
        why,
        created=Counter(job.type for job in plan.new_jobs),
        reasons=Counter(job.reason for job in plan.new_jobs),
        deleted=Counter(job.type for job in plan.deleted_jobs),
    )


def _why_rebuilt(stored: Stored) -> str:
    entry = first_unlisted(stored.cached)
    if entry is None:
        return "Its rebuild was interrupted."
    what = "split" if entry.split is not None and entry.config in stored.cached.configs else "config"
    place = place_text(entry.kind, entry.config, entry.split)
    return f"It has an entry of a {what} that is not listed: {place}."


def _jobs(stored: Stored | None, plan: Plan | None) -> list[JobView]:
    deleted = {job.id for job in plan.deleted_jobs} if plan else set()
    jobs = sorted(stored.jobs, key=job_rank) if stored else []
    return [JobView(job, job.id in deleted) for job in jobs[:MAX_JOBS_SHOWN]]


def _troubles(
    reader: DatasetReader, name: str, artifacts: Artifacts | None, plan: Plan | None, outcome: Outcome
) -> list[TroubleView]:
    if artifacts is None:
        return []
    troubles = artifacts.troubles(plan.new_jobs if plan else ())[:MAX_TROUBLES]
    errors = [trouble for trouble in troubles if trouble.state in (State.ERROR, State.ERROR_TO_RETRY)]
    messages = {trouble: reader.message(name, trouble.example) for trouble in errors[:MAX_MESSAGES]}
    return [
        TroubleView(trouble, messages.get(trouble), _what_backfill_does(trouble, outcome, artifacts.release))
        for trouble in troubles
    ]


def _what_backfill_does(trouble: Trouble, outcome: Outcome, release: Release) -> str:
    if outcome is Outcome.REMOVAL:
        return "removes the dataset"
    if outcome is Outcome.REBUILD:
        return "rebuilds the dataset"
    if outcome is Outcome.UNKNOWN:
        return "not known"
    if outcome is Outcome.NOT_CACHED:
        return "nothing: the dataset is not in the cache"
    if trouble.state is State.ERROR:
        maximum = release.max_failed_runs.get(trouble.what)
        why = "this error is not retried" if maximum is None else f"none of {maximum} retries is left"
        return f"nothing: {why}"
    if trouble.jobs == 0:
        return "nothing: a job is pending"
    does = "retries" if trouble.state is State.ERROR_TO_RETRY else "computes"
    if trouble.jobs == trouble.artifacts:
        return f"{does} it" if trouble.artifacts == 1 else f"{does} them"
    return f"{does} {trouble.jobs:,} of them: the others have pending jobs"


def _record(
    records: OwnRecords, answer: HubView, size: Size, stored: Stored | None, clock_tolerance: timedelta
) -> RecordView | None:
    proof = records.proof
    if proof is None:
        return None
    why_not = _why_record_does_not_hold(records, proof, answer, size, stored, clock_tolerance)
    return RecordView(proof.revision, proof.entries, not why_not, why_not)


def _why_record_does_not_hold(
    records: OwnRecords,
    proof: Proof,
    answer: HubView,
    size: Size,
    stored: Stored | None,
    clock_tolerance: timedelta,
) -> str:
    if proof.entries != size.entries:
        return f"It has {size.entries:,} entries now."
    if answer.revision is not None and answer.revision != proof.revision:
        return f"The Hub has revision {answer.revision} now."
    if size.jobs:
        return "It has pending jobs."
    if records.look is None:
        return "It is not known what has changed since."
    since = (records.look.begun_at - clock_tolerance).replace(tzinfo=None)
    if stored and any(entry.updated_at >= since for entry in stored.cached.entries):
        return "An entry may have been updated since."
    return ""
