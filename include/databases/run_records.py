"""What is kept of the runs of a DAG from one run to the next: how long ago a good run was, and who waited.

The runs of all Airflows on the same databases count together. All times come from the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import ReturnDocument
from pymongo.database import Database

Document = dict[str, Any]

COLLECTION = "runRecords"
TIME_BETWEEN_NOTICES = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Watch:
    """How long ago the last good run of a DAG was.

    :param last_good_run: when it ended (UTC); None if there was none yet.
    :param is_overdue: whether it was too long ago.
    :param is_notice_due: whether operators are to be told now.
    """

    last_good_run: datetime | None
    is_overdue: bool
    is_notice_due: bool


class RunRecords:
    """The records of one DAG: a document in our own database.

    :param database: the database ``datasets_server_airflow``. A ``run`` is any text that no other run
        has, not even of another Airflow.
    """

    def __init__(self, database: Database[Document], dag_id: str) -> None:
        self._records = database[COLLECTION]
        self._this = {"_id": dag_id}

    def note_waiting(self, run: str, work: str) -> int:
        """Note that a run waits for another one or is skipped.

        :param work: what the other one does: the name of its lease.
        :return: how many runs in a row did so, with this one; 0 if this run was noted before.
        """
        noted = {"$eq": ["$waiting_run", {"$literal": run}]}
        one_more = {"$add": [{"$ifNull": ["$waiting_in_a_row", 0]}, 1]}
        before: Document = (
            self._records.find_one_and_update(
                self._this,
                [
                    {
                        "$set": {
                            "waiting_in_a_row": {"$cond": [noted, "$waiting_in_a_row", one_more]},
                            "waiting_run": {"$literal": run},
                            "waiting_for": {"$literal": work},
                            "waiting_since": {"$cond": [noted, "$waiting_since", "$$NOW"]},
                        }
                    }
                ],
                upsert=True,
                return_document=ReturnDocument.BEFORE,
            )
            or {}
        )
        if before.get("waiting_run") == run:
            return 0
        return int(before.get("waiting_in_a_row", 0)) + 1

    def note_turn(self, run: str) -> None:
        """Note that a run works. If it has not waited before, it ends the row of those that waited."""
        this_waited = {"$eq": ["$waiting_run", {"$literal": run}]}
        row = {
            field: {"$cond": [this_waited, f"${field}", "$$REMOVE"]}
            for field in ("waiting_run", "waiting_in_a_row")
        }
        self._records.update_one(
            {**self._this, "waiting_run": {"$exists": True}},
            [{"$set": row}, {"$unset": ["waiting_for", "waiting_since"]}],
        )

    def note_good_run(self) -> None:
        """Note that a good run has ended just now."""
        self._records.update_one(
            self._this, [{"$set": {"last_good_run": "$$NOW"}}, {"$unset": "notice_at"}], upsert=True
        )

    def watch(self, longest: timedelta) -> Watch:
        """Look whether the last good run is longer ago than ``longest``. The first look counts as a good run.

        A notice is due at once, and then once in ``TIME_BETWEEN_NOTICES`` until the next good run. The caller
        that is told so has to send it.
        """
        since = {"$ifNull": ["$last_good_run", "$watched_since"]}
        is_overdue = {"$lt": [since, _ago(longest)]}
        was_told = {"$gt": ["$notice_at", _ago(TIME_BETWEEN_NOTICES)]}
        record: Document = (
            self._records.find_one_and_update(
                self._this,
                [
                    {"$set": {"watched_since": {"$ifNull": ["$watched_since", "$$NOW"]}}},
                    {"$set": {"is_overdue": is_overdue}},
                    {"$set": {"is_notice_due": {"$and": ["$is_overdue", {"$not": [was_told]}]}}},
                    {"$set": {"notice_at": {"$cond": ["$is_notice_due", "$$NOW", "$notice_at"]}}},
                ],
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
            or {}
        )
        at = record.get("last_good_run")
        return Watch(at and at.replace(tzinfo=UTC), record["is_overdue"], record["is_notice_due"])

    def forget_notice(self) -> None:
        """Let the next look find a notice due again, because this one could not be sent."""
        self._records.update_one(self._this, {"$unset": {"notice_at": True}})


def _ago(time: timedelta) -> Document:
    return {"$subtract": ["$$NOW", int(time.total_seconds() * 1_000)]}
