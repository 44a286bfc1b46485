"""Do nothing.

**When it runs.** Every day, as a sign that Airflow makes, starts and ends runs, which it shows without a
Connection, a Variable, a database or the Hub. Run it by hand to see the same at once. It has no parameters
and always succeeds, in Airflow's *backfill* by date range, too.

**When it fails.** Then it is Airflow itself that fails: look at its scheduler.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from datasets_server.retries import RETRIES
from datasets_server.schedules import schedule

with DAG(
    dag_id="skip",
    description="Do nothing.",
    doc_md=__doc__,
    schedule=schedule("skip", "0 0 * * *"),
    start_date=datetime(2024, 3, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    tags=["datasets-server"],
):
    EmptyOperator(task_id="skip")
