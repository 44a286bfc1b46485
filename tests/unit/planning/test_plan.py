"""The rules of a plan, with an example for each: the state of a dataset, and the plan for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from include.planning.dataset_state import CachedDataset, Job, JobStatus, Priority
from include.planning.plan import Artifacts, NewJob, Place, Plan, Reason, plan_dataset
from include.planning.processing_graph import Level, Release, parse_release
from tests.builders import (
    DATASET,
    NOON,
    OTHER_REVISION,
    REVISION,
    changed,
    pending_job,
    places_of,
    up_to_date,
    without,
)

LATE = NOON + timedelta(hours=1)
EARLY = NOON - timedelta(hours=1)
DATASET_PLACE: Place = (None, None)
CONFIG_PLACE: Place = ("config", None)
SPLIT_PLACE: Place = ("config", "train")


def step(level: str, *parents: str, difficulty: int = 20, **more: int) -> dict[str, Any]:
    fields = {
        "input_type": level,
        "triggered_by": list(parents),
        "job_runner_version": 2,
        "difficulty": difficulty,
    }
    return fields | more


STEPS = {
    "names": step("dataset", difficulty=50),
    "info": step("config", "names"),
    "rows": step("split", "info", difficulty=70, bonus_difficulty_if_dataset_is_big=20),
    "count": step("split", "rows"),
    "sum": step("config", "count"),
    "total": step("dataset", "sum"),
}


def small_release(*, rebuilds_incoherent_caches: bool) -> Release:
    """A small graph: down from the dataset to its splits, and up again."""
    return parse_release(
        {
            "release": "small",
            "cache_database": "cache",
            "queue_database": "queue",
            "schedules": {},
            "rebuilds_incoherent_caches": rebuilds_incoherent_caches,
            "queue_knows_blocked_datasets": False,
            "reads_enterprise_from_plan": False,
            "null_viewer_is_off": False,
            "null_version_is_obsolete": True,
            "steps": STEPS,
            "max_failed_runs_by_error_code": {"ConnectionError": 3},
            "unsupported_tags": [],
            "topological_order": list(STEPS),
        }
    )


SMALL = small_release(rebuilds_incoherent_caches=False)
REBUILDING = small_release(rebuilds_incoherent_caches=True)


def plan(cached: CachedDataset, *jobs: Job, release: Release = SMALL) -> Plan:
    return plan_dataset(release, cached, jobs, REVISION)


def reasons(made: Plan) -> dict[tuple[str, str | None, str | None], Reason]:
    return {(job.type, job.config, job.split): job.reason for job in made.new_jobs}


class TestReasons:
    def test_an_up_to_date_dataset_needs_nothing(self, release: Release) -> None:
        made = plan(up_to_date(release, {"a": ["train", "test"], "b": ["train"], "c": []}), release=release)

        assert made == Plan(DATASET, REVISION, (), ())
        assert made.is_empty

    def test_a_dataset_without_entries_needs_only_its_dataset_level_artifacts(self, release: Release) -> None:
        made = plan(CachedDataset(DATASET), release=release)

        assert made.new_jobs == tuple(
            NewJob(step.name, None, None, step.difficulty, Reason.EMPTY)
            for step in release.steps
            if step.input_type is Level.DATASET
        )

    def test_every_expected_artifact_without_an_entry_needs_a_job(self, release: Release) -> None:
        splits = {"a": ["train", "test"], "b": ["train"]}
        cached = replace(up_to_date(release, splits), entries=())

        made = plan(cached, release=release)

        assert reasons(made) == {
            (step.name, *place): Reason.EMPTY
            for step in release.steps
            for place in places_of(step.input_type, splits)
        }

    def test_the_lists_of_a_failed_or_outdated_entry_are_used(self) -> None:
        cached = changed(up_to_date(SMALL), "names", http_status=500, revision=OTHER_REVISION)

        made = plan(without(cached, "rows"))

        assert reasons(made)["rows", "config", "train"] is Reason.EMPTY

    def test_a_name_that_is_listed_twice_counts_once(self) -> None:
        cached = replace(
            CachedDataset(DATASET), configs=["c", "c"], splits={"c": ["s", "s"], "unlisted": ["s"]}
        )

        made = plan(cached)

        assert len(made.new_jobs) == len(STEPS)
        assert made.artifacts == Artifacts(0, len(STEPS))

    def test_the_expected_artifacts_are_counted(self) -> None:
        cached = without(up_to_date(SMALL, {"a": ["train", "test"], "b": ["train"]}), "rows", ("a", "test"))
        pending = pending_job("rows", ("a", "test"))
        former = pending_job("a-former-step")

        made = plan(cached, pending, former)

        # Of six steps, two are of the dataset, two of each config, and two of each split.
        assert made.artifacts == Artifacts(up_to_date=2 + 2 * 2 + 2 * 3 - 1, need_jobs=1)
        assert made.new_jobs == ()

    def test_an_entry_that_is_not_expected_is_no_artifact(self) -> None:
        cached = up_to_date(SMALL)
        more = replace(cached, entries=[*cached.entries, cached.entries[0]._replace(kind="a-former-step")])

        assert plan(more).artifacts == plan(cached).artifacts == Artifacts(len(STEPS), 0)

    def test_entries_of_unknown_kinds_are_ignored(self) -> None:
        cached = up_to_date(SMALL)
        unknown = cached.entries[0]._replace(kind="dataset-forgotten", http_status=500, updated_at=LATE)

        made = plan(replace(cached, entries=[*cached.entries, unknown]))

        assert made.is_empty

    @pytest.mark.parametrize(
        ("parent", "place", "child"),
        [
            ("names", DATASET_PLACE, ("info", "config", None)),
            ("info", CONFIG_PLACE, ("rows", "config", "train")),
            ("rows", SPLIT_PLACE, ("count", "config", "train")),
            ("count", SPLIT_PLACE, ("sum", "config", None)),
            ("sum", CONFIG_PLACE, ("total", None, None)),
        ],
        ids=["wider", "wider: config", "same level", "narrower", "narrower: config"],
    )
    def test_an_entry_older_than_a_parent_is_outdated(
        self, parent: str, place: Place, child: tuple[str, str | None, str | None]
    ) -> None:
        made = plan(changed(up_to_date(SMALL), parent, place, updated_at=LATE))

        assert reasons(made) == {child: Reason.OUTDATED_BY_PARENT}

    def test_a_parent_of_the_same_time_outdates_nothing(self) -> None:
        cached = up_to_date(SMALL)
        child = next(entry for entry in cached.entries if entry.kind == "info")

        made = plan(changed(cached, "names", updated_at=child.updated_at))

        assert made.is_empty

    def test_the_newest_of_several_narrower_parents_counts(self) -> None:
        cached = up_to_date(SMALL, {"a": ["s"], "b": ["s"], "c": ["s"]})

        made = plan(changed(cached, "sum", ("b", None), updated_at=LATE))

        assert reasons(made) == {("total", None, None): Reason.OUTDATED_BY_PARENT}

    def test_a_parent_of_another_config_or_split_outdates_nothing(self) -> None:
        cached = up_to_date(SMALL, {"a": ["s", "t"], "b": ["s"]})

        made = plan(changed(cached, "rows", ("a", "t"), updated_at=LATE))

        assert reasons(made) == {("count", "a", "t"): Reason.OUTDATED_BY_PARENT}

    def test_a_parent_without_an_entry_outdates_nothing(self) -> None:
        made = plan(without(up_to_date(SMALL), "info"))

        assert reasons(made) == {("info", "config", None): Reason.EMPTY}

    def test_a_parent_of_a_config_that_is_not_listed_outdates_nothing(self) -> None:
        cached = up_to_date(SMALL)
        unlisted = next(entry for entry in cached.entries if entry.kind == "sum")._replace(
            config="unlisted", updated_at=LATE
        )

        made = plan(replace(cached, entries=[*cached.entries, unlisted]))

        assert made.is_empty

    @pytest.mark.parametrize(
        ("http_status", "error_code", "failed_runs", "reason"),
        [
            (500, "ConnectionError", 0, Reason.ERROR_TO_RETRY),
            (400, "ConnectionError", 2, Reason.ERROR_TO_RETRY),
            (500, "ConnectionError", 3, None),
            (500, "ConfigNamesError", 0, None),
            (500, None, 0, None),
            (399, "ConnectionError", 0, None),
        ],
    )
    def test_an_error_is_retried_until_its_failed_runs_reach_the_maximum(
        self, http_status: int, error_code: str | None, failed_runs: int, reason: Reason | None
    ) -> None:
        cached = changed(
            up_to_date(SMALL), "rows", http_status=http_status, error_code=error_code, failed_runs=failed_runs
        )

        made = plan(cached)

        assert reasons(made).get(("rows", "config", "train")) is reason
        assert made.is_empty == (reason is None)

    @pytest.mark.parametrize(
        ("version", "reason"), [(None, Reason.OBSOLETE), (1, Reason.OBSOLETE), (2, None), (3, None)]
    )
    def test_an_entry_of_an_older_job_runner_is_obsolete(
        self, version: int | None, reason: Reason | None
    ) -> None:
        cached = up_to_date(SMALL)
        if version != 2:
            cached = changed(cached, "info", job_runner_version=version)

        assert reasons(plan(cached)).get(("info", "config", None)) is reason

    @pytest.mark.parametrize(
        ("revision", "reason"), [(REVISION, None), (OTHER_REVISION, Reason.OTHER_REVISION)]
    )
    def test_without_the_rule_an_entry_without_a_version_is_not_obsolete(
        self, revision: str, reason: Reason | None
    ) -> None:
        lenient = replace(SMALL, null_version_is_obsolete=False)
        cached = changed(up_to_date(SMALL), "info", job_runner_version=None, revision=revision)

        assert reasons(plan(cached, release=lenient)).get(("info", "config", None)) is reason

    def test_an_entry_of_another_revision_needs_a_job(self) -> None:
        made = plan(changed(up_to_date(SMALL), "info", revision=OTHER_REVISION))

        assert reasons(made) == {("info", "config", None): Reason.OTHER_REVISION}

    def test_the_first_reason_that_holds_counts(self) -> None:
        cached = changed(up_to_date(SMALL), "info", revision=OTHER_REVISION)
        assert reasons(plan(cached))["info", "config", None] is Reason.OTHER_REVISION

        cached = changed(cached, "info", job_runner_version=1)
        assert reasons(plan(cached))["info", "config", None] is Reason.OBSOLETE

        cached = changed(cached, "info", http_status=500, error_code="ConnectionError")
        assert reasons(plan(cached))["info", "config", None] is Reason.ERROR_TO_RETRY

        cached = changed(cached, "names", updated_at=LATE)
        assert reasons(plan(cached))["info", "config", None] is Reason.OUTDATED_BY_PARENT

    def test_an_error_that_is_not_retried_may_still_be_obsolete(self) -> None:
        cached = changed(
            up_to_date(SMALL),
            "info",
            http_status=500,
            error_code="ConnectionError",
            failed_runs=3,
            job_runner_version=1,
        )

        assert reasons(plan(cached)) == {("info", "config", None): Reason.OBSOLETE}


class TestDifficulty:
    def difficulty(self, cached: CachedDataset, job_type: str) -> int:
        [found] = [job.difficulty for job in plan(cached).new_jobs if job.type == job_type]
        return found

    def test_equals_the_difficulty_of_the_step(self) -> None:
        assert self.difficulty(without(up_to_date(SMALL), "rows"), "rows") == 70

    @pytest.mark.parametrize(
        ("size", "difficulty"), [(3_000_000_000, 70), (3_000_000_001, 90), (2**62, 90), (0, 70)]
    )
    def test_has_a_bonus_if_the_config_is_big(self, size: int, difficulty: int) -> None:
        cached = replace(without(up_to_date(SMALL), "rows"), sizes={"config": size})

        assert self.difficulty(cached, "rows") == difficulty

    def test_has_no_bonus_for_a_step_without_one_or_for_a_small_config(self) -> None:
        cached = up_to_date(SMALL, {"a": ["s"], "big": ["s"]})
        cached = replace(without(without(cached, "count"), "rows", ("a", "s")), sizes={"big": 2**62})

        made = plan(cached)

        assert {(job.type, job.config): job.difficulty for job in made.new_jobs} == {
            ("rows", "a"): 70,
            ("count", "a"): 20,
            ("count", "big"): 20,
        }

    @pytest.mark.parametrize(("failed_runs", "difficulty"), [(0, 50), (1, 70), (2, 90), (3, 100), (30, 100)])
    def test_grows_with_each_failed_run_up_to_100(self, failed_runs: int, difficulty: int) -> None:
        cached = changed(up_to_date(SMALL), "names", failed_runs=failed_runs, job_runner_version=None)

        assert self.difficulty(cached, "names") == difficulty

    def test_adds_up_bonus_and_failed_runs(self) -> None:
        cached = changed(up_to_date(SMALL), "rows", revision=OTHER_REVISION, failed_runs=1)

        assert self.difficulty(replace(cached, sizes={"config": 2**62}), "rows") == 100


class TestPendingJobs:
    """``rows`` needs a job in each example; which of the pending ones is kept?"""

    cached = without(up_to_date(SMALL), "rows")

    def kept(self, *jobs: Job) -> list[Job]:
        made = plan(self.cached, *jobs)
        return [job for job in jobs if job not in made.deleted_jobs]

    @pytest.mark.parametrize("status", JobStatus)
    def test_a_pending_job_is_kept_in_place_of_a_new_one(self, status: JobStatus) -> None:
        made = plan(self.cached, pending_job("rows", SPLIT_PLACE, status=status))

        assert made.is_empty

    def test_a_waiting_job_of_another_revision_is_deleted(self) -> None:
        job = pending_job("rows", SPLIT_PLACE, revision=OTHER_REVISION)

        made = plan(self.cached, job)

        assert reasons(made) == {("rows", "config", "train"): Reason.EMPTY}
        assert made.deleted_jobs == (job,)

    @pytest.mark.parametrize("place", [("config", "test"), ("other", "train"), CONFIG_PLACE, DATASET_PLACE])
    def test_a_waiting_job_of_another_place_is_deleted(self, place: Place) -> None:
        job = pending_job("rows", place)

        made = plan(self.cached, job)

        assert reasons(made) == {("rows", "config", "train"): Reason.EMPTY}
        assert made.deleted_jobs == (job,)

    def test_a_started_job_is_preferred_to_one_of_higher_priority(self) -> None:
        high = pending_job("rows", SPLIT_PLACE, priority=Priority.HIGH)
        started = pending_job("rows", SPLIT_PLACE, status=JobStatus.STARTED)

        assert self.kept(high, started) == [started]

    def test_a_job_of_higher_priority_is_preferred_to_an_older_one(self) -> None:
        low, normal, high = (
            pending_job("rows", SPLIT_PLACE, priority=priority)
            for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH)
        )

        assert self.kept(low, normal, high) == [high]
        assert self.kept(low, normal) == [normal]

    def test_of_two_equal_jobs_the_older_one_is_kept(self) -> None:
        young = pending_job("rows", SPLIT_PLACE, created_at=LATE)
        old = pending_job("rows", SPLIT_PLACE, created_at=EARLY)

        assert self.kept(young, old) == [old]
        assert self.kept(old, young) == [old]

    def test_a_started_job_is_never_deleted(self) -> None:
        started = [
            pending_job(kind, place, status=JobStatus.STARTED, revision=revision)
            for kind, place in (("rows", SPLIT_PLACE), ("names", DATASET_PLACE), ("forgotten", DATASET_PLACE))
            for revision in (REVISION, REVISION, OTHER_REVISION)
        ]

        made = plan(self.cached, *started)

        assert made.is_empty

    def test_a_started_job_of_another_revision_does_not_replace_a_new_one(self) -> None:
        started = pending_job("rows", SPLIT_PLACE, status=JobStatus.STARTED, revision=OTHER_REVISION)

        made = plan(self.cached, started)

        assert reasons(made) == {("rows", "config", "train"): Reason.EMPTY}
        assert made.deleted_jobs == ()

    @pytest.mark.parametrize(
        "job",
        [
            pending_job("names"),
            pending_job("forgotten"),
            pending_job("info", ("unlisted", None)),
            pending_job("names", CONFIG_PLACE),
        ],
        ids=["up to date", "unknown step", "unlisted config", "config of a dataset's artifact"],
    )
    def test_a_waiting_job_that_nothing_needs_is_deleted(self, job: Job) -> None:
        made = plan(up_to_date(SMALL), job)

        assert made == Plan(DATASET, REVISION, (), (job,))


class TestOrder:
    def test_new_jobs_come_by_reason_and_then_in_topological_order(self) -> None:
        cached = up_to_date(SMALL, {"b": ["s"], "a": ["s"]})
        cached = changed(cached, "names", revision=OTHER_REVISION, updated_at=EARLY)
        cached = changed(cached, "info", ("a", None), job_runner_version=1)
        cached = changed(cached, "info", ("b", None), updated_at=LATE)
        cached = changed(cached, "count", ("a", "s"), http_status=500, error_code="ConnectionError")
        cached = without(without(cached, "total"), "sum")

        made = plan(cached)

        assert [(job.reason, job.type, job.config) for job in made.new_jobs] == [
            (Reason.EMPTY, "sum", "b"),
            (Reason.EMPTY, "sum", "a"),
            (Reason.EMPTY, "total", None),
            (Reason.ERROR_TO_RETRY, "count", "a"),
            (Reason.OUTDATED_BY_PARENT, "rows", "b"),
            (Reason.OBSOLETE, "info", "a"),
            (Reason.OTHER_REVISION, "names", None),
        ]


class TestIncoherence:
    def with_entry(self, place: Place, splits: dict[str, Sequence[str]]) -> CachedDataset:
        """An up-to-date dataset with one more entry, of a kind that the release does not know."""
        cached = up_to_date(REBUILDING, splits)
        more = cached.entries[0]._replace(kind="unknown", config=place[0], split=place[1])
        return replace(cached, entries=[*cached.entries, more])

    @pytest.mark.parametrize(
        ("place", "splits"),
        [
            (("gone", None), {"config": ["train"]}),
            (("gone", "train"), {"config": ["train"]}),
            (("config", "gone"), {"config": ["train"]}),
            (("config", "test"), {"config": ["train"], "other": ["test"]}),
            (("config", None), {}),
        ],
    )
    def test_an_incoherent_dataset_is_removed_and_planned_from_nothing(
        self, place: Place, splits: dict[str, Sequence[str]]
    ) -> None:
        waiting = pending_job("names")
        started = pending_job("total", status=JobStatus.STARTED)

        made = plan(self.with_entry(place, splits), waiting, started, release=REBUILDING)

        assert made == Plan(
            DATASET,
            REVISION,
            new_jobs=(NewJob("names", None, None, 50, Reason.EMPTY),),
            deleted_jobs=(),
            incoherent=True,
        )
        assert not made.is_empty

    @pytest.mark.parametrize(
        ("place", "splits"),
        [
            (("config", "any"), {"config": []}),
            (("config", "train"), {"config": ["train"]}),
            (("config", None), {"config": []}),
            ((None, None), {}),
        ],
    )
    def test_a_coherent_dataset_is_left_alone(self, place: Place, splits: dict[str, Sequence[str]]) -> None:
        made = plan(self.with_entry(place, splits), release=REBUILDING)

        assert made.is_empty

    def test_a_config_without_a_list_of_splits_may_have_entries_of_any_split(self) -> None:
        cached = replace(self.with_entry(("config", "any"), {"config": []}), splits={})

        assert not plan(cached, release=REBUILDING).incoherent

    def test_without_the_rule_an_incoherent_dataset_is_left_alone(self) -> None:
        made = plan(self.with_entry(("gone", None), {"config": ["train"]}), release=SMALL)

        assert made.is_empty

    def test_a_started_job_that_survives_the_removal_is_kept_in_place_of_a_new_one(self) -> None:
        started = pending_job("names", status=JobStatus.STARTED)

        made = plan(self.with_entry(("gone", None), {}), started, release=REBUILDING)

        assert [job.type for job in made.new_jobs] == ["total"]
        assert made.incoherent
