"""The DAGs that collect metrics, run whole on a real Airflow and MongoDB, and the gauges that they send."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from airflow.sdk.observability import stats
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from datasets_server import settings
from datasets_server.gauges import send_gauges
from dev.local_stack.documents import CACHE, CACHE_TOTALS, JOB_TOTALS, JOBS, WORKER_SIZES
from dev.local_stack.generated_cache import generate
from include.databases.counts import Counts
from include.databases.mongo import MAINTENANCE_DATABASE
from include.errors import ConfigurationError
from include.planning.processing_graph import load_release
from tests.conftest import Databases
from tests.dags.conftest import PROJECT, MakeRunsAs, RunDag, set_variable

BOTH = pytest.mark.parametrize("dag_id", ["collect-cache-metrics", "collect-queue-metrics"])
COUNTS = Counts(
    "cache.entries",
    ("kind", "http_status", "error_code"),
    {("dataset-info", 200, None): 12, ("dataset-info", 500, "Some.Error"): 3},
    gone=(("dataset-size", 404, "Gone"),),
)

Gauges = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def sample(connections: None, databases: Databases) -> None:
    """A small cache and queue without counts."""
    generate(databases.cache, databases.queue, 50, load_release(), up_to_date=0.5)
    databases.cache[CACHE_TOTALS].delete_many({})
    for collection in (JOB_TOTALS, WORKER_SIZES):
        databases.queue[collection].delete_many({})


@pytest.fixture
def gauges(monkeypatch: pytest.MonkeyPatch) -> Gauges:
    """The gauges that this process sends to Airflow's metrics."""
    sent: Gauges = {}

    def gauge(name: str, value: float, *, tags: dict[str, str] | None = None) -> None:
        sent[name, frozenset((tags or {}).items())] = value

    monkeypatch.setattr(stats, "gauge", gauge)
    return sent


def history(databases: Databases) -> list[dict[str, Any]]:
    return list(databases.cache.client[MAINTENANCE_DATABASE]["metricsHistory"].find())


def test_the_counts_of_the_cache_are_stored_added_to_the_history_and_sent(
    sample: None, run_dag: RunDag, databases: Databases, gauges: Gauges
) -> None:
    finished = run_dag("collect-cache-metrics")

    entries = databases.cache[CACHE].count_documents({})
    totals = list(databases.cache[CACHE_TOTALS].find())
    assert finished.state == "success"
    assert finished.report["counted"] == {"cache.entries": entries}
    assert finished.report["groups_written"] == {"cache.entries": len(totals)}
    assert sum(total["total"] for total in totals) == entries > 0
    [kept] = history(databases)
    assert kept["action"] == "collect-cache-metrics"
    assert sum(row["count"] for row in kept["counts"]) == entries
    tags = {"kind": "dataset-config-names", "http_status": "200", "error_code": "none"}
    assert gauges["datasets_server.cache.entries", frozenset(tags.items())] > 0
    assert sum(gauges.values()) == entries


def test_the_counts_of_the_queue_are_stored_added_to_the_history_and_sent(
    sample: None, run_dag: RunDag, databases: Databases, gauges: Gauges
) -> None:
    finished = run_dag("collect-queue-metrics")

    jobs = databases.queue[JOBS].count_documents({})
    assert finished.state == "success"
    assert finished.report["counted"] == {"queue.jobs": jobs, "queue.jobs_by_worker_size": jobs}
    assert sum(total["total"] for total in databases.queue[JOB_TOTALS].find()) == jobs > 0
    sizes = {size["worker_size"]: size["jobs_count"] for size in databases.queue[WORKER_SIZES].find()}
    assert sizes.keys() == {"light", "medium", "heavy"}
    assert [kept["action"] for kept in history(databases)] == ["collect-queue-metrics"]
    for size, count in sizes.items():
        tags = frozenset({("worker_size", size)})
        assert gauges["datasets_server.queue.jobs_by_worker_size", tags] == count


@BOTH
def test_a_dry_run_counts_but_stores_and_sends_nothing(
    sample: None, run_dag: RunDag, databases: Databases, gauges: Gauges, dag_id: str
) -> None:
    finished = run_dag(dag_id, dry_run=True)

    assert finished.state == "success"
    assert finished.report["dry_run"]
    assert min(finished.report["counted"].values()) > 0
    assert finished.report["largest_groups"]
    assert gauges == {}
    assert history(databases) == []
    assert not databases.cache[CACHE_TOTALS].find_one()
    assert not databases.queue[JOB_TOTALS].find_one()
    assert not databases.queue[WORKER_SIZES].find_one()


@BOTH
def test_the_history_is_optional(
    sample: None, run_dag: RunDag, databases: Databases, gauges: Gauges, dag_id: str
) -> None:
    finished = run_dag(dag_id, history=False)

    assert finished.state == "success"
    assert gauges
    assert history(databases) == []


@BOTH
def test_a_run_of_a_backfill_by_date_range_is_skipped(
    sample: None,
    run_dag: RunDag,
    databases: Databases,
    make_runs_as: MakeRunsAs,
    capsys: pytest.CaptureFixture[str],
    dag_id: str,
) -> None:
    make_runs_as("backfill", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))

    finished = run_dag(dag_id)

    assert finished.state == "success"
    assert finished.tasks == {"report": "skipped"}
    assert (
        "can only count the current data, not that of 2026-01-01 00:00:00+00:00 to 2026-01-02"
        in capsys.readouterr().out
    )
    assert not databases.cache[CACHE_TOTALS].find_one()
    assert not databases.queue[JOB_TOTALS].find_one()


def test_a_variable_sets_the_days_of_the_history(
    sample: None, run_dag: RunDag, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variable(monkeypatch, "datasets_server_metrics_history_days", "7")
    now = datetime.now(UTC)
    databases.cache.client[MAINTENANCE_DATABASE]["metricsHistory"].insert_many(
        [
            {"_id": days, "action": "collect-queue-metrics", "collected_at": now - timedelta(days=days)}
            for days in (6, 8)
        ]
    )

    run_dag("collect-queue-metrics")

    kept = history(databases)
    assert len(kept) == 2
    assert [document["_id"] for document in kept if "counts" not in document] == [6]


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "", "99999"])
def test_a_number_of_days_that_is_not_valid_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    set_variable(monkeypatch, "datasets_server_metrics_history_days", value)

    with pytest.raises(ConfigurationError, match=r"metrics_history_days holds .* a number of days"):
        settings.METRICS_HISTORY_DAYS.read()


@pytest.mark.parametrize("with_tags", ["statsd_influxdb_enabled", "statsd_datadog_enabled", "otel_on"])
def test_gauges_have_tags(gauges: Gauges, monkeypatch: pytest.MonkeyPatch, with_tags: str) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", str(with_tags != "otel_on"))
    monkeypatch.setenv(f"AIRFLOW__METRICS__{with_tags.upper()}", "True")

    send_gauges([COUNTS])

    assert gauges == TAGGED


def test_without_tags_the_name_of_a_gauge_has_the_group(
    gauges: Gauges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")

    send_gauges([COUNTS])

    assert {name: value for (name, tags), value in gauges.items() if not tags} == {
        "datasets_server.cache.entries.dataset-info.200.none": 12,
        "datasets_server.cache.entries.dataset-info.500.Some_Error": 3,
        "datasets_server.cache.entries.dataset-size.404.Gone": 0,
    }


def test_an_opentelemetry_collector_receives_the_gauges() -> None:
    """Send them from a process that starts and ends as the process of a task does."""
    code = """
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from datasets_server.gauges import send_gauges
from tests.dags.test_metrics_dags import COUNTS

stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
send_gauges([COUNTS])
"""
    with collector() as (port, received):
        environment = {
            **os.environ,
            "PYTHONPATH": f"{PROJECT}:{PROJECT / 'plugins'}",
            "AIRFLOW__METRICS__OTEL_ON": "True",
            "AIRFLOW__METRICS__OTEL_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__OTEL_PORT": str(port),
        }
        subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environment, check=True, timeout=60)

    assert received == {(f"airflow.{name}", tags): value for (name, tags), value in TAGGED.items()}


@contextmanager
def collector() -> Iterator[tuple[int, Gauges]]:
    """Run an OpenTelemetry collector over HTTP, and yield its port and the gauges that it receives."""
    received: Gauges = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        for point in metric.gauge.data_points:
                            tags = {tag.key: tag.value.string_value for tag in point.attributes}
                            received[metric.name, frozenset(tags.items())] = point.as_int or point.as_double
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port, received
        finally:
            server.shutdown()


TAGGED: Gauges = {
    (
        "datasets_server.cache.entries",
        frozenset({"kind": kind, "http_status": http_status, "error_code": code}.items()),
    ): value
    for kind, http_status, code, value in (
        ("dataset-info", "200", "none", 12),
        ("dataset-info", "500", "Some.Error", 3),
        ("dataset-size", "404", "Gone", 0),
    )
}
