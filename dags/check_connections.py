"""Check every Connection and Variable, and report what to fix.

**When it runs.** Only by hand: after the installation, after a change to a Connection or a Variable, and when
another DAG fails with a configuration error. It has no parameters and changes nothing.

**What it does.** The task `check_connections` logs a line for each Connection and Variable, and for each
directory that `clean-directory` cleans: whether it is reachable, whether it may be read and written, and what
to fix. It tests the right to write without leaving a trace: in MongoDB, with a transaction that it aborts; in
S3, by deleting an object that does not exist; in a folder, with an unnamed temporary file; at the Hub, by
asking which user the token belongs to. (A MongoDB that is not a replica set has no transactions. There it
updates and deletes a document that does not exist, and does not test the right to insert.)

**When it fails.** Its error repeats the lines that begin with `FIX`. Change the Connection or the Variable in
Airflow's UI, under *Admin*, and run it again.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from datasets_server.operators.check_connections import CheckConnectionsOperator
from datasets_server.retries import RETRIES

with DAG(
    dag_id="check-connections",
    description="Check every Connection and Variable, and report what to fix.",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2024, 3, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    tags=["datasets-server"],
):
    CheckConnectionsOperator(task_id="check_connections")
