"""Databases with the indexes of datasets-server, and their stores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.utils import close_session
from pymongo import MongoClient

from dev.local_stack.certificates import new_certificate
from dev.local_stack.documents import create_indexes
from dev.local_stack.hub_server import HubServer, HubState
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import MaintenanceStore
from include.databases.mongo import MAINTENANCE_DATABASE
from include.databases.queue_store import UNCHECKED_JOBS, QueueStore
from include.planning.processing_graph import Release, load_release, release_names
from tests.conftest import Databases


@dataclass(frozen=True, slots=True)
class Stores:
    """The databases of one test, and the stores on them."""

    databases: Databases
    cache: CacheStore
    queue: QueueStore
    maintenance: MaintenanceStore


@pytest.fixture(params=release_names())
def release_name(request: pytest.FixtureRequest) -> str:
    """Each release in turn; a test of some releases alone is parametrized with their names."""
    name: str = request.param
    return name


@pytest.fixture
def release(release_name: str) -> Release:
    return load_release(release_name)


@pytest.fixture(scope="session")
def indexed_databases(mongo_client: MongoClient[dict[str, Any]]) -> dict[str, Databases]:
    """Databases for each release, because the unique index of the job totals depends on the release."""
    made = {}
    for name in release_names():
        databases = Databases(
            *(mongo_client[f"indexed_{what}_{name}"] for what in ("cache", "queue", "maintenance"))
        )
        create_indexes(databases.cache, databases.queue, load_release(name))
        MaintenanceStore(databases.maintenance).create_indexes()
        made[name] = databases
    return made


@pytest.fixture
def stores(indexed_databases: dict[str, Databases], release: Release) -> Iterator[Stores]:
    databases = indexed_databases[release.name]
    yield Stores(
        databases,
        CacheStore(databases.cache),
        QueueStore(databases.queue, release),
        MaintenanceStore(databases.maintenance),
    )
    for database in (databases.cache, databases.queue, databases.maintenance):
        for collection in database.list_collection_names():
            database[collection].delete_many({})
    for name in ("owedCounts", UNCHECKED_JOBS):
        databases.queue.client[MAINTENANCE_DATABASE][name].delete_many({})
    for listing in databases.maintenance.list_collection_names(filter={"name": {"$regex": "^hubListing"}}):
        databases.maintenance.drop_collection(listing)


@pytest.fixture(scope="session")
def lasting_hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def shared_hub(lasting_hub: HubServer) -> HubServer:
    """A Hub that is empty at first, on a server that all tests share, because its end takes a while."""
    lasting_hub.load(HubState())
    return lasting_hub


@pytest.fixture
def https_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub over https: there, its client takes a 401 for an unknown dataset."""
    certificate = new_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca_file))
    close_session()  # The next request reads the trusted certificates.
    with HubServer(certificate=certificate) as server:
        yield server
        close_session()  # An open connection over https would keep the server from stopping.
