"""Stopping the writes of a task that was paused while another run took over its work.

A task may be paused (a frozen container, a suspended machine) between its last look at the lease and its
write, for longer than the lease lasts. So each task that may write has a document in the collection
``writers``, which each of its transactions changes first. A run that takes the lease deletes the documents of
all other runs, in the same transaction. MongoDB never commits two transactions that change the same document
at the same time. Either the other run waits for the write, for at most the minute that MongoDB lets a
transaction live; or the write is aborted, and finds no document when it is tried again. The tasks of one run
have a document each, so they never disturb each other.

This holds for all that a transaction writes on the deployment of MongoDB that has our own database. Elsewhere
(the cache on another deployment, a standalone server without transactions, the storages, the Hub), the task
looks for its document right before each write: there, a pause between the two can still do harm.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import uuid4

from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from include.databases.mongo import Session, retried, same_deployment
from include.errors import ServiceError

Document = dict[str, Any]

COLLECTION = "writers"


class LostRightError(ServiceError):
    """A task has lost its right to write."""

    def __init__(self, reason: object) -> None:
        super().__init__(f"The right to write was lost on the way: {reason}. Nothing more was written.")


class Fence:
    """Lets a task write until another run, or another attempt of the same task, puts up its own fence.

    :param database: the database ``datasets_server_airflow``.
    :param work: the work that one run at a time may do.
    :param run: any text that no other run has.
    :param task: any text that no other task of the run has.
    """

    def __init__(self, database: Database[Document], work: str, run: str, task: str) -> None:
        self._writers = database.get_collection(COLLECTION, write_concern=WriteConcern("majority"))
        self._work = work
        self._run = run
        self._task = task
        self._id = uuid4().hex

    def put_up(self, session: Session) -> None:
        """Let this task write, and stop all other runs and the earlier attempts of this task.

        :param session: with the transaction that takes the lease.
        """
        others = {"work": self._work, "$or": [{"run": {"$ne": self._run}}, {"task": self._task}]}
        self._writers.delete_many(others, session=session)
        writer = {"_id": self._id, "work": self._work, "run": self._run, "task": self._task, "writes": 0}
        self._writers.insert_one(writer, session=session)

    def check(self, session: Session = None) -> None:
        """Make sure that this task may write.

        :param session: with the transaction that writes, of which this must be the first command.
        :raises LostRightError: if it may not.
        """
        if session is not None and not same_deployment(session.client, self._writers.database.client):
            session = None
        changed = self._reached_by(session).update_one(
            {"_id": self._id}, {"$inc": {"writes": 1}}, session=session
        )
        if not changed.matched_count:
            raise LostRightError("another run, or another attempt of this task, has taken over")

    def _reached_by(self, session: Session) -> Collection[Document]:
        """Return the collection by the client of a session, which can be that of another Connection."""
        if session is None:
            return self._writers
        return session.client[self._writers.database.name][COLLECTION]

    def take_down(self) -> None:
        """Forget this task, which writes no more."""
        retried(partial(self._writers.delete_one, {"_id": self._id}))
