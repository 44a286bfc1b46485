"""What the tests share: a real MongoDB, a real S3 server and the Hub stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from dev.local_stack.hub_server import HubServer
from dev.local_stack.mongod import Mongod
from dev.local_stack.s3_server import S3Server


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    with Mongod(tmp_path_factory.mktemp("mongod"), cache_gigabytes=0.5) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def hub_server() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@dataclass(frozen=True, slots=True)
class Databases:
    """The three databases of one test."""

    cache: Database[dict[str, Any]]
    queue: Database[dict[str, Any]]
    maintenance: Database[dict[str, Any]]


@pytest.fixture(scope="session")
def mongo_client(mongod: Mongod) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongod.uri) as client:
        yield client


@pytest.fixture
def databases(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[Databases]:
    """Empty databases: emptied rather than dropped, because making collections anew is what takes time."""
    databases = Databases(*(mongo_client[f"test_{what}"] for what in ("cache", "queue", "maintenance")))
    yield databases
    for database in (databases.cache, databases.queue, databases.maintenance):
        for collection in database.list_collection_names():
            database[collection].delete_many({})
