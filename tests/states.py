"""Random states of one dataset, to test what holds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st

from include.planning.dataset_state import CachedDataset, Entry, Job, JobStatus, Priority
from include.planning.plan import Plan, plan_dataset
from include.planning.processing_graph import Release, load_release, release_names
from tests.builders import (
    DATASET,
    NOON,
    OTHER_REVISION,
    REVISION,
    as_pending,
    pending_job,
    places_of,
    up_to_date,
)

every_state = settings(derandomize=True, database=None, deadline=None, max_examples=120)


@dataclass(frozen=True, slots=True)
class State:
    """What the cache and the queue hold of a dataset."""

    release: Release
    cached: CachedDataset
    jobs: Sequence[Job]

    def plan(self) -> Plan:
        return plan_dataset(self.release, self.cached, self.jobs, REVISION)

    def after(self, plan: Plan) -> State:
        """The state after a plan is written."""
        cached, jobs = self.cached, [job for job in self.jobs if job not in plan.deleted_jobs]
        if plan.incoherent:
            cached = CachedDataset(DATASET)
            jobs = [job for job in jobs if job.status is JobStatus.STARTED]
        return State(self.release, cached, [*jobs, *map(as_pending, plan.new_jobs)])


# A state is that of an up-to-date or empty dataset, with changes

names = st.one_of(
    st.sampled_from(
        ["default", "train", "", " ", ",", "a/b", "--", "é", "e\u0301", "\U0001f917", "\u202e", "\0"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
indexes = st.integers(0, 2**16)
Change = Callable[[Entry], Entry | None]


def removed(_: Entry) -> None:
    return None


def failed(code: str, runs: int) -> Change:
    return lambda entry: entry._replace(http_status=500, error_code=code, failed_runs=runs)


def of_version(version: int | None) -> Change:
    return lambda entry: entry._replace(job_runner_version=version)


def at_minute(minute: int) -> Change:
    return lambda entry: entry._replace(updated_at=NOON + timedelta(minutes=minute))


def of_other_revision(entry: Entry) -> Entry:
    return entry._replace(revision=OTHER_REVISION)


def elsewhere(config: str | None, split: str | None) -> Change:
    return lambda entry: entry._replace(config=config, split=split)


def of_kind(kind: str) -> Change:
    return lambda entry: entry._replace(kind=kind)


changes: st.SearchStrategy[Change] = st.one_of(
    st.just(removed),
    st.just(of_other_revision),
    st.builds(failed, st.sampled_from(["ConnectionError", "CreateCommitError", "Other"]), st.integers(0, 40)),
    st.builds(of_version, st.none() | st.integers(0, 9)),
    st.builds(at_minute, st.integers(-5, 60)),
    st.builds(elsewhere, st.none() | names, st.none() | names),
    st.builds(of_kind, st.sampled_from(["forgotten", "dataset-config-names", "config-size"])),
)


@st.composite
def states(draw: st.DrawFn) -> State:
    release = load_release(draw(st.sampled_from(release_names())))
    splits = draw(st.dictionaries(names, st.lists(names, max_size=3, unique=True), max_size=3))
    cached = up_to_date(release, splits)
    entries: list[Entry | None] = list(cached.entries) if draw(st.booleans()) else []
    for index, change in draw(st.lists(st.tuples(indexes, changes), max_size=12)) if entries else []:
        place = index % len(entries)
        entry = entries[place]
        entries[place] = entry and change(entry)
    distinct = {(entry.kind, entry.config, entry.split): entry for entry in entries if entry}
    configs = list(splits) + draw(st.lists(names, max_size=1))
    lists = {config: listed for config, listed in splits.items() if draw(st.integers(0, 9))}
    sizes = {config: draw(st.sampled_from([0, 3_000_000_000, 3_000_000_001])) for config in splits}
    return State(
        release,
        CachedDataset(DATASET, list(distinct.values()), configs, lists, sizes),
        draw(st.lists(jobs(release, splits), max_size=12)),
    )


def jobs(release: Release, splits: dict[str, list[str]]) -> st.SearchStrategy[Job]:
    """Jobs of artifacts, most of which are expected."""
    expected = [(step.name, place) for step in release.steps for place in places_of(step.input_type, splits)]
    unexpected = st.tuples(st.just("forgotten"), st.tuples(st.none() | names, st.none()))

    def job(artifact: tuple[str, tuple[str | None, str | None]], status: JobStatus, other: bool) -> Job:
        return pending_job(*artifact, status=status, revision=OTHER_REVISION if other else REVISION)

    made = st.builds(job, st.sampled_from(expected) | unexpected, st.sampled_from(JobStatus), st.booleans())
    return st.builds(
        lambda job, priority: replace(job, priority=priority), made, st.sampled_from(list(Priority))
    )
