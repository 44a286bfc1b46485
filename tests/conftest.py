"""What the tests share: a real MongoDB, a real S3 server and the Hub stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

from dev.local_stack.hub_server import HubServer
from dev.local_stack.mongod import Mongod
from dev.local_stack.s3_server import S3Server

TESTS = Path(__file__).parent
#: The folders in the order in which workers start on them: the longest chains first, the small tests last.
ORDER = ("e2e", "dags", "faults", "integration", "unit")


def folder(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: ORDER.index(folder(item)))


class ByFolder(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """Gives the tests of some folders to one worker each, and all others to the next free worker.

    The end-to-end tests start an Airflow each, which those of a file, or of the console, share. The tests of
    the DAGs share the Airflow of their process, which takes as long to start as many of them do to run, and
    the tests of faults share their servers. The tests of date ranges share a large cache.
    """

    def _split_scope(self, nodeid: str) -> str:
        first = nodeid.removeprefix("tests/").partition("/")[0]
        if first == "e2e":
            return "e2e alone" if "test_distributed" in nodeid else "e2e"
        if first == "dags":
            return "dags of backfill" if "test_backfill_dag" in nodeid else "dags"
        if "test_date_ranges" in nodeid:
            return "date ranges"
        return first if first == "faults" else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFolder:
    return ByFolder(config, log)


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
