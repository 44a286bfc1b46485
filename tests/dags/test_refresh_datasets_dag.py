"""The DAG ``refresh-datasets``, in a real Airflow."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database

from dev.local_stack.documents import CACHE, JOBS
from dev.local_stack.sample_state import Outcome, datasets_by_outcome
from include.planning.artifact_name import ArtifactName
from tests.conftest import Databases
from tests.dags.conftest import RELEASE, DyingRun, FinishedRun, RunDag

NEXT_TASKS = ("approve_recreations", "recreate_approved")


def report(run: FinishedRun) -> dict[str, Any]:
    """What the first task reported, which does all unless a person has to approve."""
    assert [run.tasks[task] for task in NEXT_TASKS] == ["skipped", "skipped"]
    found: dict[str, Any] = run.returned["refresh_datasets"]
    return found


def datasets(run: FinishedRun) -> dict[str, int]:
    """How many datasets had each outcome."""
    found: dict[str, int] = report(run)["datasets"]
    return found


def jobs_of(databases: Databases, name: str) -> list[tuple[str, str]]:
    return [(job["type"], job["priority"]) for job in databases.queue[JOBS].find({"dataset": name})]


def test_refreshes_steps_of_datasets_that_are_up_to_date(
    sample: None, run_dag: RunDag, databases: Databases
) -> None:
    untouched = datasets_by_outcome(RELEASE)[Outcome.UNTOUCHED]
    name = min(untouched - set(databases.queue[JOBS].distinct("dataset")))
    what = {"datasets": [name], "steps": ["dataset-info"], "with_children": True, "priority": "high"}
    preview = run_dag("refresh-datasets", **what, dry_run=True)
    assert jobs_of(databases, name) == []

    run = run_dag("refresh-datasets", **what)

    assert (preview.state, run.state) == ("success", "success")
    assert {**report(run), "dry_run": True} == report(preview)
    assert datasets(run)["refreshed"] == 1
    created = jobs_of(databases, name)
    assert ("dataset-info", "high") in created
    assert len(created) == report(run)["jobs"]["created"]

    again = run_dag("refresh-datasets", **what)

    assert (datasets(again)["pending"], report(again)["jobs"]["created"]) == (1, 0)
    assert jobs_of(databases, name) == created


def test_refreshes_the_entries_with_an_error_code(
    sample: None, run_dag: RunDag, databases: Databases
) -> None:
    error = databases.cache[CACHE].find_one({"error_code": {"$ne": None}})
    assert error is not None
    code = error["error_code"]
    before = databases.queue[JOBS].distinct("_id")

    run = run_dag("refresh-datasets", error_codes=[code], priority="high")

    with_error = list(databases.cache[CACHE].find({"error_code": code}))
    assert run.state == "success"
    assert datasets(run)["refreshed"] + datasets(run)["failed"] + datasets(run)["unsupported"] == len(
        {entry["dataset"] for entry in with_error}
    )
    created = {(job["type"], job["dataset"]) for job in databases.queue[JOBS].find({"_id": {"$nin": before}})}
    assert created
    assert created <= {(entry["kind"], entry["dataset"]) for entry in with_error}


def test_refreshes_exactly_the_artifacts_that_are_named(
    sample: None, run_dag: RunDag, databases: Databases
) -> None:
    untouched = datasets_by_outcome(RELEASE)[Outcome.UNTOUCHED]
    dataset = min(untouched - set(databases.queue[JOBS].distinct("dataset")))
    [entry, *_] = databases.cache[CACHE].find({"dataset": dataset, "kind": "split-first-rows"})
    name = ArtifactName(dataset, entry["kind"], entry["config"], entry["split"])
    gone = ArtifactName(dataset, entry["kind"], "gone, or: never there", entry["split"])
    artifacts = [str(name), str(gone), str(name)]

    healed = run_dag("refresh-datasets", artifacts=artifacts, error_codes=["UnexpectedError"])
    run = run_dag("refresh-datasets", artifacts=artifacts, priority="high")

    assert (healed.state, run.state) == ("success", "success")
    assert (datasets(healed)["without_artifacts"], report(healed)["artifacts_left_out"]) == (1, 2)
    assert report(run)["left_out_sample"] == [f"{gone}: the cache lists no such artifact"]
    [job] = databases.queue[JOBS].find({"dataset": dataset})
    assert (job["type"], job["config"], job["split"]) == name[1:]


def test_leaves_an_unsupported_dataset_to_the_backfill(
    sample: None, run_dag: RunDag, databases: Databases
) -> None:
    gone = sorted(datasets_by_outcome(RELEASE)[Outcome.REMOVED])

    run = run_dag("refresh-datasets", datasets=gone, recreate=True)

    assert run.state == "success"
    assert datasets(run)["unsupported"] == len(gone)
    assert set(gone) <= set(databases.cache[CACHE].distinct("dataset"))


def test_recreates_a_few_datasets_without_asking_anybody(
    sample: None, run_dag: RunDag, databases: Databases
) -> None:
    entries = list(databases.cache[CACHE].find({"dataset": "glue"}))

    run = run_dag("refresh-datasets", datasets=["glue"], recreate=True)

    assert run.state == "success"
    assert (datasets(run)["recreated"], report(run)["jobs"]["created"]) == (
        1,
        len(jobs_of(databases, "glue")),
    )
    assert list(databases.cache[CACHE].find({"dataset": "glue"})) == []
    assert run_dag("restore-datasets", datasets=["glue"]).report["restored_entries"] == len(entries)


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (
            {"datasets": ["glue"], "steps": ["dataset-sizes"]},
            "has no step dataset-sizes. It has dataset-config",
        ),
        ({"steps": ["dataset-size"]}, "Name the datasets, the artifacts, or the error codes"),
        (
            {"artifacts": ['["glue", "dataset-size"]'], "steps": ["dataset-size"]},
            "leave datasets and steps empty",
        ),
        (
            {"artifacts": ['["glue", "dataset-size"]', "glue, dataset-size"]},
            "'glue, dataset-size' names no artifact",
        ),
        ({"datasets": ["*"], "steps": ["split-first-rows"], "max_jobs": 3}, "more jobs than max_jobs (3)"),
    ],
)
def test_fails_and_writes_nothing_if_it_is_unclear_or_too_much(
    sample: None,
    run_dag: RunDag,
    databases: Databases,
    capsys: pytest.CaptureFixture[str],
    what: dict[str, Any],
    error: str,
) -> None:
    before = databases.queue[JOBS].count_documents({})

    run = run_dag("refresh-datasets", **what)

    assert run.state == "failed"
    assert error in capsys.readouterr().out
    assert databases.queue[JOBS].count_documents({}) == before


def test_fails_if_more_datasets_fail_than_its_limit(sample: None, run_dag: RunDag) -> None:
    failing = sorted(datasets_by_outcome(RELEASE)[Outcome.FAILED])

    run = run_dag("refresh-datasets", datasets=failing, steps=["dataset-config-names"], error_limit=0)

    assert run.state == "failed"
    assert run.returned["refresh_datasets"]["datasets"]["failed"] > 0


def test_waits_until_the_other_run_has_died(
    sample: None, run_dag: RunDag, maintenance: Database[dict[str, Any]], dying_run: DyingRun
) -> None:
    run = run_dag("refresh-datasets", datasets=["glue"], steps=["dataset-size"])

    assert dying_run.awaited
    assert datasets(run)["refreshed"] == 1
    assert maintenance["leases"].count_documents({}) == 0
