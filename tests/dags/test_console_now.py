"""The pages Now and Over time within Airflow's API server, on real databases."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from fastapi.testclient import TestClient

from datasets_server.actions import DAGS
from datasets_server.console.answers import forget_answers
from datasets_server.console.views import over_time
from datasets_server.operators.approval import LastingApprovalOperator
from dev.local_stack.documents import BLOCKAGES, CACHE_TOTALS, JOB_TOTALS
from dev.local_stack.sample_state import DATASETS
from include.databases.counts import Counts
from include.databases.maintenance_store import MaintenanceStore
from include.databases.mongo import MAINTENANCE_DATABASE
from include.databases.run_records import COLLECTION
from tests.conftest import Databases
from tests.dags.conftest import parsed, set_connection, set_variable

HTML = {"Accept": "text/html"}

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
SPANS = ("24h", "7d", "30d", "90d")
CHARTS = [chart.name for chart in over_time.CHARTS]

Ask = Callable[[str], str]


@pytest.fixture
def ask(connections: None, log_in: Callable[[str | None], TestClient]) -> Ask:
    """Ask for a page as a viewer, without an answer that was kept for another test."""
    forget_answers()

    def ask(path: str) -> str:
        answer = log_in("viewer").get(f"/datasets-server/{path}", headers=HTML)
        assert answer.status_code == 200, answer.text
        return answer.text

    return ask


@pytest.fixture
def maintenance(databases: Databases) -> MaintenanceStore:
    return MaintenanceStore(databases.cache.client[MAINTENANCE_DATABASE])


def add_hostile_names(databases: Databases, maintenance: MaintenanceStore) -> None:
    """Put markup into each text that these pages show."""
    databases.cache[CACHE_TOTALS].insert_one(
        {"kind": HOSTILE, "http_status": 500, "error_code": HOSTILE, "total": 50}
    )
    databases.queue[JOB_TOTALS].insert_one(
        {"job_type": HOSTILE, "status": "waiting", "dataset_status": "normal", "total": 5}
    )
    databases.queue["workerTypeJobCounts"].insert_one({"worker_size": HOSTILE, "jobs_count": 5})
    databases.queue[BLOCKAGES].insert_one({"dataset": HOSTILE, "blocked_at": datetime.now(UTC)})
    maintenance.run_reports().add(
        "backfill", HOSTILE, None, {"dry_run": False, "jobs": {"created": 1}}, succeeded=True
    )
    fields = ("kind", "http_status", "error_code")
    counts = Counts("cache.entries", fields, {("a", 500, HOSTILE): 1})
    maintenance.add_metrics("collect-cache-metrics", [counts], timedelta(days=90))
    maintenance.lease(HOSTILE, "token", run_name=HOSTILE, task="task").acquire()


@pytest.mark.parametrize("path", ["now", *(f"over-time?span={span}" for span in SPANS)])
def test_a_page_of_empty_databases_says_so(ask: Ask, path: str) -> None:
    text = ask(path)

    assert "There are no" in text
    assert "None" not in text


def test_the_page_now_has_places_for_what_airflow_knows(ask: Ask) -> None:
    text = ask("now")

    assert "data-airflow-approvals" in text
    assert "data-airflow-last-runs" in text
    assert "There has been no good run of backfill over the whole cache yet." in text


def test_the_page_now_asks_for_the_questions_of_each_dag_that_asks(ask: Ask) -> None:
    [asking] = re.findall('data-airflow-approvals="([^"]*)"', ask("now"))

    tasks = {dag.id: parsed(dag.id).tasks for dag in DAGS}
    assert set(asking.split()) == {
        dag_id
        for dag_id, of_dag in tasks.items()
        if any(isinstance(task, LastingApprovalOperator) for task in of_dag)
    }


@pytest.mark.parametrize("schedules", ["on", "off"])
def test_the_page_now_says_whether_airflow_starts_runs_by_itself(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, schedules: str
) -> None:
    monkeypatch.setenv("AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE", str(schedules == "on"))

    text = ask("now")

    assert f'data-schedules="{schedules}"' in text
    assert ("starts no run by itself" in text) == (schedules == "off")


def test_schedules_that_are_off_are_part_of_the_verdict(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, maintenance: MaintenanceStore
) -> None:
    maintenance.run_records("backfill").note_good_run()
    for action in ("collect-cache-metrics", "collect-queue-metrics"):
        maintenance.add_metrics(action, [], timedelta(days=90))
    assert 'data-level="ok"' in ask("now")

    monkeypatch.setenv("AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE", "False")

    assert 'data-level="warn"' in ask("now")


def test_the_page_now_shows_the_sample(sample: None, ask: Ask, databases: Databases) -> None:
    text = ask("now")

    codes = databases.cache[CACHE_TOTALS].distinct("error_code", {"error_code": {"$ne": None}})
    assert f"{DATASETS}</dd>" in text
    assert codes
    assert all(f'<a href="errors?code={code}">{code}</a>' in text for code in codes)
    assert all(step in text for step in databases.queue[JOB_TOTALS].distinct("job_type"))


@pytest.mark.parametrize("path", ["now", "over-time", "over-time?span=24h"])
def test_no_markup_from_the_databases_is_in_a_page(
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    databases: Databases,
    maintenance: MaintenanceStore,
    path: str,
) -> None:
    set_variable(monkeypatch, "datasets_server_release", "2026-08")
    add_hostile_names(databases, maintenance)

    text = ask(path)

    assert "<script>alert" not in text
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize("name", CHARTS)
def test_each_chart_has_its_numbers(
    ask: Ask,
    log_in: Any,
    databases: Databases,
    maintenance: MaintenanceStore,
    name: str,
) -> None:
    add_hostile_names(databases, maintenance)
    fields = ("job_type", "status")
    jobs = Counts("queue.jobs", fields, {("a", "waiting"): 1})
    sizes = Counts("queue.jobs_by_worker_size", ("worker_size",), {("light",): 1})
    maintenance.add_metrics("collect-queue-metrics", [jobs, sizes], timedelta(days=90))

    chart = log_in("viewer").get(f"/datasets-server/over-time/{name}?span=24h")

    assert chart.json()["usermeta"] == {"empty": False}
    assert f'data-chart="over-time/{name}?span=24h"' in ask("over-time?span=24h")


@pytest.mark.parametrize("path", ["over-time?span=1y", "over-time/none?span=24h", "over-time/jobs"])
def test_an_address_that_does_not_exist_is_an_error(ask: Ask, log_in: Any, path: str) -> None:
    answer = log_in("viewer").get(f"/datasets-server/{path}", headers=HTML)

    assert answer.status_code == 422
    assert "The address of this page is wrong" in answer.text


@pytest.mark.parametrize("path", ["now", "over-time"])
def test_without_its_connection_a_page_says_what_to_do(
    ask: Ask, log_in: Any, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    set_connection(monkeypatch, "datasets_server_queue", conn_type="mongo", host="127.0.0.1", port=1)

    answer = log_in("viewer").get(f"/datasets-server/{path}", headers=HTML)

    assert answer.status_code == 503
    assert "datasets_server_queue" in answer.text


def test_a_date_that_python_cannot_hold_in_our_own_database_is_explained(
    ask: Ask, log_in: Any, databases: Databases
) -> None:
    run = {"_id": "backfill", "last_good_run": DatetimeMS(10**15)}
    databases.cache.client[MAINTENANCE_DATABASE][COLLECTION].insert_one(run)

    answer = log_in("viewer").get("/datasets-server/now", headers=HTML)

    assert answer.status_code == 503
    assert "holds a value that Python cannot read" in answer.text
