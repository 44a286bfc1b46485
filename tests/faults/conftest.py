"""Servers that may be killed, and a replica set whose primary may step down."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dev.local_stack.mongod import Mongod
from dev.local_stack.replica_set import ReplicaSet


@pytest.fixture(scope="package")
def mortal_mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """A server that a test may kill, if it starts it again."""
    with Mongod(tmp_path_factory.mktemp("mortal"), cache_gigabytes=0.25) as server:
        yield server


@pytest.fixture(scope="package")
def failing_mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """A server that refuses commands when a test asks for it."""
    folder = tmp_path_factory.mktemp("failing")
    with Mongod(folder, cache_gigabytes=0.25, fails_on_command=True) as server:
        yield server


@pytest.fixture(scope="package")
def replica_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    with ReplicaSet(tmp_path_factory.mktemp("replica-set")) as servers:
        yield servers
