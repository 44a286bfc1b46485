"""What a task opens and prepares: no more than it uses."""

from __future__ import annotations

from functools import partial

import pytest
from pymongo import MongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from datasets_server.services import open_services
from dev.local_stack.hub_server import HubServer
from include.databases.mongo import MAINTENANCE_DATABASE
from tests.conftest import Databases
from tests.dags.conftest import RunDag, set_connection


class Commands(CommandListener):
    """Gathers the databases to which commands were sent."""

    def __init__(self) -> None:
        self.databases: set[str] = set()

    def started(self, event: CommandStartedEvent) -> None:
        self.databases.add(event.database_name)

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    commands = Commands()
    client = partial(MongoClient, event_listeners=[commands])
    monkeypatch.setattr("airflow.providers.mongo.hooks.mongo.MongoClient", client)
    return commands


@pytest.mark.parametrize(
    ("dag_id", "params", "used"),
    [
        ("collect-cache-metrics", {}, "cache"),
        ("collect-queue-metrics", {}, "queue"),
        ("post-messages", {"updated_from": "2020-01-01T00:00:00Z"}, "cache"),
        ("restore-datasets", {"datasets": ["*"]}, "cache"),
    ],
)
def test_a_task_uses_no_other_database_of_datasets_server_than_it_needs(
    sample: None,
    run_dag: RunDag,
    databases: Databases,
    hub_server: HubServer,
    commands: Commands,
    dag_id: str,
    params: dict[str, object],
    used: str,
) -> None:
    hub_server.state.tokens = {"hf_bot": "parquet-bot"}

    assert run_dag(dag_id, **params).state == "success"

    names = {"cache": databases.cache.name, "queue": databases.queue.name}
    assert [name for name, database in names.items() if database in commands.databases] == [used]


def test_without_its_connection_a_database_that_is_not_used_is_no_error(
    connections: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_DATASETS_SERVER_QUEUE")
    set_connection(monkeypatch, "huggingface_hub", conn_type="generic")

    with open_services() as services:
        assert services.cache.entry_count() == 0


def own_indexes(databases: Databases) -> set[str]:
    """Return the indexes in our own database, beside those that each collection has."""
    own = databases.cache.client[MAINTENANCE_DATABASE]
    return {
        f"{name}.{index}"
        for name in own.list_collection_names()
        for index in own[name].index_information()
        if index != "_id_"
    }


@pytest.mark.parametrize(
    ("dag_id", "params"),
    [
        ("backfill", {}),
        ("backfill-retryable-errors", {}),
        ("collect-cache-metrics", {}),
        ("collect-queue-metrics", {}),
        ("refresh-datasets", {"datasets": ["glue"], "steps": ["dataset-size"]}),
    ],
)
def test_a_dry_run_creates_no_index(
    sample: None, run_dag: RunDag, databases: Databases, dag_id: str, params: dict[str, object]
) -> None:
    assert run_dag(dag_id, dry_run=True, **params).state == "success"
    assert own_indexes(databases) == set()

    assert run_dag(dag_id, **params).state == "success"
    assert own_indexes(databases)
