"""Do nothing.

**When it runs.** Every day, as a sign that Airflow creates, starts and ends runs. It needs no Connection,
Variable, database or Hub. Run it by hand to see the same at once. It has no parameters and always succeeds,
also in Airflow's *backfill* by date range.

**When it fails.** Then Airflow itself fails: look at its scheduler.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator

from datasets_server.actions import SKIP
from datasets_server.airflow_dags import action_dag

with action_dag(SKIP, doc=__doc__):
    EmptyOperator(task_id="skip")
