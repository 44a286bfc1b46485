"""The time limits of reads for a person who waits, on a real MongoDB."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pymongo.errors import ExecutionTimeout

from dev.local_stack.documents import CACHE
from include.databases import bounded
from include.databases.bounded import all_within, max_time_ms
from include.databases.cache_reader import CacheReader
from tests.conftest import Databases


def read_slowly(databases: Databases) -> None:
    """Read a document in ten seconds, unless MongoDB ends it."""
    databases.cache[CACHE].find_one({"$where": "sleep(10000) || true"}, max_time_ms=max_time_ms())


@contextmanager
def seconds_at_most(seconds: float) -> Iterator[None]:
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < seconds


@pytest.fixture(autouse=True)
def document(databases: Databases) -> None:
    databases.cache[CACHE].insert_one({})


def test_the_last_of_many_commands_has_the_time_that_is_left(databases: Databases) -> None:
    with seconds_at_most(1.5), all_within(0.3), pytest.raises(ExecutionTimeout):
        read_slowly(databases)


def test_no_command_begins_when_the_time_is_over(databases: Databases) -> None:
    with all_within(0), pytest.raises(ExecutionTimeout):
        CacheReader(databases.cache).totals()

    assert CacheReader(databases.cache).totals() == []


def test_one_command_does_not_take_the_time_of_all(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "MAX_TIME_MS", 100)

    with seconds_at_most(1.5), all_within(5):
        with pytest.raises(ExecutionTimeout):
            read_slowly(databases)
        assert CacheReader(databases.cache).entry_count() == 1
