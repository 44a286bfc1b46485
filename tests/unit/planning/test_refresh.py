"""The plan of a refresh: which artifacts a person chooses, and which pending jobs stay."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigurationError
from include.planning.artifact_name import ArtifactName
from include.planning.dataset_state import CachedDataset, Job, JobStatus, Priority
from include.planning.plan import ArtifactKey, NewJob, Plan, Reason, plan_dataset
from include.planning.processing_graph import load_release, release_names
from include.planning.refresh import (
    Refresh,
    check_steps,
    chosen_artifacts,
    left_out,
    plan_recreation,
    plan_refresh,
)
from tests.builders import (
    DATASET,
    OTHER_REVISION,
    REVISION,
    as_pending,
    changed,
    pending_job,
    places_of,
    up_to_date,
    without,
)
from tests.states import State, every_state, names, states
from tests.unit.planning.test_plan import SMALL

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

SPLITS = {"a": ["train", "test"], "b": ["train"]}


def of(*steps: str, with_children: bool = False, priority: Priority = Priority.NORMAL) -> Refresh:
    return Refresh(frozenset(steps), with_children=with_children, priority=priority)


def exactly(*artifacts: ArtifactKey, error_codes: str = "") -> Refresh:
    return Refresh(error_codes=frozenset(error_codes), artifacts={DATASET: frozenset(artifacts)})


def chosen(cached: CachedDataset, refresh: Refresh) -> list[ArtifactKey]:
    return [(step.name, *place) for step, place in chosen_artifacts(SMALL, cached, refresh)]


class TestChosenArtifacts:
    def test_of_a_step_are_all_that_the_cache_lists_up_to_date_or_not(self) -> None:
        cached = without(up_to_date(SMALL, SPLITS), "rows", ("a", "test"))

        assert chosen(cached, of("rows")) == [
            ("rows", "a", "train"),
            ("rows", "a", "test"),
            ("rows", "b", "train"),
        ]

    def test_of_a_dataset_that_is_not_cached_are_those_of_the_dataset_itself(self) -> None:
        assert chosen(CachedDataset(DATASET), of("names", "info", "rows")) == [("names", None, None)]

    def test_with_children_are_all_that_depends_on_them_down_and_up_again(self) -> None:
        assert chosen(up_to_date(SMALL, SPLITS), of("rows", with_children=True)) == [
            *(("rows", config, split) for config in SPLITS for split in SPLITS[config]),
            *(("count", config, split) for config in SPLITS for split in SPLITS[config]),
            *(("sum", config, None) for config in SPLITS),
            ("total", None, None),
        ]

    def test_of_error_codes_are_exactly_the_entries_with_these(self) -> None:
        cached = changed(up_to_date(SMALL, SPLITS), "rows", ("a", "test"), error_code="X", http_status=500)
        cached = changed(cached, "info", ("b", None), error_code="Y", http_status=500)

        assert chosen(cached, Refresh(error_codes=frozenset("X"))) == [("rows", "a", "test")]
        assert chosen(cached, Refresh(error_codes=frozenset("XY"))) == [
            ("info", "b", None),
            ("rows", "a", "test"),
        ]

    def test_the_children_of_one_entry_are_those_of_its_place(self) -> None:
        cached = changed(up_to_date(SMALL, SPLITS), "rows", ("a", "test"), error_code="X", http_status=500)

        assert chosen(cached, Refresh(error_codes=frozenset("X"), with_children=True)) == [
            ("rows", "a", "test"),
            ("count", "a", "test"),
            ("sum", "a", None),
            ("total", None, None),
        ]

    def test_steps_and_error_codes_are_the_steps(self) -> None:
        """The error codes then choose the datasets."""
        cached = changed(up_to_date(SMALL, SPLITS), "rows", ("a", "test"), error_code="X", http_status=500)

        assert chosen(cached, Refresh(frozenset({"info"}), frozenset("X"))) == [
            ("info", "a", None),
            ("info", "b", None),
        ]

    def test_that_are_named_are_exactly_these_up_to_date_or_not(self) -> None:
        cached = without(up_to_date(SMALL, SPLITS), "rows", ("a", "test"))
        wanted: list[ArtifactKey] = [("names", None, None), ("info", "b", None), ("rows", "a", "test")]

        assert chosen(cached, exactly(*wanted)) == wanted
        assert chosen(cached, Refresh(artifacts={"another": {("info", "b", None)}})) == []

    def test_that_are_named_with_error_codes_are_those_that_still_have_one(self) -> None:
        cached = changed(up_to_date(SMALL, SPLITS), "rows", ("a", "test"), error_code="X", http_status=500)
        cached = changed(cached, "rows", ("b", "train"), error_code="X", http_status=500)

        refresh = exactly(("rows", "a", "test"), ("rows", "a", "train"), error_codes="X")

        assert chosen(cached, refresh) == [("rows", "a", "test")]

    def test_that_are_named_may_come_with_their_children(self) -> None:
        refresh = replace(exactly(("rows", "a", "test")), with_children=True)

        assert chosen(up_to_date(SMALL, SPLITS), refresh) == [
            ("rows", "a", "test"),
            ("count", "a", "test"),
            ("sum", "a", None),
            ("total", None, None),
        ]

    def test_that_are_named_but_left_out_come_with_the_reason(self) -> None:
        cached = changed(up_to_date(SMALL, SPLITS), "rows", ("a", "test"), error_code="X", http_status=500)
        keys: list[ArtifactKey] = [
            ("rows", "a", "test"),
            ("rows", "a", "train"),
            ("rows", "gone", "train"),
            ("info", "a", "test"),
            ("lines", "a", None),
        ]
        refresh = exactly(*keys, error_codes="X")

        found = left_out(SMALL, cached, refresh, chosen_artifacts(SMALL, cached, refresh))

        assert {name[1:]: why for name, why in found.items()} == {
            ("rows", "a", "train"): "it has no such error now",
            ("rows", "gone", "train"): "the cache lists no such artifact",
            ("info", "a", "test"): "the cache lists no such artifact",
            ("lines", "a", None): "the release small has no such step",
        }

    def test_of_a_dataset_that_is_not_cached_are_left_out_below_it(self) -> None:
        cached = CachedDataset(DATASET)
        refresh = exactly(("names", None, None), ("info", "a", None))

        found = left_out(SMALL, cached, refresh, chosen_artifacts(SMALL, cached, refresh))

        assert found == {ArtifactName(DATASET, "info", "a"): "its dataset is not in the cache"}

    def test_an_unknown_step_is_an_error_that_lists_the_known_ones(self) -> None:
        check_steps(SMALL, ["rows", "total"])

        with pytest.raises(ConfigurationError) as e:
            check_steps(SMALL, ["rows", "lines"])

        assert str(e.value) == (
            "The release small has no step lines. It has names, info, rows, count, sum, total."
        )


class TestPlans:
    def plan(self, cached: CachedDataset, *jobs: Job, refresh: Refresh) -> Plan:
        return plan_refresh(SMALL, cached, jobs, REVISION, refresh=refresh)

    def test_create_a_job_for_an_artifact_that_is_up_to_date(self) -> None:
        made = self.plan(up_to_date(SMALL), refresh=of("rows"))

        assert made == Plan(DATASET, REVISION, (NewJob("rows", "config", "train", 70, Reason.REFRESH),), ())

    def test_give_jobs_the_difficulty_that_a_backfill_gives_them(self) -> None:
        cached = changed(up_to_date(SMALL), "rows", failed_runs=1)
        big = replace(changed(cached, "rows", failed_runs=0), sizes={"config": 3_000_000_001})

        assert self.plan(cached, refresh=of("rows")).new_jobs[0].difficulty == 70 + 20
        assert self.plan(big, refresh=of("rows")).new_jobs[0].difficulty == 70 + 20

    @pytest.mark.parametrize("priority", [Priority.NORMAL, Priority.HIGH])
    def test_keep_a_waiting_job_of_the_same_priority_or_a_higher_one(self, priority: Priority) -> None:
        job = pending_job("names", priority=priority)

        assert self.plan(up_to_date(SMALL), job, refresh=of("names")).is_empty

    def test_replace_waiting_jobs_of_a_lower_priority(self) -> None:
        jobs = [pending_job("names"), pending_job("names")]

        made = self.plan(up_to_date(SMALL), *jobs, refresh=of("names"))

        assert made.deleted_jobs == tuple(jobs)
        assert [job.type for job in made.new_jobs] == ["names"]

    def test_keep_a_started_job_and_what_waits_beside_it(self) -> None:
        jobs = [pending_job("names"), pending_job("names", status=JobStatus.STARTED)]

        assert self.plan(up_to_date(SMALL), *jobs, refresh=of("names")).is_empty

    def test_leave_jobs_of_other_artifacts_and_revisions_alone(self) -> None:
        jobs = [pending_job("total"), pending_job("names", revision=OTHER_REVISION), pending_job("forgotten")]

        made = self.plan(up_to_date(SMALL), *jobs, refresh=of("names"))

        assert (len(made.new_jobs), made.deleted_jobs) == (1, ())

    def test_finish_a_rebuild_that_was_cut_short(self) -> None:
        made = plan_refresh(SMALL, CachedDataset(DATASET), [], REVISION, rebuild=True, refresh=of("rows"))

        assert made == plan_dataset(SMALL, CachedDataset(DATASET), [], REVISION, rebuild=True)
        assert made.incoherent

    def test_of_a_recreation_begin_from_nothing(self) -> None:
        made = plan_recreation(SMALL, up_to_date(SMALL), [pending_job("rows")], REVISION, rebuild=False)

        assert made == plan_dataset(SMALL, CachedDataset(DATASET), [], REVISION, rebuild=True)
        assert [job.type for job in made.new_jobs] == ["names", "total"]


# What holds for the refresh of any dataset

all_steps = sorted({step.name for name in release_names() for step in load_release(name).steps})
refreshes = st.builds(
    Refresh,
    st.frozensets(st.sampled_from(all_steps), max_size=4),
    st.frozensets(st.sampled_from(["ConnectionError", "CreateCommitError", "Other"]), min_size=1),
    st.booleans(),
    st.sampled_from(list(Priority)),
)


def planned(state: State, refresh: Refresh) -> Plan:
    return plan_refresh(state.release, state.cached, state.jobs, REVISION, refresh=refresh)


def expected(state: State) -> list[ArtifactKey]:
    cached = state.cached
    splits = {config: cached.splits.get(config, ()) for config in cached.configs}
    return [
        (step.name, *place) for step in state.release.steps for place in places_of(step.input_type, splits)
    ]


def key(job: NewJob | Job) -> ArtifactKey:
    return job.type, job.config, job.split


@every_state
@given(states(), refreshes)
def test_no_job_is_created_twice_and_each_is_of_an_expected_artifact(state: State, refresh: Refresh) -> None:
    keys = [key(job) for job in planned(state, refresh).new_jobs]

    assert len(keys) == len(set(keys))
    assert set(keys) <= set(expected(state))


@every_state
@given(states(), refreshes)
def test_parents_come_before_their_children(state: State, refresh: Refresh) -> None:
    order = [step.name for step in state.release.steps]

    positions = [order.index(job.type) for job in planned(state, refresh).new_jobs]

    assert positions == sorted(positions)


@every_state
@given(states(), refreshes)
def test_after_a_refresh_each_chosen_artifact_has_one_job_or_what_was_better(
    state: State, refresh: Refresh
) -> None:
    plan = planned(state, refresh)
    created = [replace(as_pending(job), priority=refresh.priority) for job in plan.new_jobs]
    after = replace(state, jobs=[*(job for job in state.jobs if job not in plan.deleted_jobs), *created])

    pending = {key(job) for job in after.jobs if job.revision == REVISION}
    assert {
        (step.name, *place) for step, place in chosen_artifacts(state.release, state.cached, refresh)
    } <= pending
    assert planned(after, refresh).is_empty


@every_state
@given(states(), refreshes)
def test_only_waiting_jobs_of_a_lower_priority_give_way_to_new_ones(state: State, refresh: Refresh) -> None:
    plan = planned(state, refresh)

    lower = list(Priority)[list(Priority).index(refresh.priority) + 1 :]
    assert all(job.status is JobStatus.WAITING and job.priority in lower for job in plan.deleted_jobs)
    assert {key(job) for job in plan.deleted_jobs} <= {key(job) for job in plan.new_jobs}
    assert all(job.revision == REVISION for job in plan.deleted_jobs)


@every_state
@given(states(), refreshes)
def test_children_are_all_that_can_be_reached_in_the_graph(state: State, refresh: Refresh) -> None:
    """Reached one by one: from each artifact to those of the next steps that share its config and split."""
    alone = replace(refresh, with_children=False)
    steps = {step.name: step for step in state.release.steps}
    reached = {(step.name, *place) for step, place in chosen_artifacts(state.release, state.cached, alone)}
    for name, config, split in expected(state):  # in topological order
        parents = {parent.name for parent in steps[name].parents}
        if any(
            kind in parents and _agree(config, of_config) and _agree(split, of_split)
            for kind, of_config, of_split in reached
        ):
            reached.add((name, config, split))

    with_children = chosen_artifacts(state.release, state.cached, replace(refresh, with_children=True))

    assert {(step.name, *place) for step, place in with_children} == reached


@every_state
@given(states(), st.data())
def test_of_named_artifacts_exactly_the_expected_ones_have_a_job_or_what_was_better(
    state: State, data: st.DataObject
) -> None:
    unexpected = st.tuples(st.sampled_from([*all_steps, "gone"]), st.none() | names, st.none() | names)
    wanted = data.draw(st.frozensets(st.sampled_from(expected(state)) | unexpected, max_size=8))
    refresh = exactly(*wanted)

    plan = planned(state, refresh)

    there = wanted & set(expected(state))
    created = {key(job) for job in plan.new_jobs}
    assert created <= there
    assert there - created <= {key(job) for job in state.jobs if job.revision == REVISION}
    chosen = chosen_artifacts(state.release, state.cached, refresh)
    assert {name[1:] for name in left_out(state.release, state.cached, refresh, chosen)} == wanted - there


def _agree(one: str | None, other: str | None) -> bool:
    return None in (one, other) or one == other
