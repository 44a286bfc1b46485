"""The DAG ``backfill-retryable-errors``, run whole, and how it and ``backfill`` wait for each other."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pymongo.database import Database

from datasets_server.runs import WRITING
from dev.local_stack.hub_server import HubServer
from include.databases.lease import Lease
from tests.conftest import Databases
from tests.dags.conftest import RELEASE, DyingRun, MakeRunsAs, RunDag

CODES = RELEASE.max_failed_runs


def datasets_with(databases: Databases, **query: object) -> set[str]:
    return set(databases.cache.cachedResponsesBlue.distinct("dataset", query))


def test_a_run_selects_the_datasets_with_an_error_to_retry(
    sample: None,
    run_dag: RunDag,
    databases: Databases,
    hub_server: HubServer,
) -> None:
    expected = datasets_with(databases, error_code={"$in": list(CODES)})
    jobs_before = set(databases.queue.jobsBlue.distinct("_id"))

    finished = run_dag("backfill-retryable-errors")

    assert finished.state == "success"
    datasets = finished.report["datasets"]
    seen = sum(datasets[outcome] for outcome in ("untouched", "backfilled", "unsupported", "failed"))
    assert seen == len(expected) > 0
    assert finished.report["jobs_by_reason"]["error to retry"] > 0
    created = databases.queue.jobsBlue.find({"_id": {"$nin": list(jobs_before)}})
    assert {job["dataset"] for job in created} <= expected
    assert hub_server.state.requests_by_route["listing"] == 0


def test_error_codes_select_datasets_and_the_maximum_of_failed_runs_can_be_ignored(
    sample: None,
    run_dag: RunDag,
    databases: Databases,
) -> None:
    [code, *_] = databases.cache.cachedResponsesBlue.distinct(
        "error_code", {"error_code": {"$in": list(CODES)}}
    )
    expected = datasets_with(databases, error_code=code)

    some = run_dag("backfill-retryable-errors", error_codes=[code], dry_run=True).report
    more = run_dag("backfill-retryable-errors", ignore_failed_runs=True, dry_run=True).report
    usual = run_dag("backfill-retryable-errors", dry_run=True).report

    datasets = some["datasets"]
    seen = sum(datasets[outcome] for outcome in ("untouched", "backfilled", "unsupported", "failed"))
    assert seen == len(expected)
    assert more["jobs_by_reason"]["error to retry"] > usual["jobs_by_reason"]["error to retry"]


def test_a_scheduled_run_is_skipped_while_another_run_writes(
    sample: None,
    run_dag: RunDag,
    make_runs_as: MakeRunsAs,
    databases: Databases,
    hub_server: HubServer,
    maintenance: Database[dict[str, object]],
) -> None:
    Lease(maintenance, WRITING, "token", run_name="backfill monday").acquire()
    make_runs_as("scheduled", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 10, tzinfo=UTC))
    jobs_before = set(databases.queue.jobsBlue.distinct("_id"))

    finished = run_dag("backfill-retryable-errors")

    assert finished.state == "success"
    assert finished.tasks.keys() >= {"find_work", "backfill_shard", "remove_datasets", "report"}
    assert set(finished.tasks.values()) == {"skipped"}
    assert not hub_server.state.requests_by_route
    assert finished.report == {"skipped": "the run 'backfill monday' is at work"}
    assert set(databases.queue.jobsBlue.distinct("_id")) == jobs_before
    lease = maintenance["leases"].find_one()
    assert lease is not None
    assert lease["run"] == "token"


@pytest.mark.parametrize("dag_id", ["backfill", "backfill-retryable-errors"])
def test_a_run_by_hand_waits_until_the_other_run_has_died(
    sample: None,
    run_dag: RunDag,
    maintenance: Database[dict[str, object]],
    dying_run: DyingRun,
    dag_id: str,
) -> None:
    finished = run_dag(dag_id)

    assert dying_run.awaited
    assert finished.state == "success"
    assert finished.report["datasets"]["backfilled"] > 0
    assert maintenance["leases"].count_documents({}) == 0
