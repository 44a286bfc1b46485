"""What tells a run from every other run, of this Airflow and of others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Context

from datasets_server import runs
from include.databases.mongo import MAINTENANCE_DATABASE
from include.errors import ConfigurationError
from tests.conftest import Databases
from tests.dags.conftest import RunDag


class Airflow:
    """What an Airflow keeps of one run: the task state of its first task, and its XComs."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.xcoms: dict[str, Any] = {}

    def context_of(self, task_id: str) -> Context:
        """Give the context of an attempt of a task, which has lost the XComs of earlier attempts."""
        if task_id == "first":
            self.xcoms.clear()
        task_instance = SimpleNamespace(
            task_id=task_id,
            xcom_push=self.xcoms.__setitem__,
            xcom_pull=lambda task_ids, key: self.xcoms.get(key) if task_ids == "first" else None,
        )
        state = SimpleNamespace(
            get=lambda key, default: self.state.get(key, default), set=self.state.__setitem__
        )
        dag = SimpleNamespace(roots=[SimpleNamespace(task_id="first")])
        return cast("Context", {"ti": task_instance, "dag": dag, "task_state_store": state})


def test_the_tasks_of_a_run_have_one_token() -> None:
    airflow = Airflow()

    token = runs.run_token(airflow.context_of("first"))

    assert runs.run_token(airflow.context_of("second")) == token
    assert runs.run_token(airflow.context_of("third")) == token


def test_the_first_task_keeps_the_token_when_it_runs_again() -> None:
    airflow = Airflow()
    token = runs.run_token(airflow.context_of("first"))

    assert runs.run_token(airflow.context_of("first")) == token
    assert runs.run_token(airflow.context_of("second")) == token


def test_the_runs_of_two_airflows_have_different_tokens() -> None:
    assert runs.run_token(Airflow().context_of("first")) != runs.run_token(Airflow().context_of("first"))


def test_without_its_first_task_a_run_has_no_token() -> None:
    with pytest.raises(ConfigurationError, match="The task first has not run: clear it to run it"):
        runs.run_token(Airflow().context_of("second"))


def test_a_run_stores_data_for_its_tasks_under_its_token(
    sample: None, run_dag: RunDag, databases: Databases
) -> None:
    maintenance = databases.queue.client[MAINTENANCE_DATABASE]

    finished = run_dag("backfill", datasets=["*"])

    assert finished.state == "success"
    assert finished.report["datasets"]["unsupported"] > 0
    [token] = maintenance["selectedDatasets"].distinct("run")
    assert maintenance["removalCandidates"].distinct("run") == [token]
    assert len(token) == 32
    assert list(maintenance["leases"].find()) == list(maintenance["writers"].find()) == []
