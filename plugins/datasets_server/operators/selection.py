"""Which datasets a run selects, and which times it covers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from datasets_server.console_link import ConsoleLink
from datasets_server.operators.waiting import WaitingOperator
from include.databases.selection import Selection
from include.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Context

#: From the first time, included, to the second, excluded. None is no bound.
Interval = tuple[datetime | None, datetime | None]


def covered_interval(context: Context, *run_types: str) -> Interval | None:
    """Return the data interval of a run of one of these types, None for any other run.

    A run of the type ``backfill`` is one of Airflow's backfill by date range, and covers nothing but its data
    interval. Whether a ``scheduled`` run covers nothing else depends on the action.
    """
    run = context["dag_run"]
    return (run.data_interval_start, run.data_interval_end) if run.run_type in run_types else None


def utc_time(value: datetime | str | None) -> datetime | None:
    """Return a time with its zone, UTC if it has none; None for an empty value.

    :raises ConfigurationError: if a text is not a time in ISO 8601.
    """
    if not value:
        return None
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except ValueError as error:
        raise ConfigurationError(
            f"{value!r} is not a valid time: write it as 2026-01-31T18:00:00."
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


class SelectingOperator(WaitingOperator):
    """Base class of the operators that work on the datasets that a run selects.

    In Airflow's backfill by date range, the data interval of the run replaces ``updated_from`` and
    ``updated_to``.

    :param datasets: names or shell wildcards; empty for all. (templated)
    :param updated_from: select the datasets with an entry updated at this time or later (ISO 8601, UTC if it
        has no zone). (templated)
    :param updated_to: select the datasets with an entry updated before this time. (templated)
    """

    template_fields: Sequence[str] = ("datasets", "updated_from", "updated_to")
    operator_extra_links = (ConsoleLink(),)

    def __init__(
        self,
        *,
        datasets: Sequence[str] | str | None,
        updated_from: datetime | str | None,
        updated_to: datetime | str | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.datasets = datasets
        self.updated_from = updated_from
        self.updated_to = updated_to

    def interval(self, context: Context) -> Interval:
        """Return the times between which the entry must have been updated.

        :raises ConfigurationError: if a time is not valid.
        """
        covered = covered_interval(context, "backfill")
        return covered or (utc_time(self.updated_from), utc_time(self.updated_to))

    def selection(self, context: Context) -> Selection:
        """Return which datasets the run selects.

        :raises ConfigurationError: if a time is not valid, or the times are in the wrong order.
        """
        updated_from, updated_to = self.interval(context)
        if updated_from and updated_to and updated_from >= updated_to:
            raise ConfigurationError(
                f"updated_from ({updated_from}) must be before updated_to ({updated_to})."
            )
        return Selection(tuple(self.datasets or ()), updated_from, updated_to)
