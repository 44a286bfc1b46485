"""The plan of one dataset: which jobs to create and which to delete, so that its cache comes up to date.

This is the heart of a backfill, and it is pure: the state of a dataset and its revision on the Hub go in, the
plan comes out. The README's section "How a plan is made" has the rules in words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from include.planning.dataset_state import CachedDataset, Entry, Job, JobStatus, Priority
from include.planning.processing_graph import Level, Release, Step

BIG_CONFIG_BYTES = 3_000_000_000
DIFFICULTY_PER_FAILED_RUN = 20
MAX_DIFFICULTY = 100

#: A place in a dataset: (None, None) is the dataset itself, (config, None) a config, (config, split) a split.
Place = tuple[str | None, str | None]
#: A place after the wider ones that it lies in, so that its index is its level.
Path = tuple[Place, ...]
#: The entries of a parent, by place, and the level of these places.
ParentEntries = tuple[Level, Mapping[Place, Entry]]
#: What identifies an artifact in its dataset: the step's name, the config and the split.
ArtifactKey = tuple[str, str | None, str | None]

_PRIORITY_RANK = {priority: rank for rank, priority in enumerate(Priority)}


class Reason(StrEnum):
    """Why an artifact needs a job. The order is the one in which the jobs are inserted."""

    EMPTY = "empty"
    ERROR_TO_RETRY = "error to retry"
    OUTDATED_BY_PARENT = "outdated by a parent"
    OBSOLETE = "obsolete"
    OTHER_REVISION = "other revision"


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to create, and why. ``difficulty`` is from 1 to 100."""

    type: str
    config: str | None
    split: str | None
    difficulty: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for one dataset, in this order: remove it if it is incoherent, delete jobs, create jobs.

    ``new_jobs`` are in the order of their insertion, ``deleted_jobs`` are all waiting. Where the dataset is
    ``incoherent``, its removal takes the waiting jobs with it, so that ``deleted_jobs`` is empty.
    """

    dataset: str
    revision: str
    new_jobs: tuple[NewJob, ...]
    deleted_jobs: tuple[Job, ...]
    incoherent: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.new_jobs or self.deleted_jobs or self.incoherent)


def plan_dataset(
    release: Release, cached: CachedDataset, jobs: Sequence[Job], revision: str, *, rebuild: bool = False
) -> Plan:
    """Plan the jobs that bring the cache of a dataset to ``revision``, the one that the Hub has.

    ``jobs`` are its pending ones. With ``rebuild``, it is taken for incoherent, whatever its entries.
    The time that it takes grows in proportion to the entries, the jobs and the expected artifacts.
    """
    incoherent = rebuild or (release.rebuilds_incoherent_caches and is_incoherent(cached))
    if incoherent:  # its removal will leave no entry, and of the jobs only the started ones
        cached = CachedDataset(cached.dataset)
        jobs = [job for job in jobs if job.status is JobStatus.STARTED]
    needed = _needed_jobs(release, cached, revision)
    kept = _kept_jobs(jobs, revision, needed)
    return Plan(
        dataset=cached.dataset,
        revision=revision,
        new_jobs=tuple(job for key, job in needed.items() if key not in kept),
        deleted_jobs=_waiting_jobs_but(kept.values(), jobs),
        incoherent=incoherent,
    )


def is_incoherent(cached: CachedDataset) -> bool:
    """Tell whether there are entries of a config that is not listed, or of a split that its config does not.

    Of a config with no list of splits, or an empty one, any split may have entries.
    """
    splits = {config: frozenset(cached.splits.get(config, ())) for config in cached.configs}
    for entry in cached.entries:
        if entry.config is None:
            continue
        if entry.config not in splits:
            return True
        listed = splits[entry.config]
        if entry.split is not None and listed and entry.split not in listed:
            return True
    return False


def _needed_jobs(release: Release, cached: CachedDataset, revision: str) -> dict[ArtifactKey, NewJob]:
    """Find the artifacts that need a job, in the order in which the jobs are to be inserted."""
    places = _places(cached)
    entries = _entries_by_step(cached.entries)
    found: dict[Reason, dict[ArtifactKey, NewJob]] = {reason: {} for reason in Reason}
    for step in release.steps:
        own = entries.get(step.name, {})
        parents = [_parent_entries(parent, step.input_type, places, entries) for parent in step.parents]
        for path in places[step.input_type]:
            place = path[-1]
            entry = own.get(place)
            reason = _reason_for_a_job(release, step, path, entry, parents, revision)
            if reason is not None:
                job = NewJob(step.name, *place, _difficulty(step, place, entry, cached.sizes), reason)
                found[reason][step.name, *place] = job
    return {key: job for jobs in found.values() for key, job in jobs.items()}


def _places(cached: CachedDataset) -> tuple[list[Path], list[Path], list[Path]]:
    """Give the paths to the expected artifacts, by level, each once, in their listed order."""
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
    parent: Step, level: Level, places: Sequence[Sequence[Path]], entries: Mapping[str, Mapping[Place, Entry]]
) -> ParentEntries:
    """Give a parent's entries as a child at ``level`` sees them: of a narrower one, the newest."""
    own = entries.get(parent.name, {})
    if parent.input_type <= level:
        return parent.input_type, own
    newest: dict[Place, Entry] = {}
    for path in places[parent.input_type]:
        entry = own.get(path[-1])
        if entry is not None:
            known = newest.get(path[level])
            if known is None or known.updated_at < entry.updated_at:
                newest[path[level]] = entry
    return level, newest


def _reason_for_a_job(
    release: Release,
    step: Step,
    path: Path,
    entry: Entry | None,
    parents: Iterable[ParentEntries],
    revision: str,
) -> Reason | None:
    """Find the first reason that holds; None if the artifact is up to date."""
    if entry is None:
        return Reason.EMPTY
    for level, entries in parents:
        parent = entries.get(path[level])
        if parent is not None and entry.updated_at < parent.updated_at:
            return Reason.OUTDATED_BY_PARENT
    if entry.http_status >= 400 and entry.failed_runs < release.max_failed_runs.get(
        entry.error_code or "", 0
    ):
        return Reason.ERROR_TO_RETRY
    if entry.job_runner_version is None or entry.job_runner_version < step.job_runner_version:
        return Reason.OBSOLETE
    if entry.revision != revision:
        return Reason.OTHER_REVISION
    return None


def _difficulty(step: Step, place: Place, entry: Entry | None, sizes: Mapping[str, int]) -> int:
    config, _ = place
    is_big = config is not None and sizes.get(config, 0) > BIG_CONFIG_BYTES
    failed_runs = entry.failed_runs if entry is not None else 0
    difficulty = step.difficulty + (step.bonus_difficulty if is_big else 0)
    return min(difficulty + DIFFICULTY_PER_FAILED_RUN * failed_runs, MAX_DIFFICULTY)


def _kept_jobs(
    jobs: Iterable[Job], revision: str, needed: Mapping[ArtifactKey, NewJob]
) -> dict[ArtifactKey, Job]:
    """Choose the pending job that is kept in place of a new one: started, else of high priority, else old."""
    kept: dict[ArtifactKey, Job] = {}
    for job in jobs:
        key = (job.type, job.config, job.split)
        if job.revision == revision and key in needed and (key not in kept or _rank(job) < _rank(kept[key])):
            kept[key] = job
    return kept


def _rank(job: Job) -> tuple[bool, int, datetime]:
    return (job.status is not JobStatus.STARTED, _PRIORITY_RANK[job.priority], job.created_at)


def _waiting_jobs_but(kept: Iterable[Job], jobs: Iterable[Job]) -> tuple[Job, ...]:
    kept_ids = {job.id for job in kept}
    return tuple(job for job in jobs if job.status is JobStatus.WAITING and job.id not in kept_ids)
