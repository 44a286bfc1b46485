"""DAGs of tasks that do nothing, one after the other: what a run of them takes is Airflow's own share.

``airflow_run`` copies this file into the folder of the DAGs. Their ids are ``empty-1``, ``empty-2``, ...; the
number is that of the tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import DAG, BaseOperator, chain

if TYPE_CHECKING:
    from airflow.sdk import Context

MOST_TASKS = 20


class NothingOperator(BaseOperator):
    """Does nothing, in a process of its own as every task that has an ``execute``."""

    def execute(self, context: Context) -> None:
        """Do nothing."""


for tasks in range(1, MOST_TASKS + 1):
    with DAG(f"empty-{tasks}", schedule=None):
        chain(*(NothingOperator(task_id=f"task_{number}") for number in range(tasks)))
