"""The button "Console" on the page of a task."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from datasets_server.console_link import ApprovalLink, ConsoleLink
from tests.dags.conftest import parsed


@pytest.fixture
def base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/of/us/")


def link(datasets: Any) -> str:
    operator = SimpleNamespace(datasets=datasets)
    key = SimpleNamespace(dag_id="backfill")
    return ConsoleLink().get_link(operator, ti_key=key)  # type: ignore[arg-type]


@pytest.mark.usefixtures("base_url")
def test_it_opens_the_dataset_of_a_run_about_one() -> None:
    assert link(["org/a & b"]) == (
        "https://airflow.example.com/of/us/plugin/datasets-server/of/us/datasets-server/dataset?name=org%2Fa%20%26%20b"
    )


@pytest.mark.usefixtures("base_url")
@pytest.mark.parametrize("datasets", [None, [], ["org/*"], ["a", "b"], "{{ params.datasets }}"])
def test_it_opens_the_runs_of_the_dag_otherwise(datasets: Any) -> None:
    assert link(datasets).endswith("/of/us/datasets-server/runs?action=backfill")


def test_without_an_address_of_airflow_it_is_relative_to_the_server() -> None:
    assert link([]) == "/plugin/datasets-server/datasets-server/runs?action=backfill"


@pytest.mark.parametrize(
    ("dag_id", "task_id", "kind"),
    [
        ("backfill", "find_work", ConsoleLink),
        ("backfill", "approve_removals", ApprovalLink),
        ("backfill", "report", ConsoleLink),
        ("refresh-datasets", "refresh_datasets", ConsoleLink),
        ("restore-datasets", "restore_datasets", ConsoleLink),
        ("collect-cache-metrics", "report", ConsoleLink),
    ],
)
def test_a_task_whose_work_the_console_shows_has_it(dag_id: str, task_id: str, kind: type) -> None:
    [link] = parsed(dag_id).task_dict[task_id].operator_extra_links

    assert isinstance(link, kind)
