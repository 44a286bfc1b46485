"""Keeping runs apart that would do the same work at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Protocol

from pymongo import ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError

from include.errors import ServiceError

#: How long it lasts while a task works, which renews it all the time: it ends so soon after the task's death.
LASTS = timedelta(seconds=60)
#: How long it lasts between two tasks of a run, of which the next may have to wait for a worker.
LASTS_BETWEEN_TASKS = timedelta(minutes=10)
SECONDS_BETWEEN_RENEWALS = 10.0


class RightToWrite(Protocol):
    """The right that a program needs for each of its writes, and may lose meanwhile."""

    def check(self) -> None:
        """Make sure, right before a write, that the right is still there.

        :raises ServiceError: if it is lost.
        """


class _Unrestricted:
    """The right of a program that shares nothing with others, or writes nothing."""

    def check(self) -> None:
        """Never raise an error."""


UNRESTRICTED = _Unrestricted()


class HeldByAnotherRunError(Exception):
    """Another run has the lease. The message names it."""


class Lease:
    """The right to do something that one run at a time may do; the tasks of the run share it.

    It is a document in our own database, beside the queue: runs of two Airflows are kept apart too. All
    times are those of the database's clock. A task renews it as long as it works; when it dies, it runs out.

    :param database: the database ``datasets_server_maintenance``.
    :param work: what may be done: any text that names it.
    :param run: any text that names the run.
    """

    def __init__(self, database: Database[dict[str, Any]], work: str, run: str) -> None:
        self._leases = database["leases"]
        self._work = work
        self._run = run

    def acquire(self, lasts: timedelta | None = None) -> None:
        """Take the lease, or renew it; it lasts ``LASTS`` if nothing else is said.

        :raises HeldByAnotherRunError: if another run has it.
        """
        milliseconds = int((lasts or LASTS).total_seconds() * 1_000)
        ours = {"run": {"$literal": self._run}, "expires_at": {"$add": ["$$NOW", milliseconds]}}
        # Where there is no document, its fields are missing, and a missing field is less than any date.
        is_free = {"$or": [{"$eq": ["$run", ours["run"]]}, {"$lt": ["$expires_at", "$$NOW"]}]}
        holder = self._update({name: {"$cond": [is_free, ours[name], f"${name}"]} for name in ours})["run"]
        if holder != self._run:
            raise HeldByAnotherRunError(f"the run {holder!r} is at work")

    def _update(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Set fields of the document, made if it is not there, and give it."""
        document: dict[str, Any] | None = None
        while document is None:
            with suppress(DuplicateKeyError):  # Two have made it at the same time: it is there now.
                document = self._leases.find_one_and_update(
                    {"_id": self._work},
                    [{"$set": fields}],
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
        return document

    def release(self) -> None:
        """Release the lease, if this run has it."""
        self._leases.delete_one({"_id": self._work, "run": self._run})

    @contextmanager
    def held(self, *, by_last_task: bool = False) -> Iterator[RightToWrite]:
        """Take the lease and keep renewing it; at the end it is left to the next task of the run, if any.

        :raises HeldByAnotherRunError: if another run has it.
        """
        asked_at = time.monotonic()
        self.acquire()
        renewal = _Renewal(self.acquire, asked_at)
        renewal.start()
        try:
            yield renewal
        finally:
            renewal.stop()
        if by_last_task:
            self.release()
        else:
            with suppress(HeldByAnotherRunError):  # The next task will find out.
                self.acquire(LASTS_BETWEEN_TASKS)


class _Renewal(threading.Thread):
    """Renews a lease in the background, as long as the process lives."""

    def __init__(self, renew: Callable[[], None], asked_at: float) -> None:
        super().__init__(name="lease", daemon=True)
        self._renew = renew
        self._stopped = threading.Event()
        # From before the lease was asked for, so that it never seems to last longer than it does.
        self._good_until = asked_at + LASTS.total_seconds()
        self._error: Exception | None = None

    def run(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN_RENEWALS):
            asked_at = time.monotonic()
            try:
                self._renew()
                self._good_until = asked_at + LASTS.total_seconds()
            except HeldByAnotherRunError as error:
                self._error, self._good_until = error, 0.0
                return
            except PyMongoError as error:
                self._error = error  # tried again, as long as the lease lasts

    def check(self) -> None:
        if time.monotonic() > self._good_until:
            raise ServiceError(
                f"The right to write was lost on the way: {self._error}. Nothing more was written."
            )

    def stop(self) -> None:
        self._stopped.set()
        self.join()
