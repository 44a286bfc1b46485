"""The Connections, Variables and the pool of an Airflow for development."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets_server import settings
from dev.local_stack.airflow_server import AirflowApi
from dev.local_stack.ports import HOST
from dev.local_stack.sample_state import HUB_TOKEN
from include.planning.processing_graph import load_release

#: The fields of each Connection by its id, and the text of each Variable by its name.
Connections = Mapping[str, Mapping[str, Any]]
Variables = Mapping[str, str]

CACHE_DATABASE = load_release().cache_database
QUEUE_DATABASE = load_release().queue_database


def service_connections(
    mongod_port: int,
    hub_url: str,
    cache: str = CACHE_DATABASE,
    queue: str = QUEUE_DATABASE,
) -> Connections:
    """Return the Connections that every DAG requires: the databases and the Hub stand-in."""
    return {
        settings.CACHE.id: _mongo_fields(mongod_port, cache),
        settings.QUEUE.id: _mongo_fields(mongod_port, queue),
        settings.HUB.id: {"conn_type": settings.HUB.conn_type, "host": hub_url, "password": HUB_TOKEN},
    }


def _mongo_fields(port: int, database: str) -> dict[str, Any]:
    return {
        "conn_type": settings.CACHE.conn_type,
        "host": HOST,
        "port": port,
        "schema": database,
        "extra": {"directConnection": True},
    }


def configure(api: AirflowApi, connections: Connections, variables: Variables, slots: int) -> None:
    """Create the Connections, the Variables and the pool of the shards with ``slots`` slots."""
    api.create_pool(settings.POOL, slots, settings.POOL_DESCRIPTION)
    for conn_id, fields in connections.items():
        api.create_connection(conn_id, **fields)
    for name, text in variables.items():
        api.create_variable(name, text)
