"""The reports that runs leave for the console."""

from __future__ import annotations

from typing import Any

import pytest

from include.databases.mongo import MAINTENANCE_DATABASE
from include.databases.own_reader import OwnReader
from include.databases.run_reports import COLLECTION, Outcome
from tests.conftest import Databases
from tests.dags.conftest import RunDag


@pytest.fixture
def reports(sample: None, databases: Databases) -> Any:
    """Read the reports, the oldest first."""
    return lambda: list(databases.cache.client[MAINTENANCE_DATABASE][COLLECTION].find().sort("ended_at"))


def test_a_backfill_keeps_its_report(run_dag: RunDag, reports: Any, databases: Databases) -> None:
    preview = run_dag("backfill", dry_run=True)
    whole = run_dag("backfill")
    part = run_dag("backfill", datasets=["org/*"])

    kept = reports()

    assert [report["outcome"] for report in kept] == ["success"] * 3
    assert [report["dry_run"] for report in kept] == [True, False, False]
    assert [report["covers_everything"] for report in kept] == [True, True, False]
    assert [report["figures"]["jobs"] for report in kept] == [
        finished.report["jobs"] for finished in (preview, whole, part)
    ]
    assert all(report["started_at"] <= report["ended_at"] for report in kept)
    last = OwnReader(databases.cache.client[MAINTENANCE_DATABASE]).last_whole_report("backfill")
    assert last is not None
    assert last.figures["artifacts"] == whole.report["artifacts"] == preview.report["artifacts"]
    assert last.figure("artifacts", "up_to_date") > last.figure("artifacts", "need_jobs") > 0


def test_a_failed_backfill_keeps_its_report(run_dag: RunDag, reports: Any) -> None:
    finished = run_dag("backfill", error_limit=0)

    assert finished.state == "failed"
    [report] = reports()
    assert report["outcome"] == Outcome.FAILED
    assert report["figures"]["datasets"]["failed"] > 0


@pytest.mark.parametrize(
    ("dag_id", "params", "number"),
    [
        ("collect-cache-metrics", {}, "groups_written"),
        ("collect-queue-metrics", {}, "groups_written"),
        ("post-messages", {"updated_from": "2020-01-01T00:00:00Z"}, "posted"),
        ("post-messages", {"updated_from": "2020-01-01T00:00:00Z", "dry_run": True}, "posted"),
    ],
)
def test_other_actions_keep_their_reports(
    run_dag: RunDag, reports: Any, hub_server: Any, dag_id: str, params: dict[str, Any], number: str
) -> None:
    hub_server.state.tokens = {"hf_bot": "parquet-bot"}

    finished = run_dag(dag_id, **params)

    assert finished.state == "success"
    [report] = reports()
    assert (report["action"], report["outcome"]) == (dag_id, "success")
    assert report["dry_run"] == finished.report["dry_run"]
    assert report["figures"][number] == finished.report[number]


def test_a_restore_keeps_its_report_unless_it_is_a_dry_run(run_dag: RunDag, reports: Any) -> None:
    run_dag("backfill")
    run_dag("restore-datasets", datasets=["*", "*/*"], dry_run=True)
    finished = run_dag("restore-datasets", datasets=["*", "*/*"])

    *_, report = reports()

    assert [each["action"] for each in reports()] == ["backfill", "restore-datasets"]
    assert report["figures"]["restored"] == finished.report["restored"] > 0


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_refresh_keeps_its_report(run_dag: RunDag, reports: Any, *, dry_run: bool) -> None:
    run_dag("refresh-datasets", datasets=["glue"], steps=["dataset-size"], dry_run=dry_run)

    [report] = reports()

    assert (report["action"], report["outcome"]) == ("refresh-datasets", "success")
    assert (report["dry_run"], report["covers_everything"]) == (dry_run, False)
    assert report["figures"]["jobs"] == {"created": 1, "deleted": 0}


def test_without_history_a_collection_of_metrics_keeps_no_report(run_dag: RunDag, reports: Any) -> None:
    """Then it needs no database of ours at all."""
    assert run_dag("collect-queue-metrics", history=False).state == "success"

    assert reports() == []


def test_a_report_that_cannot_be_kept_is_a_warning(
    run_dag: RunDag,
    reports: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    databases: Databases,
) -> None:
    own = databases.cache.client[MAINTENANCE_DATABASE]
    own.create_collection(COLLECTION, validator={"figures": {"$exists": False}})

    finished = run_dag("backfill")

    assert finished.state == "success"
    assert reports() == []
    assert "The console will not show the report of this run: it could not be kept: " in caplog.text
    assert own["runRecords"].find_one({"last_good_run": {"$exists": True}})
