"""Notices to operators, about what a person should look at.

The Connection ``datasets_server_notices`` says who receives them, the Variable of that name which kinds are
sent. A notice that cannot be sent never fails a task: it is a warning in the log.
"""

from __future__ import annotations

import logging
from urllib.parse import quote

from airflow.sdk import Context
from airflow.sdk.configuration import conf

from datasets_server import settings
from datasets_server.hooks.connections import optional_connection
from datasets_server.settings import NoticeKind
from include.errors import ConfigurationError

logger = logging.getLogger(__name__)


def send_notice(
    kind: NoticeKind, context: Context, title: str, *, happened: str, to_do: str, page: str = ""
) -> bool:
    """Send a notice about a run to the operators. This never raises an error.

    :param context: of a task of the run, or of a callback of its DAG.
    :param happened: one sentence or two.
    :param to_do: what the operator should do about it.
    :param page: the page of the run in Airflow's UI to link to, such as ``/tasks/TASK_ID``.
    :return: whether a service received it.
    """
    try:
        if kind not in settings.NOTICE_KINDS.read() or optional_connection(settings.NOTICES.id) is None:
            return False
        return _deliver(title, _body(context, happened, to_do, page))
    except ConfigurationError as error:
        logger.warning("The notice %r was not sent. %s", title, error)
    except Exception as error:  # noqa: BLE001 - whatever happens to a notice, the task goes on
        # Its message may have a URL, with the secret of a service.
        logger.warning("The notice %r was not sent: %s.", title, type(error).__name__)
    return False


def _body(context: Context, happened: str, to_do: str, page: str) -> str:
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    lines = [happened, f"To do: {to_do}", "", f"DAG: {dag_id}", f"Run: {run_id}"]
    if base_url := conf.get("api", "base_url", fallback=None):
        lines.append(f"{base_url.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}{page}")
    return "\n".join(lines)


def _deliver(title: str, body: str) -> bool:
    # Imported here, because it takes seconds, and most tasks send nothing.
    from datasets_server.hooks.notices import NoticesHook

    delivery = NoticesHook().deliver(title, body)
    which = f"{delivery.received} of {delivery.services} services received the notice {title!r}"
    if delivery.problems or delivery.received < delivery.services:
        logger.warning("%s. %s", which, " ".join(delivery.problems))
    else:
        logger.info("%s.", which)
    return delivery.received > 0
