"""Moving the counts that datasets-server keeps, without ever making its workers wait.

The workers move the same few counts all the time. A transaction that both writes jobs and moves counts would
be aborted again and again, because MongoDB aborts a transaction that touches a document which somebody else
has changed since its first read, and would make the workers wait as long as it lasts. So the transaction that
writes jobs or removes entries only records what it owes to the counts, and very short transactions pay that.
A program that dies in between leaves the record, and the next one pays.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any

from pymongo import UpdateOne
from pymongo.database import Database
from pymongo.errors import PyMongoError

from include.databases.mongo import (
    MAINTENANCE_DATABASE,
    Session,
    in_transaction,
    once_in_transaction,
    retried,
)

Document = dict[str, Any]

COLLECTION = "owedCounts"
#: The same, with the actions that a role of MongoDB must allow.
COLLECTIONS = {COLLECTION: ("find", "insert", "remove")}
RECORDS_AT_A_TIME = 1_000
SECONDS_BETWEEN_PAYMENTS = 5.0


@dataclass(frozen=True, slots=True)
class CountMove:
    """By how much a count is to move: ``field`` of the document with ``key`` in ``collection``."""

    collection: str
    key: Mapping[str, Any]
    field: str
    by: int

    @classmethod
    def from_document(cls, document: Document) -> CountMove:
        """Read a move from a record."""
        return cls(document["collection"], document["key"], document["field"], document["by"])

    @property
    def document(self) -> Document:
        """The move as part of a record."""
        return {"collection": self.collection, "key": dict(self.key), "field": self.field, "by": self.by}

    @property
    def update(self) -> UpdateOne:
        """The write that moves it; a count that is not there yet starts from 0."""
        # With $eq, a malformed value is never taken for an operator.
        key = {name: {"$eq": value} for name, value in self.key.items()}
        # $inc would refuse a count that is no number, and with it all that is owed.
        count = {"$cond": [{"$isNumber": f"${self.field}"}, f"${self.field}", 0]}
        return UpdateOne(key, [{"$set": {self.field: {"$add": [count, self.by]}}}], upsert=True)


def _merged(moves: Iterable[CountMove]) -> list[CountMove]:
    """Return one move for each count, and none for a count that stays as it is."""
    by_count: dict[str, list[CountMove]] = defaultdict(list)
    for move in moves:
        by_count[repr((move.collection, move.field, move.key))].append(move)
    merged = [replace(moves[0], by=sum(move.by for move in moves)) for moves in by_count.values()]
    return [move for move in merged if move.by]


class OwedCounts:
    """What is owed to the counts of a database, on the same deployment of MongoDB as these.

    :param database: the database of datasets-server with the counts.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._database = database
        self._records = database.client[MAINTENANCE_DATABASE][COLLECTION]
        self._paid_at = -inf

    def owe(self, moves: Iterable[CountMove], session: Session) -> None:
        """Record moves, in the transaction that makes them necessary."""
        if merged := _merged(moves):
            self._records.insert_one(self._record(merged), session=session)

    def _record(self, moves: Sequence[CountMove]) -> Document:
        return {"database": self._database.name, "moves": [move.document for move in moves]}

    def pay_soon(self) -> None:
        """Pay, if the last time is ``SECONDS_BETWEEN_PAYMENTS`` ago: for a batch, it would take too long.

        Whoever writes batches pays at the end. If not, as when it is killed, the next program pays.
        """
        if time.monotonic() - self._paid_at >= SECONDS_BETWEEN_PAYMENTS:
            self.pay()

    def pay(self) -> None:
        """Move the counts by all that is owed to them, whoever has recorded it.

        It first tries to pay everything at once. If a worker moves one of the counts at the same moment, it
        pays each count in a transaction of its own, which is so short that it hardly ever meets a worker.
        """
        while records := retried(self._unpaid):
            try:
                once_in_transaction(self._database.client, partial(self._pay, records))
            except PyMongoError as error:
                if error.has_error_label("UnknownTransactionCommitResult"):
                    continue  # If it was committed, its records are gone.
                if not error.has_error_label("TransientTransactionError"):
                    raise
                self._pay_one_by_one(records)
        self._paid_at = time.monotonic()

    def _unpaid(self) -> list[Document]:
        return list(self._records.find({"database": self._database.name}).limit(RECORDS_AT_A_TIME))

    def _pay(self, records: Sequence[Document], session: Session) -> None:
        if not self._take(records, session):
            return
        updates: dict[str, list[UpdateOne]] = defaultdict(list)
        for move in _merged(_moves(records)):
            updates[move.collection].append(move.update)
        for collection, writes in updates.items():
            self._database[collection].bulk_write(writes, session=session)

    def _pay_one_by_one(self, records: Sequence[Document]) -> None:
        for record in in_transaction(self._database.client, partial(self._split, records)):
            in_transaction(self._database.client, partial(self._pay, [record]))

    def _split(self, records: Sequence[Document], session: Session) -> list[Document]:
        """Replace records by one for each count."""
        if not self._take(records, session):
            return []
        split = [self._record([move]) for move in _merged(_moves(records))]
        if split:
            self._records.insert_many(split, session=session)
        return split

    def _take(self, records: Sequence[Document], session: Session) -> bool:
        """Delete records, or nothing if somebody else has paid some of them: then read again what is left."""
        ids = [record["_id"] for record in records]
        taken = self._records.delete_many({"_id": {"$in": ids}}, session=session).deleted_count
        if session is not None and taken != len(ids):
            session.abort_transaction()
            return False
        return True


def _moves(records: Iterable[Document]) -> Iterator[CountMove]:
    for record in records:
        # An earlier version wrote a record for each move.
        yield from map(CountMove.from_document, record.get("moves", [record]))
