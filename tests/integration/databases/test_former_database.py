"""What earlier versions kept in the database of datasets-server's migrations, and where it is now."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database

from dev.local_stack.mongod import Mongod
from include.databases import former_database
from include.databases.fence import LostRightError
from include.databases.former_database import FORMER_DATABASE, move_from_former_database
from include.databases.lease import HeldByAnotherRunError, Lease
from include.databases.maintenance_store import MaintenanceStore
from include.databases.mongo import MAINTENANCE_DATABASE
from include.databases.owed_counts import CountMove, OwedCounts

Document = dict[str, Any]

NOW = datetime(2026, 1, 31, tzinfo=UTC)
#: What datasets-server has there.
MIGRATIONS = [{"_id": ObjectId(), "version": f"2023021214590{n}", "description": "x"} for n in range(3)]


@pytest.fixture
def client(mongo_client: MongoClient[Document]) -> Iterator[MongoClient[Document]]:
    """The server, without the two databases: tests of whole backfills leave listings there."""
    for database in (FORMER_DATABASE, MAINTENANCE_DATABASE):
        mongo_client.drop_database(database)
    yield mongo_client
    for database in (FORMER_DATABASE, MAINTENANCE_DATABASE):
        mongo_client.drop_database(database)


@pytest.fixture
def former(client: MongoClient[Document]) -> Database[Document]:
    client[FORMER_DATABASE]["databaseMigrations"].insert_many(MIGRATIONS)
    return client[FORMER_DATABASE]


@pytest.fixture
def ours(client: MongoClient[Document]) -> Database[Document]:
    MaintenanceStore(client[MAINTENANCE_DATABASE]).create_indexes()
    return client[MAINTENANCE_DATABASE]


def documents_of(database: Database[Document]) -> dict[str, list[Document]]:
    names = database.list_collection_names()
    return {name: found for name in names if (found := list(database[name].find().sort("_id")))}


def fill(database: Database[Document], number: int = 3) -> dict[str, list[Document]]:
    """Fill the collections that are ours, as an earlier version did."""
    for n in range(number):
        database["owedCounts"].insert_one({"database": "queue", "collection": "jobTotalMetric", "by": n})
        database["unfinishedRebuilds"].insert_one({"_id": f"user/{n}", "dataset": f"user/{n}"})
        database["metricsHistory"].insert_one({"action": "collect", "collected_at": NOW, "counts": [n]})
        database["selectedDatasets"].insert_one({"run": "r", "dataset": f"user/{n}", "entries": n})
        database["removalCandidates"].insert_one({"run": "r", "dataset": f"user/{n}", "reason": "gone"})
    return documents_of(database)


def test_what_is_ours_is_moved_and_what_is_not_stays(
    former: Database[Document], ours: Database[Document]
) -> None:
    former["hubListing.20260131T000000-1a2b3c4d"].insert_one({"_id": "user/data", "revision": "a"})
    left_alone = documents_of(former)
    before = fill(former)

    move_from_former_database(ours)

    assert documents_of(former) == left_alone
    assert documents_of(ours) == {name: before[name] for name in before.keys() - left_alone.keys()}


def test_a_second_move_changes_nothing(former: Database[Document], ours: Database[Document]) -> None:
    fill(former)
    move_from_former_database(ours)
    before = documents_of(former), documents_of(ours)

    move_from_former_database(ours)

    assert (documents_of(former), documents_of(ours)) == before


def test_many_documents_are_moved_by_several_tasks_at_the_same_time_each_once(
    former: Database[Document], ours: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(former_database, "DOCUMENTS_AT_A_TIME", 10)
    before = fill(former, 35)

    with ThreadPoolExecutor(4) as tasks:
        for moved in [tasks.submit(move_from_former_database, ours) for _ in range(4)]:
            moved.result()

    assert documents_of(former).keys() == {"databaseMigrations"}
    del before["databaseMigrations"]
    assert documents_of(ours) == before


def test_what_is_there_already_is_kept(former: Database[Document], ours: Database[Document]) -> None:
    former["unfinishedRebuilds"].insert_one({"_id": "user/data", "dataset": "user/data"})
    former["removalCandidates"].insert_one({"run": "r", "dataset": "user/data", "reason": "of yesterday"})
    ours["unfinishedRebuilds"].insert_one({"_id": "user/data", "dataset": "user/data"})
    ours["removalCandidates"].insert_one({"run": "r", "dataset": "user/data", "reason": "of today"})

    move_from_former_database(ours)

    assert [found["reason"] for found in ours["removalCandidates"].find()] == ["of today"]
    assert ours["unfinishedRebuilds"].count_documents({}) == 1
    assert documents_of(former).keys() == {"databaseMigrations"}


def test_what_was_owed_to_the_counts_is_paid_once(
    former: Database[Document], ours: Database[Document], client: MongoClient[Document]
) -> None:
    queue = client["test_queue"]
    queue["jobTotalMetric"].delete_many({})
    OwedCounts(queue).owe([CountMove("jobTotalMetric", {"job_type": "a"}, "total", 5)], None)
    former["owedCounts"].insert_many(list(ours["owedCounts"].find()))
    ours["owedCounts"].delete_many({})

    for _ in range(2):
        move_from_former_database(ours)
        OwedCounts(queue).pay()

    assert [count["total"] for count in queue["jobTotalMetric"].find()] == [5]
    queue["jobTotalMetric"].delete_many({})


def test_a_run_of_an_earlier_version_keeps_its_lease_and_its_tasks_stop(
    former: Database[Document], ours: Database[Document]
) -> None:
    with Lease(former, "backfill", "earlier", task="1").held() as right:
        right.check()

        move_from_former_database(ours)

        with pytest.raises(HeldByAnotherRunError):
            Lease(ours, "backfill", "later", task="1").acquire()
        Lease(ours, "backfill", "earlier", task="1").acquire()
        with pytest.raises(LostRightError):
            right.check()


def test_a_lease_that_ran_out_does_not_replace_one_that_lasts(
    former: Database[Document], ours: Database[Document]
) -> None:
    Lease(former, "backfill", "earlier").acquire(timedelta())
    Lease(ours, "backfill", "later").acquire()

    move_from_former_database(ours)

    assert [lease["run"] for lease in ours["leases"].find()] == ["later"]


def test_without_the_former_database_nothing_is_created(
    client: MongoClient[Document], ours: Database[Document]
) -> None:
    client.drop_database(FORMER_DATABASE)

    move_from_former_database(ours)

    assert FORMER_DATABASE not in client.list_database_names()


def test_without_a_right_to_the_former_database_there_is_nothing_to_move(tmp_path: Path) -> None:
    with Mongod(tmp_path, cache_gigabytes=0.25, auth=("root", "secret")) as mongod:
        with MongoClient[Document](mongod.uri) as root:
            root[FORMER_DATABASE]["databaseMigrations"].insert_many(MIGRATIONS)
            roles = [{"role": "readWrite", "db": MAINTENANCE_DATABASE}]
            root.admin.command("createUser", "maintainer", pwd="secret", roles=roles)
        with MongoClient[Document](
            mongod.host, mongod.port, username="maintainer", password="secret", directConnection=True
        ) as client:
            move_from_former_database(client[MAINTENANCE_DATABASE])

            assert documents_of(client[MAINTENANCE_DATABASE]) == {}
