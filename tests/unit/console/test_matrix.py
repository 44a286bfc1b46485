"""The matrices of a dataset agree with its plan, and say why."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.console.matrix import MAX_ROWS, NOT_UP_TO_DATE, Artifact, Artifacts, State
from include.planning.dataset_state import CachedDataset, JobStatus, Priority
from include.planning.plan import ArtifactKey, Place
from include.planning.processing_graph import Level, Release, load_release
from tests.builders import DATASET, NOON, OTHER_REVISION, REVISION, changed, pending_job, up_to_date, without
from tests.states import State as DatasetState
from tests.states import every_state, states

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

SPLITS = {"a": ["train", "test"], "b": ["train"]}
WITHOUT_JOB = {State.UP_TO_DATE, State.ERROR}


@pytest.fixture
def release() -> Release:
    return load_release()


def artifacts(release: Release, cached: CachedDataset, *jobs: object) -> Artifacts:
    return Artifacts.of(release, cached, jobs, REVISION)  # type: ignore[arg-type]


def states_of(found: Artifacts) -> dict[ArtifactKey, State]:
    return {
        (step.name, *place): state
        for matrix in found.matrices.values()
        for step, column in zip(matrix.steps, matrix.states, strict=True)
        for place, state in zip(matrix.places, column, strict=True)
    }


def one(found: Artifacts, kind: str, place: Place = (None, None)) -> Artifact:
    artifact = found.artifact((kind, *place))
    assert artifact is not None
    return artifact


@every_state
@given(states())
def test_the_states_imply_exactly_the_new_jobs_of_the_plan(state: DatasetState) -> None:
    coherent = replace(state, release=replace(state.release, rebuilds_incoherent_caches=False))
    plan = coherent.plan()

    found = states_of(Artifacts.of(coherent.release, state.cached, state.jobs, REVISION))

    kept = {
        (job.type, job.config, job.split)
        for job in state.jobs
        if job.revision == REVISION and job not in plan.deleted_jobs
    }
    implied = {
        (*key, artifact_state.value)
        for key, artifact_state in found.items()
        if artifact_state not in WITHOUT_JOB and key not in kept
    }
    assert implied == {(job.type, job.config, job.split, job.reason.value) for job in plan.new_jobs}


@every_state
@given(states())
def test_each_entry_is_either_in_a_matrix_or_unexpected(state: DatasetState) -> None:
    found = Artifacts.of(state.release, state.cached, state.jobs, REVISION)

    in_a_matrix = sum(found.totals.values()) - found.totals[State.EMPTY]
    assert in_a_matrix + len(found.unexpected) == len(state.cached.entries)


@every_state
@given(states())
def test_the_troubles_are_all_that_is_not_up_to_date(state: DatasetState) -> None:
    found = Artifacts.of(state.release, state.cached, state.jobs, REVISION)

    assert sum(trouble.artifacts for trouble in found.troubles()) == (
        sum(found.totals.values()) - found.totals[State.UP_TO_DATE]
    )


@every_state
@given(states(), st.sets(st.sampled_from(list(State)), min_size=1), st.sampled_from(list(Level)))
def test_a_filter_leaves_exactly_the_rows_with_such_a_state(
    state: DatasetState, wanted: set[State], level: Level
) -> None:
    matrix = Artifacts.of(state.release, state.cached, state.jobs, REVISION).matrices[level]

    everything, filtered = matrix.window(), matrix.window(states=wanted)

    assert list(filtered.rows) == [row for row in everything.rows if wanted & set(row.states)]


def test_each_level_has_its_steps_as_columns_and_its_places_as_rows(release: Release) -> None:
    found = artifacts(release, up_to_date(release, SPLITS))

    splits = found.matrices[Level.SPLIT]
    assert [step.name for step in splits.steps] == [
        step.name for step in release.steps if step.input_type is Level.SPLIT
    ]
    assert [(row.config, row.split) for row in splits.window().rows] == [
        ("a", "train"),
        ("a", "test"),
        ("b", "train"),
    ]
    assert [row.config for row in found.matrices[Level.CONFIG].window().rows] == ["a", "b"]
    assert len(found.matrices[Level.DATASET].window().rows) == 1
    assert set(found.totals) == {State.UP_TO_DATE}


def test_a_dataset_without_entries_has_empty_artifacts_of_the_dataset_alone(release: Release) -> None:
    found = artifacts(release, CachedDataset(DATASET))

    assert set(found.totals) == {State.EMPTY}
    assert not found.matrices[Level.CONFIG].window().rows
    assert one(found, "dataset-config-names").why == ["The cache has no entry of it."]


def test_an_outdated_artifact_names_the_parent_that_is_newer(release: Release) -> None:
    newer = NOON + timedelta(days=1)
    cached = changed(up_to_date(release, SPLITS), "config-split-names", ("b", None), updated_at=newer)

    artifact = one(artifacts(release, cached), "split-first-rows", ("b", "train"))

    assert artifact.state is State.OUTDATED_BY_PARENT
    assert artifact.newer_parent is not None
    assert artifact.newer_parent.updated_at == newer
    assert artifact.why == [
        "Its parent config-split-names of b was updated at 2026-02-01 12:00:00 UTC, after it."
    ]


@pytest.mark.parametrize(
    ("code", "failed_runs", "state", "why"),
    [
        ("CreateCommitError", 1, State.ERROR_TO_RETRY, "It has 1 failed run of at most 3: 2 are left."),
        ("CreateCommitError", 3, State.ERROR, "It has 3 failed runs of at most 3: 0 are left."),
        ("EmptyDatasetError", 0, State.ERROR, "This error is not retried."),
    ],
)
def test_an_error_says_how_many_failed_runs_are_left(
    release: Release, code: str, failed_runs: int, state: State, why: str
) -> None:
    cached = changed(
        up_to_date(release), "dataset-info", http_status=500, error_code=code, failed_runs=failed_runs
    )

    artifact = one(artifacts(release, cached), "dataset-info")

    assert artifact.state is state
    assert artifact.why == [f"It failed with {code} (HTTP 500). {why}"]


def test_an_obsolete_artifact_says_which_version_it_has_and_which_the_step_has(release: Release) -> None:
    cached = changed(up_to_date(release), "dataset-info", job_runner_version=0)

    artifact = one(artifacts(release, cached), "dataset-info")

    version = release.step("dataset-info").job_runner_version
    assert artifact.state is State.OBSOLETE
    assert artifact.why == [f"It was computed by version 0 of its job runner. The step has {version}."]


def test_an_artifact_of_another_revision_says_which(release: Release) -> None:
    cached = changed(up_to_date(release), "dataset-info", revision=OTHER_REVISION)

    artifact = one(artifacts(release, cached), "dataset-info")

    assert artifact.state is State.OTHER_REVISION
    assert artifact.why == [f"It was computed for revision {OTHER_REVISION}, not for {REVISION}."]


def test_an_entry_of_a_config_that_is_not_listed_is_unexpected(release: Release) -> None:
    cached = up_to_date(release, SPLITS)
    stray = next(entry for entry in cached.entries if entry.config == "a")._replace(config="gone")

    found = artifacts(release, replace(cached, entries=[*cached.entries, stray]))

    assert found.unexpected == [stray]


def test_an_artifact_has_its_pending_jobs_the_best_one_first(release: Release) -> None:
    waiting = pending_job("config-info", ("a", None), priority=Priority.HIGH)
    started = pending_job("config-info", ("a", None), status=JobStatus.STARTED, revision=OTHER_REVISION)

    found = artifacts(release, up_to_date(release, SPLITS), waiting, started)

    assert list(one(found, "config-info", ("a", None)).jobs) == [started, waiting]
    first, second = found.matrices[Level.CONFIG].window().rows
    assert sum(first.has_job) == 1
    assert not any(second.has_job)


def test_artifacts_with_the_same_trouble_are_counted_together(release: Release) -> None:
    cached = changed(
        without(up_to_date(release, SPLITS), "dataset-hub-cache"),
        "split-image-url-columns",
        http_status=500,
        error_code="Odd",
    )

    troubles = artifacts(release, cached).troubles()

    assert [(each.state, each.what, each.artifacts, each.example) for each in troubles] == [
        (State.ERROR, "Odd", 3, ("split-image-url-columns", "a", "train")),
        (State.EMPTY, "dataset-hub-cache", 1, ("dataset-hub-cache", None, None)),
    ]


def test_rows_are_found_by_a_part_of_their_name_in_any_case(release: Release) -> None:
    matrix = artifacts(release, up_to_date(release, {"English": ["train"], "fr": ["Training"]})).matrices

    assert [row.config for row in matrix[Level.SPLIT].window(text="TRAINI").rows] == ["fr"]
    assert [row.config for row in matrix[Level.CONFIG].window(text="engl").rows] == ["English"]


def test_a_window_has_some_rows_and_says_out_of_how_many(release: Release) -> None:
    splits = {f"config {number}": ["train"] for number in range(MAX_ROWS + 5)}
    cached = changed(up_to_date(release, splits), "config-size", ("config 7", None), revision=OTHER_REVISION)
    matrix = artifacts(release, cached).matrices[Level.CONFIG]

    window = matrix.window(10, 2)
    assert (window.first, window.total) == (10, MAX_ROWS + 5)
    assert [row.config for row in window.rows] == ["config 10", "config 11"]
    assert len(matrix.window(0, 10 * MAX_ROWS).rows) == MAX_ROWS
    assert [row.config for row in matrix.window(states=NOT_UP_TO_DATE).rows] == ["config 7"]


def test_what_is_not_expected_is_no_artifact(release: Release) -> None:
    found = artifacts(release, up_to_date(release, SPLITS))

    assert found.artifact(("config-info", "gone", None)) is None
    assert found.artifact(("gone", None, None)) is None
