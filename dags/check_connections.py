"""Test every Connection and Variable, and say what to fix.

**When it runs.** Only by hand: after the installation, after a change of a Connection or a Variable, and when
another DAG fails with an error in its configuration. It has no parameters and changes nothing.

**What it does.** The task `check_connections` logs a line for each Connection and Variable, and for each
directory that `clean-directory` cleans: whether it can be reached, read and written, and what to fix. Testing
the rights leaves no trace. In MongoDB, the task writes in a transaction that it never commits; in S3, it
deletes an object that does not exist; in a folder, it creates a file without a name; at the Hub, it asks
whose token it is. (A MongoDB without a replica set has no transactions: there, the task updates and deletes
a document that does not exist, and does not test the right to insert.)

**When it fails.** The error repeats the lines with `MEND`. Fix these Connections and Variables, in Airflow's
UI under *Admin*, then run this again.
"""

from __future__ import annotations

from datasets_server.actions import CHECK_CONNECTIONS
from datasets_server.airflow_dags import action_dag
from datasets_server.operators.check_connections import CheckConnectionsOperator

with action_dag(CHECK_CONNECTIONS, doc=__doc__):
    CheckConnectionsOperator(task_id="check_connections")
