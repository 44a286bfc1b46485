"""Test every Connection and Variable, and say what to mend.

**When it runs.** By hand alone: after the installation, after a change of a Connection or a Variable, and
when another DAG fails with an error of its configuration. It has no parameters and changes nothing.

**What it does.** The task `check_connections` prints a line for each in its log: whether it is reachable,
whether it may be read and written, and what to mend. So it does for each directory that `clean-directory`
cleans. The rights are tried without leaving a trace: in MongoDB, in a transaction that is never committed; in
S3, by removing an object that does not exist; in a folder, with a file that has no name; at the Hub, by
asking whose the token is. (A MongoDB that is no replica set has no transactions: there, what does not exist
is updated and deleted, and the right to insert is not tried.)

**When it fails.** Its error repeats the lines with `MEND`. Connections and Variables are in Airflow's UI,
under *Admin*. Then run it again.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from datasets_server.operators.check_connections import CheckConnectionsOperator
from datasets_server.retries import RETRIES

with DAG(
    dag_id="check-connections",
    description="Test every Connection and Variable, and say what to mend.",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2024, 3, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    tags=["datasets-server"],
):
    CheckConnectionsOperator(task_id="check_connections")
