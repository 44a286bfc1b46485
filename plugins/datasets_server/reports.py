"""What the last task of a run tells and decides."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from airflow.sdk import Context


def seconds_since_start(context: Context) -> float:
    """Tell how long the run has taken."""
    start = context["dag_run"].start_date
    return (datetime.now(UTC) - start).total_seconds() if start else 0.0


def fail_if_a_task_failed(context: Context) -> None:
    """Fail the run, which ends as its last task does, where another task has failed."""
    run = context["dag_run"]
    states = context["ti"].get_task_states(dag_id=run.dag_id, run_ids=[run.run_id])[run.run_id]
    failed = sorted(task for task, state in states.items() if state in ("failed", "upstream_failed"))
    if failed:
        raise AirflowFailException(
            f"This is what was done, but not all was: {', '.join(failed)} failed. Their logs say why."
            " Clear them to run them again."
        )
