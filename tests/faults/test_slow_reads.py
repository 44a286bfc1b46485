"""Reads for a person who waits, of a MongoDB that would take too long."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import ExecutionTimeout

from dev.local_stack.mongod import Mongod
from include.databases.cache_reader import CacheReader, RunsLeft
from include.databases.queue_reader import OldestJobs, QueueReader
from tests.faults.test_refused_writes import refused

MAX_TIME_EXPIRED = 50


def test_what_would_take_too_long_is_not_known(failing_mongod: Mongod) -> None:
    with MongoClient[dict[str, Any]](failing_mongod.uri) as client:
        cache, queue = CacheReader(client["slow_cache"]), QueueReader(client["slow_queue"])

        with refused(failing_mongod, "alwaysOn", "aggregate", errorCode=MAX_TIME_EXPIRED):
            assert cache.runs_left("AnError", 3) is None
        with refused(failing_mongod, "alwaysOn", "find", errorCode=MAX_TIME_EXPIRED):
            assert queue.oldest_waiting() is None
            with pytest.raises(ExecutionTimeout):
                cache.totals()

        assert cache.runs_left("AnError", 3) == RunsLeft(0, 0, is_all=True)
        assert queue.oldest_waiting() == OldestJobs({})
