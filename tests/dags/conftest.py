"""A real Airflow for the tests, with a database in a temporary folder."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from pymongo.database import Database

from dev.local_stack import sample_state
from dev.local_stack.hub_server import HubServer
from dev.local_stack.mongod import Mongod
from dev.local_stack.s3_server import ACCESS_KEY_ID, SECRET_ACCESS_KEY, S3Server
from include.databases.lease import Lease
from include.databases.mongo import MAINTENANCE_DATABASE
from include.planning.processing_graph import load_release
from tests.conftest import Databases

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from fastapi.testclient import TestClient

    from datasets_server.services import Services

PROJECT = Path(__file__).parents[2]
BUCKET = "dataset-assets"
RELEASE = load_release()

# Each DAG file is a bundle, because DAG.test writes the whole bundle of a DAG to the database each time.
BUNDLES = [
    {
        "name": file.stem,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(file)},
    }
    for file in sorted((PROJECT / "dags").glob("*.py"))
]

# The test modules of this folder import Airflow, which then reads its settings.
AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="airflow-")
os.environ |= {
    "AIRFLOW_HOME": AIRFLOW_HOME.name,
    "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__API_AUTH__JWT_SECRET": "known to the tests alone, " * 3,
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(BUNDLES),
}


@pytest.fixture(scope="session")
def airflow_database() -> None:
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(scope="module")
def api_server(airflow_database: None) -> Iterator[TestClient]:
    """Airflow's API server in this process, with the plugin's app."""
    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    with TestClient(create_app(apps="core"), base_url="http://localhost") as client:
        yield client


@pytest.fixture
def log_in(api_server: TestClient) -> Iterator[Callable[[str | None], TestClient]]:
    """Log in with a role of Airflow's simple auth manager, as its UI does: by a cookie."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    def log_in(role: str | None) -> TestClient:
        user = SimpleAuthManagerUser(username="someone", role=role)
        api_server.cookies.set("_token", get_auth_manager().generate_jwt(user))
        return api_server

    yield log_in
    api_server.cookies.clear()


def parsed(dag_id: str) -> DAG:
    """Parse the file of a DAG."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(PROJECT / "dags" / f"{dag_id.replace('-', '_')}.py").dags[dag_id]


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """How a run of a DAG ended: its state, the state of each task, and what its last task returned.

    ``mapped`` has the states of the mapped tasks by their names in the UI, ``returned`` what each other task
    returned.
    """

    state: str
    tasks: dict[str, str]
    report: dict[str, Any]
    mapped: dict[str, str]
    returned: dict[str, Any]


class RunDag(Protocol):
    def __call__(self, dag_id: str, **params: Any) -> FinishedRun: ...


@pytest.fixture
def run_dag(airflow_database: None) -> RunDag:
    """Run a DAG by hand, as Airflow does, but in this process and without retries."""

    def run(dag_id: str, **params: Any) -> FinishedRun:
        dag = parsed(dag_id)  # each time, because a run renders the templates in the tasks themselves
        for task in dag.tasks:
            task.retries = 0
        dag_run = dag.test(run_conf=params, logical_date=None, run_after=datetime.now(UTC))
        tasks = dag_run.get_task_instances()
        [last] = [task for task in tasks if task.task_id in [leaf.task_id for leaf in dag.leaves]]
        return FinishedRun(
            state=dag_run.state,
            tasks={task.task_id: str(task.state) for task in tasks},
            report=last.xcom_pull(task_ids=last.task_id),
            mapped={task.rendered_map_index: str(task.state) for task in tasks if task.map_index >= 0},
            returned={
                task.task_id: task.xcom_pull(task_ids=task.task_id) for task in tasks if task.map_index < 0
            },
        )

    return run


class MakeRunsAs(Protocol):
    def __call__(self, run_type: str, start: datetime, end: datetime) -> None: ...


@pytest.fixture
def make_runs_as(monkeypatch: pytest.MonkeyPatch) -> MakeRunsAs:
    """Let ``run_dag`` make runs of a type (scheduled, backfill) with an interval, as the scheduler does."""
    from airflow.models import dagrun
    from airflow.timetables.base import DataInterval
    from airflow.utils.types import DagRunType
    from pendulum import instance

    make = dagrun.get_or_create_dagrun

    def make_runs_as(run_type: str, start: datetime, end: datetime) -> None:
        interval = DataInterval(instance(start), instance(end))

        def make_as_the_scheduler_does(**fields: Any) -> Any:
            run = make(**fields | {"data_interval": interval, "logical_date": interval.start})
            run.run_type = DagRunType(run_type)
            fields["session"].commit()
            return run

        monkeypatch.setattr(dagrun, "get_or_create_dagrun", make_as_the_scheduler_does)

    return make_runs_as


@pytest.fixture
def maintenance(databases: Databases) -> Database[dict[str, Any]]:
    """Our own database."""
    return databases.queue.client[MAINTENANCE_DATABASE]


class DyingRun:
    """A run that holds the right to write, and dies as soon as another run waits for this right."""

    def __init__(self, lease: Lease) -> None:
        self.awaited = False
        self._lease = lease
        self._lease.acquire(timedelta(hours=1))

    def die(self) -> None:
        self.awaited = True
        self._lease.acquire(timedelta())


@pytest.fixture
def dying_run(maintenance: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> DyingRun:
    from datasets_server import triggers
    from datasets_server.runs import WRITING

    run = DyingRun(Lease(maintenance, WRITING, "backfill scheduled"))
    is_taken = triggers.TurnTrigger._is_taken

    def die_when_looked_at(trigger: triggers.TurnTrigger, services: Services) -> bool:
        taken = is_taken(trigger, services)
        if taken:
            run.die()
        return taken

    monkeypatch.setattr(triggers, "SECONDS_BETWEEN_LOOKS", 0.1)
    monkeypatch.setattr(triggers.TurnTrigger, "_is_taken", die_when_looked_at)
    return run


@pytest.fixture
def connections(
    monkeypatch: pytest.MonkeyPatch,
    mongod: Mongod,
    databases: Databases,
    hub_server: HubServer,
    s3_server: S3Server,
    tmp_path: Path,
) -> Iterator[None]:
    """Set the Connections and Variables for the services of one test."""
    mongo = {
        "conn_type": "mongo",
        "host": mongod.host,
        "port": mongod.port,
        "extra": {"directConnection": True},
    }
    set_connection(monkeypatch, "datasets_server_cache", **mongo, schema=databases.cache.name)
    set_connection(monkeypatch, "datasets_server_queue", **mongo, schema=databases.queue.name)
    set_connection(
        monkeypatch, "huggingface_hub", conn_type="generic", host=hub_server.url, password="hf_token"
    )
    set_connection(
        monkeypatch, "huggingface_hub_bot", conn_type="generic", login="parquet-bot", password="hf_bot"
    )
    set_connection(
        monkeypatch,
        "datasets_server_s3",
        conn_type="aws",
        login=ACCESS_KEY_ID,
        password=SECRET_ACCESS_KEY,
        extra={"endpoint_url": s3_server.endpoint_url, "region_name": "us-east-1"},
    )
    set_variable(monkeypatch, "datasets_server_assets_storage_root", str(tmp_path / "assets"))
    set_variable(monkeypatch, "datasets_server_cached_assets_storage_protocol", "s3")
    set_variable(monkeypatch, "datasets_server_cached_assets_storage_root", "dataset-assets/cached-assets")
    set_variable(monkeypatch, "datasets_server_archive_storage_root", str(tmp_path / "removed-datasets"))
    yield
    databases.cache.client.drop_database(MAINTENANCE_DATABASE)


@pytest.fixture
def sample(
    connections: None,
    monkeypatch: pytest.MonkeyPatch,
    databases: Databases,
    hub_server: HubServer,
    s3_server: S3Server,
    tmp_path: Path,
) -> None:
    """Fill all services with the state that ``make run`` shows, in which each rule applies somewhere."""
    client = s3_server.client()
    if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=BUCKET)
    hub_server.load(
        sample_state.fill(databases.cache, databases.queue, tmp_path / "assets", client, BUCKET, RELEASE)
    )
    hub_server.state.tokens = None
    set_variable(monkeypatch, "datasets_server_common_blocked_datasets", sample_state.BLOCKED_DATASETS)


def set_connection(monkeypatch: pytest.MonkeyPatch, conn_id: str, **fields: Any) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))


def set_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"AIRFLOW_VAR_{name.upper()}", value)
