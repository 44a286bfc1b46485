"""What is kept of the runs of a DAG from one run to the next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.databases.run_records import COLLECTION, RunRecords, Watch
from tests.conftest import Databases

DAY = timedelta(hours=26)


@pytest.fixture
def records(databases: Databases) -> RunRecords:
    return RunRecords(databases.maintenance, "backfill")


def go_back(databases: Databases, field: str, time: timedelta) -> None:
    """Let something have happened earlier."""
    change = {"$set": {field: {"$subtract": [f"${field}", int(time.total_seconds() * 1_000)]}}}
    assert databases.maintenance[COLLECTION].update_one({field: {"$type": "date"}}, [change]).modified_count


def test_runs_that_wait_are_counted_each_once(records: RunRecords) -> None:
    counts = [records.note_waiting(run, "work") for run in ("one", "two", "two", "two", "three")]

    assert counts == [1, 2, 0, 0, 3]


def test_a_run_that_gets_its_turn_at_once_ends_the_row(records: RunRecords) -> None:
    records.note_waiting("one", "work")
    records.note_waiting("two", "work")

    records.note_turn("three")

    assert records.note_waiting("four", "work") == 1


def test_a_run_that_gets_its_turn_after_it_waited_does_not_end_the_row(records: RunRecords) -> None:
    records.note_waiting("one", "work")
    records.note_waiting("two", "work")

    records.note_turn("two")

    assert records.note_waiting("three", "work") == 3


def test_each_dag_has_its_own_row(databases: Databases, records: RunRecords) -> None:
    others = RunRecords(databases.maintenance, "backfill-retryable-errors")
    records.note_waiting("one", "work")
    others.note_turn("two")

    assert records.note_waiting("three", "work") == 2
    assert others.note_waiting("four", "work") == 1


def test_a_run_may_be_named_like_a_field(records: RunRecords) -> None:
    assert [records.note_waiting("$_id", "work"), records.note_waiting("$_id", "work")] == [1, 0]


def test_the_first_look_finds_nothing_overdue(records: RunRecords) -> None:
    assert records.watch(DAY) == records.watch(DAY) == Watch(None, is_overdue=False, is_notice_due=False)


def test_without_any_good_run_it_is_overdue_a_while_after_the_first_look(
    records: RunRecords, databases: Databases
) -> None:
    records.watch(DAY)
    go_back(databases, "watched_since", DAY)

    assert records.watch(DAY) == Watch(None, is_overdue=True, is_notice_due=True)


def test_a_good_run_is_noted_by_the_clock_of_the_database(records: RunRecords) -> None:
    records.note_good_run()

    watch = records.watch(DAY)

    assert not watch.is_overdue
    assert watch.last_good_run is not None
    assert abs(datetime.now(UTC) - watch.last_good_run) < timedelta(minutes=1)


def test_an_overdue_run_is_a_notice_once_a_day_until_the_next_good_run(
    records: RunRecords, databases: Databases
) -> None:
    records.note_good_run()
    go_back(databases, "last_good_run", DAY)

    assert [records.watch(DAY).is_notice_due for _ in range(3)] == [True, False, False]
    go_back(databases, "notice_at", timedelta(days=1))
    assert [records.watch(DAY).is_notice_due for _ in range(3)] == [True, False, False]

    records.note_good_run()
    assert not records.watch(DAY).is_overdue
    go_back(databases, "last_good_run", DAY)
    assert records.watch(DAY).is_notice_due


def test_a_notice_that_could_not_be_sent_is_due_again(records: RunRecords, databases: Databases) -> None:
    records.note_good_run()
    go_back(databases, "last_good_run", DAY)
    assert records.watch(DAY).is_notice_due

    records.forget_notice()

    assert records.watch(DAY).is_notice_due
