"""Which datasets a run selects, and which times it covers, by its type and its parameters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Context

from datasets_server.operators.backfill import CachedDatasetsOperator
from datasets_server.operators.post_messages import PostMessagesOperator
from datasets_server.operators.selection import SelectingOperator, covered_interval, utc_time
from include.databases.selection import Selection
from include.errors import ConfigurationError
from tests.dags.conftest import RELEASE

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
FROM, TO = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC)
RUN_AFTER = datetime(2026, 1, 3, tzinfo=UTC)
DAY = timedelta(days=1)


def context(run_type: str) -> Context:
    start, end = (None, None) if run_type == "manual" else (START, END)
    run = SimpleNamespace(
        run_type=run_type, data_interval_start=start, data_interval_end=end, run_after=RUN_AFTER
    )
    return cast("Context", {"dag_run": run})


def selecting(**arguments: Any) -> SelectingOperator:
    given = {"datasets": [], "updated_from": None, "updated_to": None} | arguments
    return SelectingOperator(task_id="select", **given)


def posting(**arguments: Any) -> PostMessagesOperator:
    given = {"datasets": [], "updated_from": None, "updated_to": None} | arguments
    return PostMessagesOperator(task_id="post", max_messages=None, preview=False, error_limit=0, **given)


@pytest.mark.parametrize(
    ("run_type", "run_types", "expected"),
    [
        ("backfill", ("backfill",), (START, END)),
        ("scheduled", ("backfill",), None),
        ("scheduled", ("scheduled", "backfill"), (START, END)),
        ("manual", ("scheduled", "backfill"), None),
    ],
)
def test_only_a_run_of_a_given_type_covers_its_data_interval(
    run_type: str, run_types: tuple[str, ...], expected: Any
) -> None:
    assert covered_interval(context(run_type), *run_types) == expected


def test_the_types_of_airflow_count_too() -> None:
    from airflow.utils.types import DagRunType

    run = context("backfill")
    run["dag_run"].run_type = cast("Any", DagRunType.BACKFILL_JOB)

    assert covered_interval(run, "backfill") == (START, END)


@pytest.mark.parametrize(
    ("run_type", "expected"), [("backfill", (START, END)), ("scheduled", (FROM, TO)), ("manual", (FROM, TO))]
)
def test_a_backfill_covers_its_interval_only_in_a_backfill_by_date_range(
    run_type: str, expected: tuple[datetime, datetime]
) -> None:
    selection = selecting(updated_from="2025-01-01", updated_to=TO).selection(context(run_type))

    assert selection == Selection((), *expected)


def test_a_run_without_parameters_selects_everything() -> None:
    assert selecting().selection(context("manual")).is_everything
    assert selecting(datasets=None).selection(context("scheduled")).is_everything
    assert not selecting(datasets=["org/*"]).selection(context("scheduled")).is_everything


@pytest.mark.parametrize(
    ("run_type", "arguments", "expected"),
    [
        ("scheduled", {"updated_from": FROM, "updated_to": TO}, (START, END)),
        ("backfill", {"updated_from": FROM, "updated_to": TO}, (START, END)),
        ("manual", {"updated_from": FROM, "updated_to": TO}, (FROM, TO)),
        ("manual", {"updated_from": FROM}, (FROM, RUN_AFTER)),
        ("manual", {"updated_to": TO}, (TO - DAY, TO)),
        ("manual", {}, (RUN_AFTER - DAY, RUN_AFTER)),
    ],
)
def test_post_messages_covers_its_interval_the_given_times_or_the_last_day(
    run_type: str, arguments: dict[str, datetime], expected: tuple[datetime, datetime]
) -> None:
    assert posting(**arguments).selection(context(run_type)) == Selection((), *expected)


@pytest.mark.parametrize("updated_to", [FROM, FROM - DAY])
def test_times_in_the_wrong_order_are_an_error(updated_to: datetime) -> None:
    with pytest.raises(ConfigurationError, match=r"updated_from \(2025-01-01.*\) must be before updated_to"):
        selecting(updated_from=FROM, updated_to=updated_to).selection(context("manual"))


def test_post_messages_refuses_times_after_the_run() -> None:
    with pytest.raises(ConfigurationError, match="must be before updated_to"):
        posting(updated_from=RUN_AFTER + DAY).selection(context("manual"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2025-01-01", FROM),
        ("2025-01-01T00:00:00", FROM),
        ("2025-01-01T01:00:00+01:00", FROM),
        (FROM, FROM),
        (FROM.replace(tzinfo=None), FROM),
        ("", None),
        (None, None),
    ],
)
def test_a_time_without_a_zone_is_in_utc(value: datetime | str | None, expected: datetime | None) -> None:
    assert utc_time(value) == expected


def test_a_text_that_is_not_a_time_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="'yesterday' is not a valid time: write it as 2026-01-31T"):
        utc_time("yesterday")


@pytest.mark.parametrize(
    ("error_codes", "expected"),
    [(None, ()), ([], tuple(RELEASE.max_failed_runs)), (["SomeError"], ("SomeError",))],
)
def test_an_empty_list_of_error_codes_means_those_of_the_release(
    error_codes: list[str] | None, expected: tuple[str, ...]
) -> None:
    operator = CachedDatasetsOperator(
        task_id="select", datasets=["a"], updated_from=None, updated_to=None, error_codes=error_codes
    )

    selection = operator.selection_in(RELEASE, context("manual"))

    assert selection == Selection(("a",), error_codes=expected)
