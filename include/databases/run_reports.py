"""The reports of runs, kept in our own database: what each run did, for whoever looks at it later.

A run that dies before its report, or that is skipped, has none. A run that is cleared and ends again has two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from pymongo import DESCENDING
from pymongo.database import Database

Document = dict[str, Any]

COLLECTION = "runReports"
KEPT_FOR = timedelta(days=90)
#: Of each list in a report.
LINES_KEPT = 3


class Outcome(StrEnum):
    """How a run ended."""

    SUCCESS = "success"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did, or in a dry run would have done.

    :param action: its DAG.
    :param run_id: as Airflow names it. A run of another Airflow may have the same.
    :param started_at: by Airflow's clock (UTC); None if it is not known.
    :param ended_at: by the database's clock (UTC).
    :param covers_everything: whether the run covered all that its action is for, not a part.
    :param figures: the numbers of the report, and of each list of texts the first ones.
    """

    action: str
    run_id: str
    started_at: datetime | None
    ended_at: datetime
    outcome: Outcome
    dry_run: bool
    covers_everything: bool
    figures: Mapping[str, Any]

    @property
    def run_name(self) -> str:
        """What people call the run."""
        return f"{self.action} {self.run_id}"

    def figure(self, *path: str) -> int:
        """Return a number of the report, as ``figure("jobs", "created")``; 0 if it has no such number."""
        value: Any = self.figures
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value if isinstance(value, int) else 0

    @classmethod
    def from_document(cls, document: Document) -> Self:
        """Read a report."""
        started_at = document["started_at"]
        return cls(
            action=document["action"],
            run_id=document["run_id"],
            started_at=started_at and started_at.replace(tzinfo=UTC),
            ended_at=document["ended_at"].replace(tzinfo=UTC),
            outcome=Outcome(document["outcome"]),
            dry_run=document["dry_run"],
            covers_everything=document["covers_everything"],
            figures=document["figures"],
        )


class RunReports:
    """Keeps the reports of runs.

    :param database: the database ``datasets_server_airflow``.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._database = database
        self._reports = database[COLLECTION]

    def create_indexes(self) -> None:
        """Create the indexes that do not exist."""
        self._reports.create_index([("action", 1), ("ended_at", DESCENDING)])
        self._reports.create_index("ended_at", expireAfterSeconds=int(KEPT_FOR.total_seconds()))

    def add(
        self,
        action: str,
        run_id: str,
        started_at: datetime | None,
        report: Mapping[str, Any],
        *,
        succeeded: bool,
        covers_everything: bool = False,
    ) -> None:
        """Add the report of a run that ends now.

        :param report: a JSON object with ``dry_run``.
        """
        self._reports.insert_one(
            {
                "action": action,
                "run_id": run_id,
                "started_at": started_at,
                "ended_at": self._database.client.admin.command("hello")["localTime"],
                "outcome": Outcome.SUCCESS if succeeded else Outcome.FAILED,
                "dry_run": report["dry_run"],
                "covers_everything": covers_everything,
                "figures": _shortened({name: part for name, part in report.items() if name != "dry_run"}),
            }
        )


def _shortened(value: Any) -> Any:  # noqa: ANN401 (a part of a report)
    if isinstance(value, Mapping):
        return {name: _shortened(part) for name, part in value.items()}
    return value[:LINES_KEPT] if isinstance(value, list) else value
