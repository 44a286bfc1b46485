"""What holds for the plan of any dataset, tested on random states in all releases."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from include.batches import rare_garbage_collection
from include.planning.dataset_state import Entry, Job, JobStatus, Priority
from include.planning.plan import ArtifactKey, Reason, plan_dataset
from include.planning.processing_graph import Level, Release
from tests.builders import NOON, OTHER_REVISION, REVISION, pending_job, up_to_date
from tests.states import State, every_state, states

#: A state that breaks a rule is shown in full, even if it is long.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

REASONS_IN_ORDER = [
    Reason.EMPTY,
    Reason.ERROR_TO_RETRY,
    Reason.OUTDATED_BY_PARENT,
    Reason.OBSOLETE,
    Reason.OTHER_REVISION,
]


def key(job: Job) -> ArtifactKey:
    return (job.type, job.config, job.split)


# What holds for each plan


@every_state
@given(states())
def test_after_a_plan_is_written_the_next_plan_is_empty(state: State) -> None:
    after = state.after(state.plan())

    assert after.plan().is_empty


@every_state
@given(states())
def test_started_jobs_are_never_touched(state: State) -> None:
    plan = state.plan()

    assert all(job.status is JobStatus.WAITING for job in plan.deleted_jobs)
    assert set(plan.deleted_jobs) <= set(state.jobs)
    assert len({job.id for job in plan.deleted_jobs}) == len(plan.deleted_jobs)


@every_state
@given(states())
def test_an_artifact_keeps_at_most_one_pending_job_and_no_waiting_job_of_another_revision(
    state: State,
) -> None:
    after = state.after(state.plan())

    waiting = [job for job in after.jobs if job.status is JobStatus.WAITING]
    started = {key(job) for job in after.jobs if job.status is JobStatus.STARTED and job.revision == REVISION}
    assert {job.revision for job in waiting} <= {REVISION}
    assert len({key(job) for job in waiting}) == len(waiting)
    assert started.isdisjoint(map(key, waiting))


@every_state
@given(states())
def test_a_new_job_never_repeats_a_pending_one(state: State) -> None:
    plan = state.plan()

    kept = [job for job in state.after(plan).jobs if job in state.jobs and job.revision == REVISION]
    new = [(job.type, job.config, job.split) for job in plan.new_jobs]
    assert set(new).isdisjoint(map(key, kept))
    assert len(set(new)) == len(new)


@every_state
@given(states())
def test_a_job_is_deleted_only_if_a_better_one_is_kept_or_none_is_needed(state: State) -> None:
    plan = state.plan()
    assume(not plan.incoherent)
    without_jobs = replace(state, jobs=()).plan()
    needed = {(job.type, job.config, job.split) for job in without_jobs.new_jobs}

    for job in plan.deleted_jobs:
        rivals = [other for other in state.jobs if key(other) == key(job) and other.revision == REVISION]
        assert job.revision != REVISION or key(job) not in needed or min(rivals, key=quality) is not job


def quality(job: Job) -> tuple[bool, int, datetime]:
    best_first = [Priority.HIGH, Priority.NORMAL, Priority.LOW]
    return (job.status is JobStatus.WAITING, best_first.index(job.priority), job.created_at)


@every_state
@given(states())
def test_new_jobs_have_known_steps_expected_places_and_difficulties_up_to_100(state: State) -> None:
    plan = state.plan()

    for job in plan.new_jobs:
        step = state.release.step(job.type)
        assert step.input_type is Level((job.config is not None) + (job.split is not None))
        assert job.config is None or job.config in state.cached.configs
        assert job.split is None or job.split in state.cached.splits[job.config or ""]
        assert step.difficulty <= job.difficulty <= 100


@every_state
@given(states())
def test_new_jobs_come_by_reason_and_then_in_topological_order(state: State) -> None:
    plan = state.plan()

    steps = [step.name for step in state.release.steps]
    order = [(REASONS_IN_ORDER.index(job.reason), steps.index(job.type)) for job in plan.new_jobs]
    assert order == sorted(order)


@every_state
@given(states(), st.integers())
def test_the_order_of_entries_and_jobs_does_not_matter(state: State, seed: int) -> None:
    random = Random(seed)
    entries, jobs = list(state.cached.entries), list(state.jobs)
    random.shuffle(entries)
    random.shuffle(jobs)
    shuffled = State(state.release, replace(state.cached, entries=entries), jobs)

    plan, same = state.plan(), shuffled.plan()

    assert same.new_jobs == plan.new_jobs
    assert set(same.deleted_jobs) == set(plan.deleted_jobs)
    assert same.incoherent == plan.incoherent


@every_state
@given(states())
def test_without_the_rule_no_cache_is_called_incoherent(state: State) -> None:
    without_rule = replace(state, release=replace(state.release, rebuilds_incoherent_caches=False))

    assert not without_rule.plan().incoherent


@every_state
@given(states())
def test_workers_bring_every_dataset_up_to_date(state: State) -> None:
    """Each round outdates only steps further down the graph. So it takes at most a round for each step, one
    for an incoherent cache, and one for jobs of artifacts that are not expected.
    """
    now = NOON + timedelta(days=1)
    for _ in range(len(state.release.steps) + 2):
        plan = state.plan()
        if plan.is_empty and not state.jobs:
            return
        state, now = worked(state.after(plan), now)

    assert state.plan().is_empty


def worked(state: State, now: datetime) -> tuple[State, datetime]:
    """The state and the time after all pending jobs are done, one after the other, in topological order."""
    entries = {(entry.kind, entry.config, entry.split): entry for entry in state.cached.entries}
    steps = {step.name: place for place, step in enumerate(state.release.steps)}
    ours = [job for job in state.jobs if job.revision == REVISION and job.type in steps]
    for job in sorted(ours, key=lambda job: steps[job.type]):
        now += timedelta(seconds=1)
        version = state.release.step(job.type).job_runner_version
        entries[key(job)] = Entry(*key(job), 200, None, REVISION, version, 0, now)
    return State(state.release, replace(state.cached, entries=list(entries.values())), ()), now


# How long it takes


def seconds_to_plan(release: Release, configs: int) -> float:
    """The time to plan a job for each artifact, while half of the jobs are pending already."""
    splits = {f"config {number}": ["train"] for number in range(configs)}
    cached = up_to_date(release, splits, revision=OTHER_REVISION)
    pending = [pending_job(entry.kind, (entry.config, entry.split)) for entry in cached.entries[::2]]
    with rare_garbage_collection():  # as in a backfill
        begin = time.process_time()
        plan = plan_dataset(release, cached, pending, REVISION)
        seconds = time.process_time() - begin
    assert len(plan.new_jobs) == len(cached.entries) - len(pending)
    return seconds


def test_the_time_grows_in_proportion_to_the_configs(release: Release) -> None:
    few = min(seconds_to_plan(release, 2_500) for _ in range(2))
    many = min(seconds_to_plan(release, 10_000) for _ in range(2))

    assert many < 8 * few
    assert many < 15
