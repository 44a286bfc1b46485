"""What the console reads of our own database, on a real MongoDB."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.databases import own_reader
from include.databases.lease import Lease
from include.databases.maintenance_store import METRICS_HISTORY, MaintenanceStore
from include.databases.own_reader import ENTRIES, JOBS, Counted, Holder, OwnReader, Record, Removals, Span
from tests.conftest import Databases

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = Span(NOW - 24 * HOUR, NOW)


@pytest.fixture
def reader(databases: Databases) -> OwnReader:
    return OwnReader(databases.maintenance)


def add_entries(databases: Databases, at: datetime, *rows: tuple[str, int, str | None, int]) -> None:
    counts = [
        {"name": "cache.entries", "kind": kind, "http_status": status, "error_code": code, "count": count}
        for kind, status, code, count in rows
    ]
    add(databases, "collect-cache-metrics", at, counts)


def add_jobs(databases: Databases, at: datetime, waiting: int, light: int = 0) -> None:
    counts = [
        {"name": "queue.jobs", "job_type": "a", "status": "waiting", "count": waiting},
        {"name": "queue.jobs", "job_type": "b", "status": "waiting", "count": 1},
        {"name": "queue.jobs_by_worker_size", "worker_size": "light", "count": light},
    ]
    add(databases, "collect-queue-metrics", at, counts)


def add(databases: Databases, action: str, at: datetime, counts: list[dict[str, Any]]) -> None:
    document = {"action": action, "collected_at": at, "counts": counts}
    databases.maintenance[METRICS_HISTORY].insert_one(document)


def test_entries_over_time_add_up_by_status_class_and_code(databases: Databases, reader: OwnReader) -> None:
    rows = (("a", 200, None, 5), ("b", 200, None, 6), ("a", 500, "E", 1), ("b", 501, "E", 2))
    add_entries(databases, NOW - 2 * HOUR, *rows, ("a", 404, "F", 4))
    add_entries(databases, NOW - 1 * HOUR, ("a", 200, None, 7))
    add_entries(databases, NOW, ("a", 200, None, 8))
    add_jobs(databases, NOW - HOUR, 1)

    assert reader.entries_over_time(["E"], DAY) == [
        Counted(NOW - 2 * HOUR, {(2, None): 11, (5, "E"): 3, (4, None): 4}),
        Counted(NOW - 1 * HOUR, {(2, None): 7}),
    ]


def test_jobs_over_time_add_up_by_status_and_by_worker_size(databases: Databases, reader: OwnReader) -> None:
    add_jobs(databases, NOW - 24 * HOUR, 4, light=3)
    add_jobs(databases, NOW - 25 * HOUR, 9)

    found = reader.jobs_over_time(DAY)

    assert found == [Counted(NOW - 24 * HOUR, {("waiting", None): 5, (None, "light"): 3})]


def test_a_collection_of_nothing_is_a_collection_of_zeros(databases: Databases, reader: OwnReader) -> None:
    add(databases, "collect-queue-metrics", NOW - HOUR, [])

    assert reader.jobs_over_time(DAY) == [Counted(NOW - HOUR, {})]


def test_a_long_history_is_thinned_out_evenly(
    databases: Databases, reader: OwnReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_reader, "POINTS", 6)
    for minutes in range(0, 24 * 60, 10):
        add_jobs(databases, NOW - timedelta(minutes=minutes + 10), minutes)

    found = reader.jobs_over_time(DAY)

    # The last one of each four hours.
    assert [each.at for each in found] == [
        NOW - timedelta(minutes=10) - hours * HOUR for hours in (20, 16, 12, 8, 4, 0)
    ]


def test_the_index_alone_tells_what_a_thinned_out_history_has(
    databases: Databases, reader: OwnReader
) -> None:
    MaintenanceStore(databases.maintenance).create_indexes()
    for minutes in range(100):
        add_jobs(databases, NOW - timedelta(minutes=minutes), minutes)
    database = databases.maintenance
    database.command("profile", 2)
    try:
        reader._times(JOBS, DAY)
    finally:
        database.command("profile", 0)
        [profiled] = database["system.profile"].find({"command.aggregate": METRICS_HISTORY})
        database.drop_collection("system.profile")

    assert (profiled["docsExamined"], profiled["keysExamined"] <= 101) == (0, True)


def test_the_errors_before_are_the_last_ones_that_are_old_enough(
    databases: Databases, reader: OwnReader
) -> None:
    add_entries(databases, NOW - 30 * HOUR, ("a", 500, "E", 1))
    add_entries(databases, NOW - 25 * HOUR, ("a", 200, None, 9), ("a", 500, "E", 2), ("a", 404, None, 3))
    add_entries(databases, NOW - 23 * HOUR, ("a", 500, "E", 4))

    found = reader.errors_before(NOW - 24 * HOUR, NOW - 48 * HOUR)

    assert found == Counted(NOW - 25 * HOUR, {("a", "E"): 2, ("a", None): 3})


def test_without_old_errors_there_are_none_before(databases: Databases, reader: OwnReader) -> None:
    add_entries(databases, NOW - 49 * HOUR, ("a", 500, "E", 1))
    add_entries(databases, NOW - 23 * HOUR, ("a", 500, "E", 4))

    assert reader.errors_before(NOW - 24 * HOUR, NOW - 48 * HOUR) is None


def test_it_is_known_when_was_counted_last(databases: Databases, reader: OwnReader) -> None:
    assert reader.last_counted_at(ENTRIES) is None
    add_entries(databases, NOW, ("a", 200, None, 9))
    add_entries(databases, NOW - HOUR, ("a", 200, None, 9))

    assert reader.last_counted_at(ENTRIES) == NOW
    assert reader.last_counted_at(JOBS) is None


def test_the_run_that_holds_a_lease_is_named_as_long_as_it_lasts(
    databases: Databases, reader: OwnReader
) -> None:
    Lease(databases.maintenance, "backfill", "token", run_name="backfill manual__1").acquire()
    Lease(databases.maintenance, "other", "token").acquire(-HOUR)

    assert reader.holders() == [Holder("backfill", "token", "backfill manual__1")]


def test_a_record_tells_who_waits_for_which_work(databases: Databases, reader: OwnReader) -> None:
    records = MaintenanceStore(databases.maintenance).run_records("backfill-retryable-errors")
    records.note_waiting("one", "backfill")
    records.note_waiting("two", "backfill")

    [record] = reader.records()

    assert (record.dag_id, record.waiting_run, record.waiting_for) == (
        "backfill-retryable-errors",
        "two",
        "backfill",
    )
    assert record.waiting_in_a_row == 2
    assert record.waiting_since is not None
    assert abs(record.waiting_since - datetime.now(UTC)) < timedelta(minutes=1)
    assert record.last_good_run is None


def test_a_run_that_gets_its_turn_waits_no_longer(databases: Databases, reader: OwnReader) -> None:
    records = MaintenanceStore(databases.maintenance).run_records("backfill")
    records.note_waiting("one", "backfill")
    records.note_turn("one")
    records.note_good_run()

    [record] = reader.records()

    assert (record.waiting_for, record.waiting_since, record.waiting_in_a_row) == (None, None, 1)
    assert record.last_good_run is not None
    records.note_turn("two")
    assert reader.records() == [Record("backfill", record.last_good_run, None, None, None, 0)]


def test_removals_of_a_day_and_unfinished_ones_are_counted(databases: Databases, reader: OwnReader) -> None:
    ledger = MaintenanceStore(databases.maintenance).removal_ledger()
    ledger.begin("run", dict.fromkeys(("a", "b", "c"), "it is gone"), limit=10)
    ledger.finish(["a"])
    databases.maintenance["removals"].update_one({"_id": "b"}, {"$set": {"begun_at": NOW - 300 * HOUR}})

    assert reader.removals() == Removals(begun_in_a_day=2, unfinished=2)


def test_the_last_look_is_that_of_the_cache(databases: Databases, reader: OwnReader) -> None:
    proofs = MaintenanceStore(databases.maintenance).proofs("cache")
    proofs.note_look(NOW)
    proofs.note_all_read()

    look = reader.last_look("cache")

    assert look is not None
    assert look.begun_at == look.all_read_at == NOW
    assert reader.last_look("other") is None
