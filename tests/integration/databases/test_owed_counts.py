"""Counts that the workers move at the same time."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from dev.local_stack.mongod import Mongod
from include.databases.mongo import MAINTENANCE_DATABASE, in_transaction
from include.databases.owed_counts import CountMove, OwedCounts
from tests.conftest import Databases
from tests.integration.databases.test_queue_store import OnFirst

Document = dict[str, Any]

COUNTS = "jobTotalMetric"


@pytest.fixture
def database(databases: Databases) -> Database[Document]:
    databases.queue.client[MAINTENANCE_DATABASE]["owedCounts"].delete_many({})
    return databases.queue


def move(name: object, by: int) -> CountMove:
    return CountMove(COUNTS, {"job_type": name, "status": "waiting"}, "total", by)


def totals(database: Database[Document]) -> dict[str, int]:
    return {str(count["job_type"]): count["total"] for count in database[COUNTS].find()}


def let_worker_move(database: Database[Document], name: str) -> None:
    database[COUNTS].update_one({"job_type": name, "status": "waiting"}, {"$inc": {"total": -1}}, upsert=True)


def test_what_is_owed_to_a_count_is_paid_once(database: Database[Document]) -> None:
    owed = OwedCounts(database)
    owed.owe([move("a", 2), move("b", 1), move("a", 3), move("c", 1), move("c", -1)], None)
    owed.owe([move("a", -1)], None)

    owed.pay()
    owed.pay()

    assert totals(database) == {"a": 4, "b": 1}


def test_a_transaction_that_is_aborted_owes_nothing(database: Database[Document]) -> None:
    owed = OwedCounts(database)

    def fail(session: Any) -> None:
        owed.owe([move("a", 1)], session)
        raise KeyError

    with pytest.raises(KeyError):
        in_transaction(database.client, fail)
    owed.pay()

    assert totals(database) == {}


def test_what_is_owed_to_another_database_is_not_paid(
    databases: Databases, database: Database[Document]
) -> None:
    OwedCounts(databases.cache).owe([move("a", 1)], None)

    OwedCounts(database).pay()

    assert totals(database) == {}
    OwedCounts(databases.cache).pay()
    assert totals(databases.cache) == {"a": 1}


def test_the_move_of_a_worker_at_the_same_moment_is_not_lost(
    database: Database[Document], mongod: Mongod
) -> None:
    """The worker is in between the first command of the transaction and the counts."""
    let_worker_move(database, "a")
    worker = OnFirst("delete", lambda: let_worker_move(database, "a"))
    with MongoClient[Document](mongod.uri, event_listeners=[worker]) as client:
        owed = OwedCounts(client[database.name])
        owed.owe([move("a", 5), move("b", 1)], None)

        owed.pay()

    assert worker.is_done
    assert totals(database) == {"a": 3, "b": 1}


def test_two_that_pay_at_the_same_time_pay_once(database: Database[Document]) -> None:
    owed = OwedCounts(database)
    for _ in range(50):
        owed.owe([move("a", 1), move("b", 2)], None)

    payers = [threading.Thread(target=owed.pay, daemon=True) for _ in range(4)]
    for payer in payers:
        payer.start()
    for payer in payers:
        payer.join(timeout=60)

    assert totals(database) == {"a": 50, "b": 100}


def test_a_malformed_key_is_not_taken_for_an_operator(database: Database[Document]) -> None:
    owed = OwedCounts(database)
    owed.owe([move({"$gt": ""}, 1), move([1], 1)], None)

    owed.pay()

    assert totals(database) == {"{'$gt': ''}": 1, "[1]": 1}
