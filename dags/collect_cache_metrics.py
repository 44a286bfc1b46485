"""Count the cache entries and store the counts.

Others read the counts by kind, status and error code in `cacheTotalMetric`, and the workers move them with
each entry they write; a crash on the way leaves them wrong until they are collected again.

**When it runs.** Every three hours. Run it by hand when the counts look wrong, such as after an incident. In
Airflow's *backfill* by date range it is skipped: the counts are of now.

| parameter | |
| --- | --- |
| `dry_run` | count only: the log and the XCom of `report` show the counts, nothing is stored or sent |
| `history` | keep the counts in our history too, from which charts are drawn |

**What it does.** It counts in one pass over an index, without reading any entry, writes each count over the
one before, and then deletes the counts of groups that are gone. At no moment is a count missing.
The counts then go into the collection `metricsHistory` of the database `datasets_server_maintenance`, and out
as gauges through Airflow's own metrics, where these are switched on.

**When it fails.** The error says what to do. A service that does not answer is tried again by itself; a wrong
Connection or Variable has to be mended first. Then clear the failed task, or wait for the next run: each
counts everything anew.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from datasets_server.operators.metrics import CollectCacheMetricsOperator
from datasets_server.params import metrics_params
from datasets_server.retries import RETRIES
from datasets_server.schedules import schedule

with DAG(
    dag_id="collect-cache-metrics",
    description="Count the cache entries by kind, status and error code.",
    doc_md=__doc__,
    schedule=schedule("collect-cache-metrics", "50 */3 * * *"),
    start_date=datetime(2024, 3, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    params=metrics_params(),
    render_template_as_native_obj=True,
    tags=["datasets-server"],
):
    CollectCacheMetricsOperator(
        task_id="report", history="{{ params.history }}", preview="{{ params.dry_run }}"
    )
