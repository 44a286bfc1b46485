"""The record of the removals: which datasets were removed when, and of which something may be left.

It is what limits the removals of a day, over all runs, and what lets a later run finish a removal that was
cut short when the cache no longer knew the dataset.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from bson import ObjectId
from pymongo import UpdateMany, UpdateOne
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern

from include.databases.mongo import Session, in_transaction
from include.databases.restores import Restores
from include.databases.right_to_write import UNRESTRICTED, RightToWrite

Document = dict[str, Any]

COLLECTION = "removals"
#: The limit is for so long. The times are those of the database's clock.
A_DAY = timedelta(days=1)
KEPT_FOR = timedelta(days=90)

_MILLISECONDS = int(A_DAY / timedelta(milliseconds=1))
_BEGUN_TODAY = {"$gt": ["$begun_at", {"$subtract": ["$$NOW", _MILLISECONDS]}]}
#: Selects the documents of the datasets whose removal or rebuild began in the last 24 hours.
BEGUN_IN_A_DAY: Document = {"finished": {"$in": [True, False]}, "$expr": _BEGUN_TODAY}
#: The document that each transaction changes which counts the removals. All others are of a dataset.
_GATE = {"_id": 0}


@dataclass(frozen=True, slots=True)
class Removal:
    """The last removal of a dataset, or its last rebuild.

    :param begun_at: in UTC, by the database's clock.
    :param finished: whether nothing is left of the dataset.
    """

    begun_at: datetime
    reason: str
    run: str
    finished: bool


class RemovalLedger:
    """Keeps a document for each dataset that was removed, with the last time and the reason.

    :param database: the database ``datasets_server_airflow``.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._client = database.client
        self._removals = database.get_collection(COLLECTION, write_concern=WriteConcern("majority"))
        self._restores = Restores(database)

    def create_indexes(self) -> None:
        """Create the indexes that do not exist."""
        self._removals.create_index([("finished", 1), ("begun_at", 1)])
        self._removals.create_index(
            "begun_at",
            expireAfterSeconds=int(KEPT_FOR.total_seconds()),
            partialFilterExpression={"finished": True},
        )

    def begin(
        self, run: str, reasons: Mapping[str, str], limit: int, right: RightToWrite = UNRESTRICTED
    ) -> list[str]:
        """Write down that datasets are removed from now on, as many as the limit of the day lets.

        A dataset that was written down less than a day ago, or whose removal is unfinished, is not counted
        again.

        :param run: any text that no other run has.
        :param reasons: by name; the first ones have precedence.
        :param limit: the maximum number of datasets whose removal has begun in a day, over all runs.
        :param right: checked in the transaction.
        :return: the datasets to remove, in their order.
        :raises ServiceError: if the right is lost.
        """
        return self._take(run, reasons, limit, right, finished=False)

    def count_rebuilds(
        self, run: str, reasons: Mapping[str, str], limit: int, right: RightToWrite = UNRESTRICTED
    ) -> list[str]:
        """Do as :meth:`begin` for datasets that are rebuilt, which are finished by another record."""
        return self._take(run, reasons, limit, right, finished=True)

    def finish(self, names: Collection[str], right: RightToWrite = UNRESTRICTED) -> None:
        """Write down that nothing is left of datasets.

        :param right: checked in the transaction.
        :raises ServiceError: if the right is lost: another run may have begun to remove them again.
        """

        def finish(session: Session) -> None:
            self._cross_off(names, session)
            self._restores.forget(names, session)  # of a dataset whose removal was cut short

        if names:
            in_transaction(self._client, finish, right)

    def spare(self, names: Collection[str], right: RightToWrite = UNRESTRICTED) -> None:
        """Write down that datasets stay after all, whose removal was cut short.

        :param right: checked in the transaction.
        :raises ServiceError: if the right is lost.
        """
        if names:
            in_transaction(self._client, partial(self._cross_off, names), right)

    def unfinished(self) -> dict[str, str]:
        """Return the datasets of which something may be left, with the reasons for their removal."""
        found = self._removals.find({"finished": False}).sort("begun_at")
        return {document["_id"]: document["reason"] for document in found}

    def of(self, dataset: str) -> Removal | None:
        """Return the last removal of a dataset; None if there was none in ``KEPT_FOR``."""
        found = self._removals.find_one({"_id": dataset})
        if found is None:
            return None
        return Removal(
            found["begun_at"].replace(tzinfo=UTC), found["reason"], found["run"], found["finished"]
        )

    def begun_in_a_day(self, session: Session = None) -> int:
        """Return how many datasets were removed in the last 24 hours, rebuilds included."""
        return self._removals.count_documents(BEGUN_IN_A_DAY, session=session)

    def _cross_off(self, names: Collection[str], session: Session) -> None:
        these = {"_id": {"$in": list(names)}}
        self._removals.update_many(these, {"$set": {"finished": True}}, session=session)

    def _take(
        self, run: str, reasons: Mapping[str, str], limit: int, right: RightToWrite, *, finished: bool
    ) -> list[str]:
        if not reasons:
            return []
        take = partial(self._take_some, run, reasons, limit, finished)
        try:
            return in_transaction(self._client, take, right)
        except DuplicateKeyError:  # Another task has made the gate at the same time: now it is there.
            return in_transaction(self._client, take, right)

    def _take_some(
        self, run: str, reasons: Mapping[str, str], limit: int, finished: bool, session: Session
    ) -> list[str]:
        # Two tasks that count at the same time must not both take what is left: MongoDB lets only one of two
        # transactions commit that change the same document.
        self._removals.update_one(_GATE, {"$set": {"passed": ObjectId()}}, upsert=True, session=session)
        known = {
            "_id": {"$in": list(reasons)},
            "$or": [{"finished": False}, {"finished": True, "$expr": _BEGUN_TODAY}],
        }
        counted = {document["_id"] for document in self._removals.find(known, {"_id": 1}, session=session)}
        room = max(0, limit - self.begun_in_a_day(session))
        new = [name for name in reasons if name not in counted][:room]
        writes: list[UpdateOne | UpdateMany] = [
            UpdateOne({"_id": name}, _first_time(run, reasons[name], finished=finished), upsert=True)
            for name in new
        ]
        again = {"_id": {"$in": sorted(counted)}}
        self._removals.bulk_write(
            [UpdateMany(again, {"$set": {"finished": finished}}), *writes], session=session
        )
        taken = counted.union(new)
        self._restores.forget(taken, session)
        return [name for name in reasons if name in taken]


def _first_time(run: str, reason: str, *, finished: bool) -> list[Document]:
    texts = {"run": {"$literal": run}, "reason": {"$literal": reason}}
    return [{"$set": {**texts, "finished": finished, "begun_at": "$$NOW"}}]
