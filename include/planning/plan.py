"""The plan of one dataset: which jobs to create and which to delete to bring its cache up to date.

This is the heart of a backfill, and it is pure: the state of a dataset and its revision on the Hub go in, and
the plan comes out. The section "How a plan is made" of docs/actions.md has the rules in words.

The rules for an entry that is up to date stand twice, on purpose: here, for one dataset, and as arrays in
``include/planning/screening.py``, which is many times as fast. Change both together. This module decides: the
screening only saves it the datasets whose plan would be empty.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from include.planning.dataset_state import CachedDataset, Entry, Job, JobStatus, Priority
from include.planning.processing_graph import Level, Release, Step
from include.planning.rules import (
    BIG_CONFIG_BYTES,
    DIFFICULTY_PER_FAILED_RUN,
    FIRST_ERROR_STATUS,
    MAX_DIFFICULTY,
)

#: A place in a dataset: (None, None) is the dataset itself, (config, None) a config, (config, split) a split.
Place = tuple[str | None, str | None]
#: The places from the dataset down to a place, which comes last. The index of each is its level.
Path = tuple[Place, ...]
PathsByLevel = tuple[list[Path], list[Path], list[Path]]
#: The entries of a parent step as a child sees them: the level at which to look them up, and they by place.
ParentEntries = tuple[Level, Mapping[Place, Entry]]
#: What identifies an artifact within its dataset: the step's name, the config and the split.
ArtifactKey = tuple[str, str | None, str | None]

#: The rank of each priority, lowest for the highest.
PRIORITY_RANK = {priority: rank for rank, priority in enumerate(Priority)}


class Reason(StrEnum):
    """Why an artifact needs a job. Jobs are inserted in the order of their reasons here."""

    EMPTY = "empty"
    ERROR_TO_RETRY = "error to retry"
    OUTDATED_BY_PARENT = "outdated by a parent"
    OBSOLETE = "obsolete"
    OTHER_REVISION = "other revision"
    #: A person asks for it, whether or not it is up to date.
    REFRESH = "refresh"


class Verdict(NamedTuple):
    """Why an artifact needs a job; None if it needs none. ``newer_parent`` is the entry that outdates it."""

    reason: Reason | None
    newer_parent: Entry | None = None


#: Nearly all artifacts share one of these, because to make one for each would take longer than to judge it.
_UP_TO_DATE = Verdict(None)
_EMPTY = Verdict(Reason.EMPTY)
_ERROR_TO_RETRY = Verdict(Reason.ERROR_TO_RETRY)
_OBSOLETE = Verdict(Reason.OBSOLETE)
_OTHER_REVISION = Verdict(Reason.OTHER_REVISION)

#: An expected artifact: its step and place, its entry if it has one, and the verdict. A plain tuple is the
#: quickest to make.
Judged = tuple[Step, Place, Entry | None, Verdict]


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to create, and why. ``type`` is the name of its step, ``difficulty`` is from 1 to 100."""

    type: str
    config: str | None
    split: str | None
    difficulty: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Artifacts:
    """How many of the expected artifacts are up to date, and how many need a job, pending already or not."""

    up_to_date: int = 0
    need_jobs: int = 0

    def __add__(self, other: Artifacts) -> Artifacts:
        return Artifacts(self.up_to_date + other.up_to_date, self.need_jobs + other.need_jobs)


NO_ARTIFACTS = Artifacts()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for one dataset, in this order: remove it if it is incoherent, delete jobs, create jobs.

    ``new_jobs`` are in the order of their insertion. ``deleted_jobs`` are all waiting. The removal of an
    ``incoherent`` dataset deletes its waiting jobs, so its ``deleted_jobs`` are empty. ``artifacts`` are
    those that the cache lists, for an incoherent dataset after its removal.
    """

    dataset: str
    revision: str
    new_jobs: tuple[NewJob, ...]
    deleted_jobs: tuple[Job, ...]
    incoherent: bool = False
    artifacts: Artifacts = field(default=NO_ARTIFACTS, compare=False)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.new_jobs or self.deleted_jobs or self.incoherent)


def plan_dataset(
    release: Release,
    cached: CachedDataset,
    jobs: Sequence[Job],
    revision: str,
    *,
    rebuild: bool = False,
    judged: Iterable[Judged] | None = None,
) -> Plan:
    """Plan the jobs that bring the cache of a dataset to ``revision``.

    It takes time in proportion to the entries, the jobs and the expected artifacts.

    :param jobs: the pending jobs of the dataset.
    :param revision: the revision that the Hub has.
    :param rebuild: plan as if the dataset was incoherent, whatever its entries.
    :param judged: what :func:`judged_artifacts` returns for the same arguments, if the caller has it already.
    """
    incoherent = rebuild or (release.rebuilds_incoherent_caches and first_unlisted(cached) is not None)
    if incoherent:  # its removal leaves no entry, and only the started jobs
        cached = CachedDataset(cached.dataset)
        jobs = [job for job in jobs if job.status is JobStatus.STARTED]
    if judged is None or incoherent:
        judged = judged_artifacts(release, cached, revision)
    needed, up_to_date = _needed_jobs(judged, cached.sizes)
    kept = _kept_jobs(jobs, revision, needed)
    return Plan(
        dataset=cached.dataset,
        revision=revision,
        new_jobs=tuple(job for key, job in needed.items() if key not in kept),
        deleted_jobs=_waiting_jobs_but(kept.values(), jobs),
        incoherent=incoherent,
        artifacts=Artifacts(up_to_date, len(needed)),
    )


def first_unlisted(cached: CachedDataset) -> Entry | None:
    """Return an entry of a config that the dataset does not list, or of an unlisted split, if it has one.

    Such an entry makes the cache of the dataset incoherent. A config that lists no splits may have entries of
    any split.
    """
    splits = {config: frozenset(cached.splits.get(config, ())) for config in cached.configs}
    for entry in cached.entries:
        if entry.config is None:
            continue
        if entry.config not in splits:
            return entry
        listed = splits[entry.config]
        if entry.split is not None and listed and entry.split not in listed:
            return entry
    return None


def judged_artifacts(release: Release, cached: CachedDataset, revision: str) -> Iterator[Judged]:
    """Judge each expected artifact: by step in topological order, then by place in listed order.

    The rules are all here: a plan, and whoever shows what it is made of, take the verdicts as they come.
    """
    paths = expected_paths(cached)
    entries = _entries_by_step(cached.entries)
    for step in release.steps:
        own_entries = entries.get(step.name, {})
        parents = [_parent_entries(parent, step.input_type, paths, entries) for parent in step.parents]
        for path in paths[step.input_type]:
            place = path[-1]
            entry = own_entries.get(place)
            yield step, place, entry, _verdict(release, step, path, entry, parents, revision)


def _needed_jobs(judged: Iterable[Judged], sizes: Mapping[str, int]) -> tuple[dict[ArtifactKey, NewJob], int]:
    """Return a job for each artifact that needs one, in the order of insertion, and how many need none."""
    by_reason: dict[Reason, dict[ArtifactKey, NewJob]] = {reason: {} for reason in Reason}
    up_to_date = 0
    for step, place, entry, (reason, _) in judged:
        if reason is None:
            up_to_date += 1
        else:
            difficulty = job_difficulty(step, place, entry, sizes)
            by_reason[reason][step.name, *place] = NewJob(step.name, *place, difficulty, reason)
    return {key: job for jobs in by_reason.values() for key, job in jobs.items()}, up_to_date


def expected_paths(cached: CachedDataset) -> PathsByLevel:
    """Return the paths to the dataset, to its configs and to its splits, each once, in their listed order."""
    dataset: Place = (None, None)
    config_paths: list[Path] = []
    split_paths: list[Path] = []
    for config in dict.fromkeys(cached.configs):
        path = (dataset, (config, None))
        config_paths.append(path)
        split_paths += [(*path, (config, split)) for split in dict.fromkeys(cached.splits.get(config, ()))]
    return [(dataset,)], config_paths, split_paths


def _entries_by_step(entries: Iterable[Entry]) -> dict[str, dict[Place, Entry]]:
    by_step: dict[str, dict[Place, Entry]] = defaultdict(dict)
    for entry in entries:
        by_step[entry.kind][entry.config, entry.split] = entry
    return by_step


def _parent_entries(
    parent: Step, level: Level, paths: Sequence[Sequence[Path]], entries: Mapping[str, Mapping[Place, Entry]]
) -> ParentEntries:
    """Return a parent's entries for a child at ``level``: the newest ones if the parent is narrower."""
    own_entries = entries.get(parent.name, {})
    if parent.input_type <= level:
        return parent.input_type, own_entries
    newest: dict[Place, Entry] = {}
    for path in paths[parent.input_type]:
        entry = own_entries.get(path[-1])
        if entry is not None:
            known = newest.get(path[level])
            if known is None or known.updated_at < entry.updated_at:
                newest[path[level]] = entry
    return level, newest


def _verdict(
    release: Release,
    step: Step,
    path: Path,
    entry: Entry | None,
    parents: Iterable[ParentEntries],
    revision: str,
) -> Verdict:
    """Return the first reason that holds for an artifact."""
    if entry is None:
        return _EMPTY
    for level, entries in parents:
        parent = entries.get(path[level])
        if parent is not None and entry.updated_at < parent.updated_at:
            return Verdict(Reason.OUTDATED_BY_PARENT, parent)
    if entry.http_status >= FIRST_ERROR_STATUS and _is_retried(entry, release):
        return _ERROR_TO_RETRY
    if _is_obsolete(entry, step, release):
        return _OBSOLETE
    if entry.revision != revision:
        return _OTHER_REVISION
    return _UP_TO_DATE


def _is_obsolete(entry: Entry, step: Step, release: Release) -> bool:
    if entry.job_runner_version is None:
        return release.null_version_is_obsolete
    return entry.job_runner_version < step.job_runner_version


def _is_retried(error: Entry, release: Release) -> bool:
    return error.failed_runs < release.max_failed_runs.get(error.error_code or "", 0)


def job_difficulty(step: Step, place: Place, entry: Entry | None, sizes: Mapping[str, int]) -> int:
    """Return the difficulty of a new job.

    :param entry: the entry that the job replaces, if there is one.
    :param sizes: in bytes, by config.
    """
    config, _ = place
    is_big = config is not None and sizes.get(config, 0) > BIG_CONFIG_BYTES
    failed_runs = entry.failed_runs if entry is not None else 0
    difficulty = step.difficulty + (step.bonus_difficulty if is_big else 0)
    return min(difficulty + DIFFICULTY_PER_FAILED_RUN * failed_runs, MAX_DIFFICULTY)


def _kept_jobs(
    jobs: Iterable[Job], revision: str, needed: Mapping[ArtifactKey, NewJob]
) -> dict[ArtifactKey, Job]:
    """Return the pending job to keep in place of each new one: the best of those for the same revision."""
    kept: dict[ArtifactKey, Job] = {}
    for job in jobs:
        key = (job.type, job.config, job.split)
        if (
            job.revision == revision
            and key in needed
            and (key not in kept or job_rank(job) < job_rank(kept[key]))
        ):
            kept[key] = job
    return kept


def job_rank(job: Job) -> tuple[bool, int, datetime]:
    """Return a rank that is lowest for the best job: started, then of high priority, then old."""
    return (job.status is not JobStatus.STARTED, PRIORITY_RANK[job.priority], job.created_at)


def _waiting_jobs_but(kept: Iterable[Job], jobs: Iterable[Job]) -> tuple[Job, ...]:
    kept_ids = {job.id for job in kept}
    return tuple(job for job in jobs if job.status is JobStatus.WAITING and job.id not in kept_ids)
