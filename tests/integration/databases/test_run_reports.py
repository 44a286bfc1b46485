"""The reports of runs, on a real MongoDB."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.databases.own_reader import OwnReader
from include.databases.run_reports import COLLECTION, KEPT_FOR, LINES_KEPT, Outcome, RunReports
from tests.conftest import Databases

BEFORE = datetime.now(UTC) - timedelta(minutes=1)
REPORT = {
    "dry_run": False,
    "duration_seconds": 12.5,
    "datasets": {"backfilled": 3, "removed": 1},
    "jobs": {"created": 10, "deleted": 0},
    "counted": {"cache.entries": 5},
    "error_sample": ["a: b"] * (LINES_KEPT + 5),
}


@pytest.fixture
def reports(databases: Databases) -> RunReports:
    return RunReports(databases.maintenance)


@pytest.fixture
def reader(databases: Databases) -> OwnReader:
    return OwnReader(databases.maintenance)


def test_a_report_comes_back_with_the_first_lines_of_its_samples(
    reports: RunReports, reader: OwnReader
) -> None:
    reports.add("backfill", "manual__1", BEFORE, REPORT, succeeded=True, covers_everything=True)

    found = reader.last_report("backfill")

    assert found is not None
    assert (found.run_name, found.outcome, found.dry_run) == ("backfill manual__1", Outcome.SUCCESS, False)
    assert found.covers_everything
    assert found.started_at == BEFORE.replace(microsecond=BEFORE.microsecond // 1_000 * 1_000)
    assert BEFORE < found.ended_at < datetime.now(UTC) + timedelta(minutes=1)
    assert found.figures == {
        "duration_seconds": 12.5,
        "datasets": {"backfilled": 3, "removed": 1},
        "jobs": {"created": 10, "deleted": 0},
        "counted": {"cache.entries": 5},
        "error_sample": ["a: b"] * LINES_KEPT,
    }


@pytest.mark.parametrize(
    ("path", "number"),
    [(("jobs", "created"), 10), (("jobs", "unknown"), 0), (("unknown", "created"), 0), (("jobs",), 0)],
)
def test_a_number_of_a_report_is_zero_where_it_has_none(
    reports: RunReports, reader: OwnReader, path: tuple[str, ...], number: int
) -> None:
    reports.add("backfill", "manual__1", None, REPORT, succeeded=True)

    found = reader.last_report("backfill")

    assert found is not None
    assert found.figure(*path) == number


def test_the_last_report_is_of_no_dry_run(reports: RunReports, reader: OwnReader) -> None:
    reports.add("backfill", "first", None, REPORT, succeeded=True, covers_everything=True)
    reports.add("backfill", "of a part", None, REPORT, succeeded=True)
    reports.add("backfill", "failed", None, REPORT, succeeded=False, covers_everything=True)
    reports.add("backfill", "dry", None, REPORT | {"dry_run": True}, succeeded=True, covers_everything=True)
    reports.add("another", "last", None, REPORT, succeeded=True, covers_everything=True)

    last, whole = reader.last_report("backfill"), reader.last_whole_report("backfill")

    assert last is not None
    assert whole is not None
    assert (last.run_id, last.outcome) == ("failed", Outcome.FAILED)
    assert whole.run_id == "first"
    assert reader.last_report("none") is reader.last_whole_report("none") is None


def test_reports_expire(reports: RunReports, databases: Databases) -> None:
    reports.create_indexes()
    reports.create_indexes()

    indexes = databases.maintenance[COLLECTION].index_information()

    assert indexes["ended_at_1"]["expireAfterSeconds"] == KEPT_FOR.total_seconds()
    assert "action_1_ended_at_-1" in indexes


def test_the_changes_by_runs_are_the_newest_that_changed_something(
    reports: RunReports, reader: OwnReader, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.databases.own_reader.POINTS", 2)
    nothing: dict[str, Any] = {"jobs": {"created": 0, "deleted": 0}, "datasets": {"removed": 0}}
    for number, changes in enumerate(
        (
            {"jobs": {"created": 9}},
            {"jobs": {"deleted": 1}},
            nothing,
            {"datasets": {"removed": 1}},
            {"jobs": {"created": 1}, "dry_run": True},
        )
    ):
        reports.add("backfill", str(number), None, {"dry_run": False} | nothing | changes, succeeded=True)
    reports.add("another", "other", None, REPORT, succeeded=True)

    found = reader.changes_by_runs(["backfill", "backfill-retryable-errors"], BEFORE)

    assert [report.run_id for report in found] == ["3", "1"]
    assert reader.changes_by_runs(["backfill"], datetime.now(UTC) + timedelta(hours=1)) == []
