"""No DAG writes a secret anywhere, whether its run succeeds or fails.

Each secret has a mark. The tests search for it in all that a run has written: what Airflow logs and prints,
also before it masks anything and at the level DEBUG, its database (XComs, rendered fields), its files,
MongoDB, the Hub, and the temporary files.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from pymongo import MongoClient

from dev.local_stack import sample_state
from dev.local_stack.hub_server import Fault, HubServer
from dev.local_stack.mongod import Mongod
from dev.local_stack.ports import free_port
from dev.local_stack.s3_server import S3Server
from include.databases.mongo import MAINTENANCE_DATABASE
from tests.conftest import Databases
from tests.dags.conftest import AIRFLOW_HOME, PROJECT, RunDag, set_connection

Document = dict[str, Any]

#: Without a character that a URI, JSON or HTML quotes, so that a search finds them in any of these.
MONGO_PASSWORD = "zq7mongopassword"
WRONG_PASSWORD = "zq7wrongpassword"
HUB_TOKEN = "hf_zq7hubtoken"
BOT_TOKEN = "hf_zq7bottoken"
S3_SECRET = "zq7s3secret"
#: A character that has to be quoted in a URI.
SUFFIX = "@/:%"
#: By Connection.
DATABASES = {name: name for name in ("datasets_server_cache", "datasets_server_queue")}
MARK = "zq7"
AIRFLOW_DATABASE = Path(AIRFLOW_HOME.name) / "airflow.db"
PARAMETERS: dict[str, Document] = {
    "refresh-datasets": {"datasets": ["glue"], "steps": ["dataset-size"]},
    "restore-datasets": {"datasets": ["user/*"]},
}
DAG_IDS = sorted(DagBag(PROJECT / "dags").dags)


@pytest.fixture(scope="module")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    folder = tmp_path_factory.mktemp("mongod-with-a-secret")
    with Mongod(folder, cache_gigabytes=0.25, auth=("maintainer", MONGO_PASSWORD + SUFFIX)) as server:
        yield server


@pytest.fixture
def databases(mongod: Mongod) -> Iterator[Databases]:
    with MongoClient[Document](mongod.uri) as root:
        names = (*DATABASES.values(), MAINTENANCE_DATABASE)
        for name in names:
            root.drop_database(name)
        yield Databases(*(root[name] for name in names))


def set_mongo(monkeypatch: pytest.MonkeyPatch, mongod: Mongod, **fields: Any) -> None:
    for conn_id, database in DATABASES.items():
        connection = {
            "conn_type": "mongo",
            "host": mongod.host,
            "port": mongod.port,
            "schema": database,
            "login": "maintainer",
            "password": MONGO_PASSWORD + SUFFIX,
            "extra": {"directConnection": True, "serverSelectionTimeoutMS": 500},
        }
        set_connection(monkeypatch, conn_id, **connection | fields)


def set_hub(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    set_connection(monkeypatch, "huggingface_hub", conn_type="generic", host=url, password=HUB_TOKEN)


@pytest.fixture
def marked(
    connections: None,
    monkeypatch: pytest.MonkeyPatch,
    mongod: Mongod,
    hub_server: HubServer,
    s3_server: S3Server,
) -> None:
    """Connections whose secrets have marks."""
    set_mongo(monkeypatch, mongod)
    set_hub(monkeypatch, hub_server.url)
    set_connection(
        monkeypatch,
        "huggingface_hub_bot",
        conn_type="generic",
        login=sample_state.BOT_NAME,
        password=BOT_TOKEN,
    )
    set_connection(
        monkeypatch,
        "datasets_server_s3",
        conn_type="aws",
        login="access-key",
        password=S3_SECRET,
        extra={"endpoint_url": s3_server.endpoint_url, "region_name": "us-east-1"},
    )
    hub_server.state.tokens = {HUB_TOKEN: "somebody", BOT_TOKEN: sample_state.BOT_NAME}


Search = Callable[[], dict[str, str]]


@pytest.fixture
def find_secrets(
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    databases: Databases,
    hub_server: HubServer,
    tmp_path: Path,
) -> Search:
    """Return where something with a mark is, and a little of what is around it."""
    caplog.set_level(logging.DEBUG)

    def written() -> Iterator[tuple[str, str]]:
        printed = capfd.readouterr()
        yield from {"log records": caplog.text, "stdout": printed.out, "stderr": printed.err}.items()
        yield from files(Path(AIRFLOW_HOME.name))
        yield from files(tmp_path)
        yield from rows_of_airflow()
        yield from documents(databases)
        yield "discussions on the Hub", str(hub_server.state.discussions)

    def find() -> dict[str, str]:
        places = {place: (text, text.find(MARK)) for place, text in written()}
        return {place: text[max(0, at - 200) : at + 100] for place, (text, at) in places.items() if at >= 0}

    return find


def files(folder: Path) -> Iterator[tuple[str, str]]:
    for file in folder.rglob("*"):
        # The rows of the database are searched by themselves.
        if file.is_file() and not file.is_symlink() and not file.name.startswith(AIRFLOW_DATABASE.name):
            yield str(file), file.read_bytes().decode(errors="replace")


def documents(databases: Databases) -> Iterator[tuple[str, str]]:
    for database in (databases.cache, databases.queue, databases.maintenance):
        for name in database.list_collection_names():
            yield f"{database.name}.{name}", str(list(database[name].find()))


def rows_of_airflow() -> Iterator[tuple[str, str]]:
    """Yield the rows of every table of Airflow's database: in its file, a long value is in pieces."""
    with closing(sqlite3.connect(AIRFLOW_DATABASE)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            yield f"Airflow's table {table}", str(database.execute(f'SELECT * FROM "{table}"').fetchall())


def test_the_search_finds_a_secret_in_each_place(
    marked: None,
    find_secrets: Search,
    databases: Databases,
    run_dag: RunDag,
    tmp_path: Path,
) -> None:
    run_dag("skip")
    logging.getLogger("any").debug("the token is %s", HUB_TOKEN)
    for stdout_or_stderr in (1, 2):
        os.write(stdout_or_stderr, HUB_TOKEN.encode())
    (tmp_path / "file").write_text(HUB_TOKEN)
    databases.maintenance["any"].insert_one({"token": HUB_TOKEN})
    with closing(sqlite3.connect(AIRFLOW_DATABASE, isolation_level=None)) as airflow:
        airflow.execute("CREATE TABLE anything (value TEXT)")
        airflow.execute("INSERT INTO anything VALUES (?)", (HUB_TOKEN,))
        found = find_secrets()
        airflow.execute("DROP TABLE anything")

    assert found.keys() >= {
        "log records",
        "stdout",
        "stderr",
        str(tmp_path / "file"),
        f"{MAINTENANCE_DATABASE}.any",
        "Airflow's table anything",
    }


def test_runs_that_succeed_write_no_secret(
    sample: None, marked: None, find_secrets: Search, run_dag: RunDag
) -> None:
    states = {dag_id: run_dag(dag_id, **PARAMETERS.get(dag_id, {})).state for dag_id in DAG_IDS}

    assert states == dict.fromkeys(DAG_IDS, "success")
    assert find_secrets() == {}


#: The DAGs that fail, and the services on which they do.
USERS_OF_MONGODB = [dag_id for dag_id in DAG_IDS if dag_id not in ("skip", "clean-directory")]
USERS_OF_THE_HUB = ["backfill", "backfill-retryable-errors", "check-connections", "post-messages"]


@pytest.mark.parametrize(
    "fault",
    [
        "wrong password",
        pytest.param("unreachable", marks=pytest.mark.slow_fault),
        pytest.param("invalid option", marks=pytest.mark.slow_fault),
    ],
)
def test_runs_that_fail_on_mongodb_write_no_secret(
    marked: None,
    find_secrets: Search,
    monkeypatch: pytest.MonkeyPatch,
    mongod: Mongod,
    run_dag: RunDag,
    fault: str,
) -> None:
    fields: dict[str, dict[str, Any]] = {
        "wrong password": {"password": WRONG_PASSWORD + SUFFIX},
        "unreachable": {"port": free_port()},
        "invalid option": {"extra": {"directConnection": "perhaps"}},
    }
    set_mongo(monkeypatch, mongod, **fields[fault])

    states = {dag_id: run_dag(dag_id, **PARAMETERS.get(dag_id, {})).state for dag_id in USERS_OF_MONGODB}

    assert states == dict.fromkeys(USERS_OF_MONGODB, "failed")
    assert find_secrets() == {}


@pytest.mark.parametrize(
    "fault", ["refused token", pytest.param("unreachable", marks=pytest.mark.slow_fault)]
)
def test_runs_that_fail_on_the_hub_write_no_secret(
    marked: None,
    find_secrets: Search,
    monkeypatch: pytest.MonkeyPatch,
    hub_server: HubServer,
    run_dag: RunDag,
    fault: str,
) -> None:
    if fault == "unreachable":
        set_hub(monkeypatch, f"http://127.0.0.1:{free_port()}")
    else:
        hub_server.state.tokens = {}

    states = {dag_id: run_dag(dag_id).state for dag_id in USERS_OF_THE_HUB}

    assert states == dict.fromkeys(USERS_OF_THE_HUB, "failed")
    assert find_secrets() == {}


def test_datasets_that_the_hub_refuses_write_no_secret(
    sample: None, marked: None, find_secrets: Search, hub_server: HubServer, run_dag: RunDag
) -> None:
    faults: tuple[Fault, ...] = ("unauthorized", "gated_403", "server_error")
    for dataset, fault in zip(list(hub_server.state.datasets.values()), cycle(faults), strict=False):
        hub_server.state.put(replace(dataset, fault=fault, in_listing=False))

    for dag_id in ("backfill", "post-messages"):
        run_dag(dag_id, error_limit=0)

    assert find_secrets() == {}


def test_a_run_that_fails_on_s3_writes_no_secret(
    marked: None, find_secrets: Search, monkeypatch: pytest.MonkeyPatch, run_dag: RunDag
) -> None:
    set_connection(
        monkeypatch,
        "datasets_server_s3",
        conn_type="aws",
        login="access-key",
        password=S3_SECRET,
        extra={"endpoint_url": f"http://127.0.0.1:{free_port()}", "region_name": "us-east-1"},
    )

    assert run_dag("check-connections").state == "failed"

    assert find_secrets() == {}
