"""What the DAGs have in common.

Airflow only reads a file as a DAG file if it contains the words "airflow" and "dag". Each file in dags/ does,
because it imports this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param

from datasets_server.actions import Action
from datasets_server.notifiers import notify_of_failure
from datasets_server.options import schedule
from datasets_server.pages import page
from datasets_server.retries import RETRIES

#: A template such as ``{{ params.shards }}`` becomes a number, not a text. The tasks say so instead of the
#: DAG, because the name of a mapped task, such as 2024, is to stay a text.
TEMPLATES: dict[str, Any] = {"render_template_as_native_obj": True}

#: A task or a run that takes longer is stuck, and would keep the next run from starting.
TIMEOUTS: dict[str, Any] = {"execution_timeout": timedelta(hours=12)}
RUN_TIMEOUT = timedelta(hours=24)


def action_dag(action: Action, *, doc: str | None, params: Mapping[str, Param] | None = None) -> DAG:
    """Return the DAG that runs an action, without its tasks.

    :param doc: the documentation in the UI, in Markdown, with ``{parameters}`` where their table belongs.
    :param params: the parameters, by name.
    """
    params = params or {}
    return DAG(
        dag_id=action.id,
        description=action.description,
        doc_md=page(doc, params),
        schedule=schedule(action),
        start_date=datetime(2024, 3, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        on_failure_callback=notify_of_failure,
        dagrun_timeout=RUN_TIMEOUT,
        default_args=RETRIES | TEMPLATES | TIMEOUTS,
        params=dict(params),
        tags=["datasets-server"],
    )
