"""The DAG ``restore-datasets``: it undoes the removals of a backfill, in a real Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from dev.local_stack.documents import CACHE, CACHE_TOTALS, create_indexes
from tests.conftest import Databases
from tests.dags.conftest import BUCKET, RELEASE, RunDag, set_variable


@pytest.fixture
def databases(databases: Databases) -> Databases:
    create_indexes(databases.cache, databases.queue, RELEASE)
    return databases


def entries(databases: Databases) -> list[dict[str, Any]]:
    return sorted(databases.cache[CACHE].find(), key=repr)


def totals(databases: Databases) -> list[dict[str, Any]]:
    return sorted(databases.cache[CACHE_TOTALS].find({"total": {"$ne": 0}}), key=repr)


@pytest.mark.parametrize("protocol", ["file", "s3"])
def test_puts_back_what_a_backfill_removed(
    sample: None,
    run_dag: RunDag,
    databases: Databases,
    maintenance: Database[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
) -> None:
    if protocol == "s3":
        set_variable(monkeypatch, "datasets_server_archive_storage_protocol", "s3")
        set_variable(monkeypatch, "datasets_server_archive_storage_root", f"{BUCKET}/removed-datasets")
    before, totals_before = entries(databases), totals(databases)
    removal = run_dag("backfill")
    assert removal.state == "success"
    removed = removal.report["removed"]
    assert removed["archives"] == removal.report["datasets"]["removed"] > 0
    assert len(entries(databases)) == len(before) - removed["cache_entries"]

    preview = run_dag("restore-datasets", datasets=["*"], dry_run=True)

    assert preview.state == "success"
    assert len(entries(databases)) == len(before) - removed["cache_entries"]
    assert maintenance["restores"].count_documents({}) == 0

    restore = run_dag("restore-datasets", datasets=["*"])

    assert restore.state == "success"
    assert {**restore.report, "dry_run": True} == preview.report
    assert restore.report["restored_entries"] == removed["cache_entries"]
    assert restore.report["jobs_left_out"] == removed["waiting_jobs"]
    assert " by backfill " in restore.report["restored_sample"][0]
    assert entries(databases) == before
    assert totals(databases) == totals_before
    noted = list(maintenance["restores"].find())
    assert len(noted) == restore.report["restored"]
    assert all(each["run"].startswith("restore-datasets ") for each in noted)


def test_fails_if_more_datasets_fail_than_its_limit(sample: None, run_dag: RunDag) -> None:
    restore = run_dag("restore-datasets", datasets=["user/unknown"], error_limit=0)

    assert restore.state == "failed"
    assert restore.report["error_sample"] == ["user/unknown: there is no archive of a removal in this time"]


def test_fails_if_the_archives_are_switched_off(
    sample: None, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variable(monkeypatch, "datasets_server_archive_storage_protocol", "off")

    assert run_dag("restore-datasets", datasets=["*"]).state == "failed"


def test_fails_if_the_times_are_in_the_wrong_order(sample: None, run_dag: RunDag) -> None:
    times = {"removed_from": "2026-01-02T00:00:00Z", "removed_to": "2026-01-01T00:00:00Z"}

    assert run_dag("restore-datasets", datasets=["*"], **times).state == "failed"


def test_a_backfill_removes_nothing_that_it_cannot_archive(
    sample: None,
    run_dag: RunDag,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    set_variable(monkeypatch, "datasets_server_archive_storage_root", str(tmp_path / "not-mounted" / "x"))
    before = entries(databases)

    run = run_dag("backfill")

    assert run.state == "failed"
    assert run.tasks["remove_datasets"] == "failed"
    assert run.tasks["backfill_shard"] == "success"
    assert entries(databases) == before


def test_a_backfill_removes_without_an_archive_if_that_is_switched_off(
    sample: None, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_variable(monkeypatch, "datasets_server_archive_storage_protocol", "off")

    run = run_dag("backfill")

    assert run.state == "success"
    assert run.report["datasets"]["removed"] > 0
    assert run.report["removed"]["archives"] == 0
    assert not (tmp_path / "removed-datasets").exists()
