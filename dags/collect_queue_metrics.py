"""Count the jobs and store the counts.

Others read the counts by type and status in `jobTotalMetric`, and by worker size, from which the autoscaler
tells how many workers are needed, in `workerTypeJobCounts`; a crash on the way leaves them wrong until they
are collected again.

**When it runs.** Every ten minutes. Run it by hand when the counts look wrong, such as after an incident. In
Airflow's *backfill* by date range it is skipped: the counts are of now.

| parameter | |
| --- | --- |
| `dry_run` | count only: the log and the XCom of `report` show the counts, nothing is stored or sent |
| `history` | keep the counts in our history too, from which charts are drawn |

**What it does.** It counts in one pass over the jobs, writes each count over the one before, and
then deletes the counts of groups that are gone. At no moment is a count missing. In the release 2026-08, the
jobs of blocked datasets are counted apart, and not by worker size. The counts then go into the collection
`metricsHistory` of the database `datasets_server_maintenance`, and out as gauges through Airflow's own
metrics, where these are switched on.

**When it fails.** The error says what to do. A service that does not answer is tried again by itself; a wrong
Connection or Variable has to be mended first. Then clear the failed task, or wait for the next run: each
counts everything anew.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from datasets_server.operators.metrics import CollectQueueMetricsOperator
from datasets_server.params import metrics_params
from datasets_server.retries import RETRIES
from datasets_server.schedules import schedule

with DAG(
    dag_id="collect-queue-metrics",
    description="Count the jobs by type and status, and by worker size.",
    doc_md=__doc__,
    schedule=schedule("collect-queue-metrics", "*/10 * * * *"),
    start_date=datetime(2024, 3, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    params=metrics_params(),
    render_template_as_native_obj=True,
    tags=["datasets-server"],
):
    CollectQueueMetricsOperator(
        task_id="report", history="{{ params.history }}", preview="{{ params.dry_run }}"
    )
