"""What is true of every DAG, and of the folder of the plugins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from datasets_server.actions import (
    ACTIONS,
    BACKFILL,
    DAGS,
)
from datasets_server.notifiers import notify_of_failure
from datasets_server.operators.approval import LastingApprovalOperator
from datasets_server.options import schedule
from datasets_server.settings import MAX_APPROVAL_HOURS
from dev.local_stack.actions import VIEWS
from include.errors import ConfigurationError
from include.planning.processing_graph import load_release, release_names
from tests.dags.conftest import PROJECT, parsed

DAG_IDS = sorted(dag.id for dag in DAGS)

#: Of production.
SCHEDULES = {
    "backfill": "45 21 * * *",
    "backfill-retryable-errors": "*/10 * * * *",
    "clean-directory": "0 */3 * * *",
    "collect-cache-metrics": "50 */3 * * *",
    "collect-queue-metrics": "*/10 * * * *",
    "post-messages": "10 0 * * *",
    "skip": "0 0 * * *",
}


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_a_dag_is_documented_tagged_and_runs_once_at_a_time(airflow_database: None, dag_id: str) -> None:
    dag = parsed(dag_id)

    assert dag.tags == {"datasets-server"}
    assert not dag.catchup
    assert dag.max_active_runs == 1
    assert dag.on_failure_callback is notify_of_failure
    assert dag.doc_md is not None
    for name in dag.params:
        param = dag.params.get_param(name)
        assert param.description, name
        assert {"title", "type"} <= param.schema.keys(), name
        assert f"| `{name}` |" in dag.doc_md
    assert "{parameters}" not in dag.doc_md


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_neither_a_task_nor_a_run_may_last_for_ever(airflow_database: None, dag_id: str) -> None:
    dag = parsed(dag_id)

    assert dag.dagrun_timeout is not None
    for task in dag.tasks:
        asks_a_person = isinstance(task, LastingApprovalOperator)
        longest = timedelta(hours=MAX_APPROVAL_HOURS) if asks_a_person else task.execution_timeout
        assert longest is not None, task.task_id
        assert longest < dag.dagrun_timeout, task.task_id


def test_the_folder_has_a_dag_for_each_action_the_check_the_refresh_the_restore_and_the_watch(
    airflow_database: None,
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(PROJECT / "dags")

    assert not bag.import_errors
    assert sorted(bag.dags) == DAG_IDS


def test_every_action_is_shown_by_make_run() -> None:
    assert set(VIEWS) == {action.id for action in ACTIONS}


@pytest.mark.parametrize(("dag_id", "cron"), SCHEDULES.items())
def test_a_dag_has_the_schedule_of_production_unless_the_configuration_sets_another(
    airflow_database: None, monkeypatch: pytest.MonkeyPatch, dag_id: str, cron: str
) -> None:
    option = f"AIRFLOW__DATASETS_SERVER__SCHEDULE_{dag_id.upper().replace('-', '_')}"

    def schedule() -> Any:
        return parsed(dag_id).schedule

    assert schedule().expression == cron
    monkeypatch.setenv(option, "7 7 * * *")
    assert schedule().expression == "7 7 * * *"
    monkeypatch.setenv(option, "never")
    assert schedule() is None


#: Where those of a release differ.
OF_KNOWN_RELEASES: dict[str, Mapping[str, str | None]] = {
    "2024-03": {},
    "2026-08": {
        "backfill": "5 12 * * *",
        "backfill-retryable-errors": "0 */2 * * *",
        "clean-directory": None,  # it is no action of this release
    },
}


@pytest.mark.parametrize(("release", "dag_id"), product(release_names(), SCHEDULES))
def test_the_configuration_can_choose_the_schedules_of_another_release(
    airflow_database: None, monkeypatch: pytest.MonkeyPatch, release: str, dag_id: str
) -> None:
    monkeypatch.setenv("AIRFLOW__DATASETS_SERVER__SCHEDULES_OF_RELEASE", release)

    schedule: Any = parsed(dag_id).schedule

    different = OF_KNOWN_RELEASES.get(release, load_release(release).schedules)
    cron = different.get(dag_id, SCHEDULES[dag_id])
    assert (schedule and schedule.expression) == cron


def test_the_schedule_of_one_action_goes_before_those_of_a_release(
    airflow_database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATASETS_SERVER__SCHEDULES_OF_RELEASE", "2026-08")
    monkeypatch.setenv("AIRFLOW__DATASETS_SERVER__SCHEDULE_CLEAN_DIRECTORY", "7 7 * * *")

    schedule: Any = parsed("clean-directory").schedule
    assert schedule.expression == "7 7 * * *"


def test_schedules_of_an_unknown_release_are_an_error_that_names_the_option(
    airflow_database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATASETS_SERVER__SCHEDULES_OF_RELEASE", "2025")

    with pytest.raises(ConfigurationError) as e:
        schedule(BACKFILL)

    assert str(e.value) == (
        "The option schedules_of_release in [datasets_server] is '2025':"
        f" it may be {' or '.join(release_names())}."
    )


@pytest.mark.parametrize("release", release_names())
def test_a_release_has_schedules_of_actions_alone(release: str) -> None:
    assert load_release(release).schedules.keys() <= {action.id for action in ACTIONS}


def test_every_action_has_a_schedule_of_production() -> None:
    assert SCHEDULES.keys() == {action.id for action in ACTIONS}


def test_parsing_reads_no_variable_no_connection_and_no_network() -> None:
    """Parse the DAGs in a new process, where each of these would fail."""
    code = """
import socket
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import Connection, Variable

def refuse(*args, **kwargs):
    raise AssertionError(f"used while parsing: {args}")

socket.socket.connect = refuse
Variable.get = classmethod(refuse)
Connection.get = classmethod(refuse)
bag = DagBag("dags")
print(bag.import_errors, sorted(bag.dags))
"""
    assert last_line(code) == f"{{}} {DAG_IDS}"


def test_the_list_of_the_actions_imports_no_airflow() -> None:
    code = """
import sys
import datasets_server.actions
print("airflow" in sys.modules)
"""
    assert last_line(code) == "False"


#: What the tasks need to run.
NEEDED_BY_TASKS = (
    "airflow.providers.amazon",
    "airflow.providers.apprise",
    "airflow.providers.mongo.hooks",
    "apprise",
    "boto3",
    "botocore",
    "bson",
    "httpx2",
    "huggingface_hub",
    "numpy",
    "pyarrow",
    "pymongo",
    "pymongoarrow",
)
ATTEMPTS = 3


@pytest.fixture(scope="module")
def executed_files() -> Any:
    """Execute each DAG file as the DAG processor does: in a fork of a process that has imported Airflow.

    Returns for each file what it imported, and how many seconds of CPU it took at best, beside those that the
    import of Airflow took.
    """
    code = f"""
import json, os, runpy, sys, time
from pathlib import Path
import airflow.sdk
from airflow.sdk import DAG, BaseOperator

def execute(file):
    before = set(sys.modules)
    start = time.process_time()
    runpy.run_path(str(file))
    return {{"seconds": time.process_time() - start, "imported": sorted(set(sys.modules) - before)}}

def execute_in_fork(file):
    reading, writing = os.pipe()
    if not os.fork():
        os.write(writing, json.dumps(execute(file)).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as result:
        return json.load(result)

airflow_seconds = time.process_time()
files = sorted(Path("dags").glob("*.py"))
runs = {{file.stem: [execute_in_fork(file) for _ in range({ATTEMPTS})] for file in files}}
print(json.dumps({{"airflow_seconds": airflow_seconds, "runs": runs}}))
"""
    return json.loads(last_line(code))


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_a_dag_file_imports_nothing_that_only_its_tasks_need(executed_files: Any, dag_id: str) -> None:
    first, *_ = executed_files["runs"][dag_id.replace("-", "_")]

    assert "datasets_server.airflow_dags" in first["imported"]
    assert [
        module
        for module in first["imported"]
        if any(module == name or module.startswith(f"{name}.") for name in NEEDED_BY_TASKS)
    ] == []


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_a_dag_file_takes_a_small_part_of_the_time_of_airflow(executed_files: Any, dag_id: str) -> None:
    """That is 0.1 of 1.5 seconds, or of 4 seconds on a slow machine. With pymongo alone it was 0.3."""
    seconds = min(run["seconds"] for run in executed_files["runs"][dag_id.replace("-", "_")])

    assert seconds < 0.1 * executed_files["airflow_seconds"]
    assert seconds < 0.3


def test_airflow_imports_none_of_our_modules_as_plugins() -> None:
    """Airflow's plugin manager imports each file that it finds under its bare name."""
    code = """
import sys
from airflow.plugins_manager import _get_plugins
_get_plugins()
files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
ours = [name for name, file in files.items() if "/plugins/datasets_server/" in file]
print([name for name in ours if name.partition(".")[0] != "datasets_server"])
"""
    assert last_line(code) == "[]"


def last_line(code: str) -> str:
    """Run Python code in a new process, and return the last line that it prints."""
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'plugins'}"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]
