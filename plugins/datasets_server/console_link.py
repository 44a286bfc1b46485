"""The button on a task's page in Airflow that opens the console, on the page that is about the task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from airflow.configuration import conf
from airflow.sdk import BaseOperatorLink

from include.databases.selection import has_wildcard

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class ConsoleLink(BaseOperatorLink):
    """Opens the page of the dataset, if the run is about one; otherwise what the runs of the DAG did."""

    name = "Console"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address."""
        names: Sequence[str] = getattr(operator, "datasets", None) or ()
        if len(names) == 1 and not isinstance(names, str) and not has_wildcard(names[0]):
            return console_address("dataset", name=names[0])
        return console_address("runs", action=ti_key.dag_id)


class ApprovalLink(BaseOperatorLink):
    """Opens the page on which a person approves or rejects."""

    name = "Console"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the address."""
        return console_address("now")


def console_address(page: str, **query: str) -> str:
    """Return the address of a page of the console within Airflow."""
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    prefix = urlsplit(base).path
    text = f"?{urlencode(query, quote_via=quote)}" if query else ""
    return f"{base}/plugin/datasets-server{prefix}/datasets-server/{page}{text}"
