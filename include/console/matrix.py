"""The artifacts of a dataset as matrices: a row for each place, a column for each step, and why each is so.

The states are the verdicts of ``include/planning/plan.py``, of which a plan is made too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import chain, groupby
from operator import itemgetter

from include.console.words import counted
from include.planning.dataset_state import CachedDataset, Entry, Job
from include.planning.plan import (
    ArtifactKey,
    Judged,
    NewJob,
    Place,
    Reason,
    Verdict,
    job_rank,
    judged_artifacts,
)
from include.planning.processing_graph import Level, Release, Step
from include.planning.rules import FIRST_ERROR_STATUS

#: At most so many rows are sent at a time.
MAX_ROWS = 500


class State(StrEnum):
    """The state of an artifact: it needs a job for a reason, or none; then it may be an error that stays."""

    UP_TO_DATE = "up to date"
    ERROR = "error"
    EMPTY = Reason.EMPTY.value
    ERROR_TO_RETRY = Reason.ERROR_TO_RETRY.value
    OUTDATED_BY_PARENT = Reason.OUTDATED_BY_PARENT.value
    OBSOLETE = Reason.OBSOLETE.value
    OTHER_REVISION = Reason.OTHER_REVISION.value


#: The states in which an artifact is worth a look.
NOT_UP_TO_DATE = frozenset(State) - {State.UP_TO_DATE}


def state_of(entry: Entry | None, verdict: Verdict) -> State:
    """Return the state of an artifact, from its entry and what the plan says about it."""
    if verdict.reason is not None:
        return State(verdict.reason.value)  # No plan of a backfill has the reason of a refresh.
    is_error = entry is not None and entry.http_status >= FIRST_ERROR_STATUS
    return State.ERROR if is_error else State.UP_TO_DATE


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a matrix: for each step, the state of its artifact, and whether a job is pending for it."""

    config: str | None
    split: str | None
    states: Sequence[State]
    has_job: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Window:
    """Some of the rows that meet a filter: from ``first`` on, out of ``total``."""

    first: int
    total: int
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The artifacts of one level.

    :param steps: those of the level, in topological order.
    :param places: in listed order.
    :param artifacts: for each step, those of all places.
    :param states: of the same artifacts.
    """

    level: Level
    steps: Sequence[Step]
    places: Sequence[Place]
    artifacts: Sequence[Sequence[Judged]]
    states: Sequence[Sequence[State]]
    jobs: Mapping[ArtifactKey, Sequence[Job]]

    @property
    def totals(self) -> Counter[State]:
        """How many artifacts are in each state."""
        counts: Counter[State] = Counter()
        for column in self.states:
            counts.update(column)
        return counts

    def window(
        self, first: int = 0, count: int = MAX_ROWS, states: Collection[State] = (), text: str = ""
    ) -> Window:
        """Return some rows.

        :param states: only the rows with an artifact in one of these states; by default, all.
        :param text: only the rows with this text in the name of the config or of the split, in any case.
        """
        rows = list(self._rows(states, text.casefold()))
        some = rows[max(first, 0) :][: min(count, MAX_ROWS)]
        return Window(first, len(rows), [self._row(index) for index in some])

    def _rows(self, states: Collection[State], text: str) -> Iterable[int]:
        rows: Iterable[int] = range(len(self.places))
        if states:
            wanted = frozenset(states)
            rows = [
                index
                for index, of_row in enumerate(zip(*self.states, strict=True))
                if not wanted.isdisjoint(of_row)
            ]
        if text:
            rows = [index for index in rows if _has_text(self.places[index], text)]
        return rows

    def _row(self, index: int) -> Row:
        place = self.places[index]
        return Row(
            *place,
            states=[column[index] for column in self.states],
            has_job=[(step.name, *place) in self.jobs for step in self.steps],
        )


def _has_text(place: Place, text: str) -> bool:
    return any(name is not None and text in name.casefold() for name in place)


@dataclass(frozen=True, slots=True)
class Artifact:
    """One artifact with all that is known about it, but for the message of its error.

    :param why: in sentences.
    :param jobs: its pending jobs, of any revision, the best one first.
    """

    step: Step
    config: str | None
    split: str | None
    state: State
    why: Sequence[str]
    entry: Entry | None
    newer_parent: Entry | None
    jobs: Sequence[Job]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Artifacts that are not up to date for the same reason.

    :param what: what they have in common: an error code, the kind of a newer parent, or a step.
    :param artifacts: how many.
    :param example: the first of them.
    :param jobs: for how many of them a plan creates a job.
    :param updated_at: when the newest of them was written (UTC); None if they have no entry.
    """

    state: State
    what: str
    artifacts: int
    example: ArtifactKey
    jobs: int = 0
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Artifacts:
    """All artifacts of a dataset, judged for a revision.

    :param matrices: by level.
    :param unexpected: the entries that no step, config or split expects: nothing updates them.
    """

    release: Release
    revision: str
    matrices: Mapping[Level, Matrix]
    unexpected: Sequence[Entry]

    @classmethod
    def of(cls, release: Release, cached: CachedDataset, jobs: Iterable[Job], revision: str) -> Artifacts:
        """Judge the artifacts of a dataset."""
        judged = judged_artifacts(release, cached, revision)
        by_step = {step.name: list(of_step) for step, of_step in groupby(judged, itemgetter(0))}
        by_artifact: dict[ArtifactKey, list[Job]] = defaultdict(list)
        for job in sorted(jobs, key=job_rank):
            by_artifact[job.type, job.config, job.split].append(job)
        matrices = {level: _matrix(release, level, by_step, by_artifact) for level in Level}
        return cls(release, revision, matrices, _unexpected(cached.entries, by_step.values()))

    @property
    def totals(self) -> Counter[State]:
        """How many artifacts are in each state."""
        return sum((matrix.totals for matrix in self.matrices.values()), Counter[State]())

    def artifact(self, key: ArtifactKey) -> Artifact | None:
        """Return an artifact; None if it is not expected."""
        kind, *place = key
        for matrix in self.matrices.values():
            for step, column in zip(matrix.steps, matrix.artifacts, strict=True):
                if step.name == kind:
                    found = (each for each in column if each[1] == tuple(place))
                    judged = next(found, None)
                    return None if judged is None else self._artifact(judged, matrix.jobs.get(key, ()))
        return None

    def _artifact(self, judged: Judged, jobs: Sequence[Job]) -> Artifact:
        step, place, entry, verdict = judged
        return Artifact(
            step,
            *place,
            state=state_of(entry, verdict),
            why=list(_why(judged, self.release, self.revision)),
            entry=entry,
            newer_parent=verdict.newer_parent,
            jobs=jobs,
        )

    def troubles(self, new_jobs: Iterable[NewJob] = ()) -> list[Trouble]:
        """Return why artifacts are not up to date, the most frequent reasons first.

        :param new_jobs: those of the plan.
        """
        planned = {(job.type, job.config, job.split) for job in new_jobs}
        groups: dict[tuple[State, str], list[tuple[ArtifactKey, Entry | None]]] = defaultdict(list)
        for step, place, entry, verdict in self.judged():
            state = state_of(entry, verdict)
            if state is not State.UP_TO_DATE:
                groups[state, _what(state, step, entry, verdict)].append(((step.name, *place), entry))
        most_frequent = sorted(groups.items(), key=lambda group: -len(group[1]))
        return [_trouble(*reason, artifacts, planned) for reason, artifacts in most_frequent]

    def judged(self) -> Iterator[Judged]:
        """Yield all artifacts, in topological order, as :func:`judged_artifacts` does."""
        columns = {
            step.name: column
            for matrix in self.matrices.values()
            for step, column in zip(matrix.steps, matrix.artifacts, strict=True)
        }
        return chain.from_iterable(columns[step.name] for step in self.release.steps)


def _trouble(
    state: State,
    what: str,
    artifacts: Sequence[tuple[ArtifactKey, Entry | None]],
    planned: Collection[ArtifactKey],
) -> Trouble:
    return Trouble(
        state,
        what,
        artifacts=len(artifacts),
        example=artifacts[0][0],
        jobs=sum(key in planned for key, _ in artifacts),
        updated_at=max((entry.updated_at for _, entry in artifacts if entry), default=None),
    )


def _matrix(
    release: Release,
    level: Level,
    by_step: Mapping[str, Sequence[Judged]],
    jobs: Mapping[ArtifactKey, Sequence[Job]],
) -> Matrix:
    steps = [step for step in release.steps if step.input_type is level]
    columns = [by_step.get(step.name, ()) for step in steps]
    return Matrix(
        level=level,
        steps=steps,
        places=[place for _, place, _, _ in columns[0]] if columns else (),
        artifacts=columns,
        states=[[state_of(entry, verdict) for _, _, entry, verdict in column] for column in columns],
        jobs=jobs,
    )


def _unexpected(entries: Sequence[Entry], judged: Iterable[Sequence[Judged]]) -> Sequence[Entry]:
    expected = {id(entry) for column in judged for _, _, entry, _ in column}
    return [entry for entry in entries if id(entry) not in expected]


def _what(state: State, step: Step, entry: Entry | None, verdict: Verdict) -> str:
    if verdict.newer_parent is not None:
        return verdict.newer_parent.kind
    if entry is not None and state in (State.ERROR, State.ERROR_TO_RETRY):
        return entry.error_code or f"HTTP {entry.http_status}"
    return step.name


def _why(judged: Judged, release: Release, revision: str) -> Iterator[str]:
    """Yield what a person should know about an artifact, in sentences."""
    step, _, entry, verdict = judged
    if entry is None:
        yield "The cache has no entry of it."
        return
    if verdict.reason is Reason.OUTDATED_BY_PARENT and verdict.newer_parent is not None:
        parent = verdict.newer_parent
        yield (
            f"Its parent {place_text(parent.kind, parent.config, parent.split)} was updated at"
            f" {parent.updated_at:%Y-%m-%d %H:%M:%S} UTC, after it."
        )
    if entry.http_status >= FIRST_ERROR_STATUS:
        yield _about_error(entry, release)
    if verdict.reason is Reason.OBSOLETE:
        version = entry.job_runner_version
        made_by = "an unknown version" if version is None else f"version {version}"
        yield f"It was computed by {made_by} of its job runner. The step has {step.job_runner_version}."
    if verdict.reason is Reason.OTHER_REVISION:
        yield f"It was computed for revision {entry.revision}, not for {revision}."
    if verdict.reason is None and entry.http_status < FIRST_ERROR_STATUS:
        yield "Its revision and its version are right, and no parent is newer."


def _about_error(entry: Entry, release: Release) -> str:
    code = entry.error_code or "an error without a code"
    failed = f"It failed with {code} (HTTP {entry.http_status})."
    maximum = release.max_failed_runs.get(entry.error_code or "")
    if maximum is None:
        return f"{failed} This error is not retried."
    left = max(0, maximum - entry.failed_runs)
    runs = counted(entry.failed_runs, "failed run")
    return f"{failed} It has {runs} of at most {maximum}: {left} are left."


def place_text(kind: str, config: str | None, split: str | None) -> str:
    """Return an artifact as people write it."""
    place = " / ".join(name for name in (config, split) if name is not None)
    return f"{kind} of {place}" if place else kind
