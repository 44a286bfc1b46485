"""The plan of a refresh: jobs for the artifacts that a person chooses, whether or not they are up to date.

It is pure, as the plan of a backfill is: the state of a dataset and its revision on the Hub go in, and the
plan comes out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from include.errors import ConfigurationError
from include.planning.artifact_name import ArtifactName
from include.planning.dataset_state import CachedDataset, Job, JobStatus, Priority
from include.planning.plan import (
    PRIORITY_RANK,
    ArtifactKey,
    NewJob,
    Path,
    Place,
    Plan,
    Reason,
    expected_paths,
    job_difficulty,
    plan_dataset,
)
from include.planning.processing_graph import Level, Release, Step


@dataclass(frozen=True, slots=True)
class Refresh:
    """Which artifacts of a dataset are computed again.

    :param steps: those of these steps. Without any, those whose entry has one of the ``error_codes``.
    :param with_children: also those that depend on them, at any distance.
    :param priority: of the jobs. A waiting job of a lower one gives way.
    :param artifacts: instead of steps, these, by dataset; with ``error_codes``, only those with one of them.
    """

    steps: frozenset[str] = frozenset()
    error_codes: frozenset[str] = frozenset()
    with_children: bool = False
    priority: Priority = Priority.NORMAL
    artifacts: Mapping[str, Set[ArtifactKey]] = field(default_factory=dict)


def check_steps(release: Release, names: Iterable[str]) -> None:
    """Make sure that a release has steps.

    :raises ConfigurationError: if it does not: the message lists those that it has.
    """
    known = [step.name for step in release.steps]
    if unknown := [name for name in names if name not in known]:
        raise ConfigurationError(
            f"The release {release.name} has no step {', '.join(unknown)}. It has {', '.join(known)}."
        )


def chosen_artifacts(release: Release, cached: CachedDataset, refresh: Refresh) -> list[tuple[Step, Place]]:
    """Return the expected artifacts of a dataset to compute again, each once, parents before children."""
    is_chosen = _choice(cached, refresh)
    paths = expected_paths(cached)
    chosen: list[tuple[Step, Place]] = []
    # By step, the places of the chosen artifacts, and the wider places that these are in.
    touched: dict[str, set[Place]] = defaultdict(set)
    for step in release.steps:
        for path in paths[step.input_type]:
            depends = refresh.with_children and _depends(step, path, touched)
            if depends or is_chosen(step, path[-1]):
                chosen.append((step, path[-1]))
                touched[step.name].update(path)
    return chosen


def _choice(cached: CachedDataset, refresh: Refresh) -> Callable[[Step, Place], bool]:
    if refresh.steps:
        return lambda step, _: step.name in refresh.steps
    chosen = _with_error(cached, refresh)
    if refresh.artifacts:
        named = refresh.artifacts.get(cached.dataset, frozenset())
        chosen = named & chosen if refresh.error_codes else named
    return lambda step, place: (step.name, *place) in chosen


def _with_error(cached: CachedDataset, refresh: Refresh) -> Set[ArtifactKey]:
    return {
        (entry.kind, entry.config, entry.split)
        for entry in cached.entries
        if entry.error_code in refresh.error_codes
    }


def _depends(step: Step, path: Path, touched: dict[str, set[Place]]) -> bool:
    """Return whether an artifact depends on a chosen one of a parent step.

    A parent's artifact is at the same place, at a wider one that this is in, or at a narrower one in this.
    """
    level: Level = step.input_type
    return any(path[min(parent.input_type, level)] in touched[parent.name] for parent in step.parents)


def left_out(
    release: Release, cached: CachedDataset, refresh: Refresh, chosen: Iterable[tuple[Step, Place]]
) -> dict[ArtifactName, str]:
    """Return the artifacts of a dataset that were named, but are not computed again, each with the reason.

    :param chosen: what :func:`chosen_artifacts` returns.
    """
    named = refresh.artifacts.get(cached.dataset, frozenset())
    left = named - {(step.name, *place) for step, place in chosen}
    places = [{path[-1] for path in paths} for paths in expected_paths(cached)]
    expected = {step.name: places[step.input_type] for step in release.steps}

    def why(step: str, *place: str | None) -> str:
        if step not in expected:
            return f"the release {release.name} has no such step"
        if not cached.entries:
            return "its dataset is not in the cache"
        return "it has no such error now" if place in expected[step] else "the cache lists no such artifact"

    names = (ArtifactName(cached.dataset, *artifact) for artifact in left)
    return {name: why(*name[1:]) for name in sorted(names, key=str)}


def plan_refresh(
    release: Release,
    cached: CachedDataset,
    jobs: Sequence[Job],
    revision: str,
    *,
    rebuild: bool = False,
    refresh: Refresh,
) -> Plan:
    """Plan a job for each artifact to compute again.

    A pending job for the same artifact and revision is kept in place of a new one, if it has started or its
    priority is at least that of the refresh. Waiting ones of a lower priority give way to the new one. All
    other jobs stay.

    :param jobs: the pending jobs of the dataset.
    :param revision: the revision that the Hub has.
    :param rebuild: a rebuild of the dataset was cut short: finish it, because it leaves nothing to refresh.
    """
    if rebuild:
        return plan_dataset(release, cached, jobs, revision, rebuild=True)
    entries = {(entry.kind, entry.config, entry.split): entry for entry in cached.entries}
    pending = _pending_by_artifact(jobs, revision)
    new_jobs: list[NewJob] = []
    deleted_jobs: list[Job] = []
    for step, place in chosen_artifacts(release, cached, refresh):
        key = (step.name, *place)
        if any(_is_kept(job, refresh) for job in pending[key]):
            continue
        deleted_jobs += pending[key]
        difficulty = job_difficulty(step, place, entries.get(key), cached.sizes)
        new_jobs.append(NewJob(step.name, *place, difficulty, Reason.REFRESH))
    return Plan(cached.dataset, revision, tuple(new_jobs), tuple(deleted_jobs))


def plan_recreation(
    release: Release,
    cached: CachedDataset,
    jobs: Sequence[Job],
    revision: str,
    *,
    rebuild: bool,  # noqa: ARG001 (makes no difference)
) -> Plan:
    """Plan to remove a dataset, whatever its entries, and to build it from nothing.

    :param rebuild: whether its removal has begun, which makes no difference.
    """
    return plan_dataset(release, cached, jobs, revision, rebuild=True)


def _pending_by_artifact(jobs: Iterable[Job], revision: str) -> dict[ArtifactKey, list[Job]]:
    pending: dict[ArtifactKey, list[Job]] = defaultdict(list)
    for job in jobs:
        if job.revision == revision:
            pending[job.type, job.config, job.split].append(job)
    return pending


def _is_kept(job: Job, refresh: Refresh) -> bool:
    is_urgent = PRIORITY_RANK[job.priority] <= PRIORITY_RANK[refresh.priority]
    return job.status is JobStatus.STARTED or is_urgent
