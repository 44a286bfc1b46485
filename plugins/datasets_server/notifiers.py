"""What Airflow calls when a run fails, or when a task waits for a person."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, cast

from airflow.sdk import BaseNotifier

from datasets_server.notices import send_notice
from datasets_server.runs import failed_tasks
from datasets_server.settings import NoticeKind

if TYPE_CHECKING:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
    from airflow.sdk import Context


def notify_of_failure(context: Context) -> None:
    """Tell operators that a run failed, as the ``on_failure_callback`` of its DAG.

    Airflow calls it in the DAG processor. This never raises an error.
    """
    failed: list[str] = []
    with suppress(Exception):  # The notice is worth sending without their names too.
        failed = failed_tasks(context)
    which = f": {', '.join(failed)}" if failed else ""
    send_notice(
        NoticeKind.FAILED,
        context,
        f"{context['dag'].dag_id} failed",
        happened=f"Tasks of the run failed{which}.",
        to_do="read the end of their logs, which say what to fix. Then clear these tasks.",
    )


class ApprovalNotifier(BaseNotifier):
    """Tells operators that a task waits for their approval, as one of the ``notifiers`` of its operator."""

    def notify(self, context: Context) -> None:
        """Send the notice."""
        task_id = context["ti"].task_id
        send_notice(
            NoticeKind.APPROVAL,
            context,
            f"{context['dag'].dag_id} waits for an approval",
            happened=cast("ApprovalOperator", context["task"]).subject,
            to_do="look at the list, and approve or reject. Until then, the run waits.",
            page=f"/tasks/{task_id}/required_actions",
        )
