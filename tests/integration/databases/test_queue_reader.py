"""What the console reads of the queue as a whole, on a real MongoDB."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS

from dev.local_stack.documents import BLOCKAGES, JOB_TOTALS, JOBS, WORKER_SIZES, new_job
from include.databases.queue_reader import (
    BLOCKED_NAMED,
    Blockages,
    JobTotal,
    QueueReader,
    StartedJob,
)
from include.planning.dataset_state import JobStatus, Priority
from include.planning.processing_graph import Release
from include.planning.rules import BLOCKED_FOR
from tests.builders import NOON, REVISION
from tests.integration.conftest import Stores

MINUTE = timedelta(minutes=1)


@pytest.fixture
def reader(stores: Stores) -> QueueReader:
    return QueueReader(stores.databases.queue)


def add_job(stores: Stores, release: Release, name: str, minutes: int, **fields: Any) -> None:
    job = new_job(release.steps[0], name, REVISION, created_at=NOON + minutes * MINUTE, **fields)
    stores.databases.queue[JOBS].insert_one(job)


def test_the_totals_are_those_of_datasets_server(stores: Stores, reader: QueueReader) -> None:
    stores.databases.queue[JOB_TOTALS].insert_many(
        [
            {"job_type": "dataset-info", "status": "waiting", "dataset_status": "normal", "total": 5},
            {"job_type": "dataset-info", "status": "started", "dataset_status": "blocked", "total": -1},
            {"job_type": 3, "status": "waiting", "dataset_status": "x", "total": 5},
        ]
    )
    stores.databases.queue[WORKER_SIZES].insert_many(
        [{"worker_size": "light", "jobs_count": 7}, {"worker_size": "heavy", "jobs_count": "many"}]
    )

    assert reader.totals() == [
        JobTotal("dataset-info", "waiting", is_blocked=False, total=5),
        JobTotal("dataset-info", "started", is_blocked=True, total=0),
    ]
    assert reader.by_worker_size() == {"light": 7}


def test_the_oldest_waiting_job_of_each_priority_is_found(
    stores: Stores, reader: QueueReader, release: Release
) -> None:
    add_job(stores, release, "a", 5)
    add_job(stores, release, "b", 3)
    add_job(stores, release, "c", 4, priority=Priority.HIGH)
    add_job(stores, release, "d", 1, status=JobStatus.STARTED)

    waiting = reader.oldest_waiting()

    noon = NOON.replace(tzinfo=UTC)
    assert waiting is not None
    assert waiting.since == {Priority.HIGH: noon + 4 * MINUTE, Priority.LOW: noon + 3 * MINUTE}
    assert waiting.of_all == noon + 3 * MINUTE


def test_the_job_that_was_started_first_is_found(
    stores: Stores, reader: QueueReader, release: Release
) -> None:
    add_job(stores, release, "waiting", 1)
    for name, priority, minutes in (("a", Priority.LOW, 9), ("b", Priority.HIGH, 7), ("c", Priority.LOW, 8)):
        add_job(stores, release, name, 2, status=JobStatus.STARTED, priority=priority)
        started = {"$set": {"started_at": NOON + minutes * MINUTE}}
        stores.databases.queue[JOBS].update_one({"dataset": name}, started)

    found = reader.longest_started()

    assert found == StartedJob(release.steps[0].name, "b", NOON.replace(tzinfo=UTC) + 7 * MINUTE)


@pytest.mark.parametrize("year", [-20_000, 20_000])
def test_a_date_that_python_cannot_hold_is_left_out(
    stores: Stores, reader: QueueReader, release: Release, year: int
) -> None:
    date = DatetimeMS(year * 366 * 86_400_000)
    add_job(stores, release, "a", 5)
    job = new_job(release.steps[0], "b", REVISION, created_at=NOON)
    stores.databases.queue[JOBS].insert_one(job | {"created_at": date})
    stores.databases.queue[BLOCKAGES].insert_many(
        [{"dataset": "a", "blocked_at": NOON}, {"dataset": "b", "blocked_at": date}]
    )

    started = new_job(release.steps[0], "c", REVISION, created_at=NOON, status=JobStatus.STARTED)
    stores.databases.queue[JOBS].insert_one(started | {"started_at": date})

    oldest, blockages = reader.oldest_waiting(), reader.blockages()

    assert oldest is not None
    assert oldest.of_all == NOON.replace(tzinfo=UTC) + 5 * MINUTE
    assert reader.longest_started() is None
    assert [each.dataset for each in blockages.first] == ["a"]


def test_an_empty_queue_has_no_oldest_job(reader: QueueReader) -> None:
    waiting = reader.oldest_waiting()

    assert waiting is not None
    assert waiting.of_all is None
    assert reader.longest_started() is None


def test_the_oldest_job_is_found_without_a_look_at_the_others(
    stores: Stores, reader: QueueReader, release: Release
) -> None:
    for minutes in range(50):
        add_job(stores, release, f"user/{minutes}", minutes)
    database = stores.databases.queue
    database.command("profile", 2)
    try:
        reader.oldest_waiting()
    finally:
        database.command("profile", 0)
        profiled = list(database["system.profile"].find({"command.find": JOBS}))
        database.drop_collection("system.profile")

    assert len(profiled) == len(Priority)
    assert sum(each["keysExamined"] for each in profiled) <= len(Priority)
    assert not any(each.get("hasSortStage") for each in profiled)


def test_the_rate_limited_datasets_are_counted_and_the_first_named(
    stores: Stores, reader: QueueReader
) -> None:
    blockages = [
        {"dataset": f"user/{number}", "blocked_at": NOON + number * MINUTE}
        for number in reversed(range(BLOCKED_NAMED + 5))
    ]
    stores.databases.queue[BLOCKAGES].insert_many(blockages)

    found = reader.blockages()

    assert found.datasets == BLOCKED_NAMED + 5
    assert [each.dataset for each in found.first] == [f"user/{number}" for number in range(BLOCKED_NAMED)]
    assert found.first[0].ends_at == NOON.replace(tzinfo=UTC) + BLOCKED_FOR


def test_without_rate_limited_datasets_there_is_nothing_to_name(reader: QueueReader) -> None:
    assert reader.blockages() == Blockages(0)
