"""Keeping runs apart that would write to the same datasets."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError

from include.errors import ServiceError

LEASE = timedelta(seconds=60)
SECONDS_BETWEEN_RENEWALS = 10.0
SECONDS_BETWEEN_ATTEMPTS = 5.0

_ID = "backfill"

logger = logging.getLogger(__name__)


class HeldByAnotherRunError(Exception):
    """Another run is writing. The message names it."""


class WriteLease:
    """The right to backfill and to remove datasets, which one run at a time has; its tasks share it.

    It is a document in our own database, beside the queue, so that runs of two Airflows are kept apart too. A
    task renews it as long as it works; when the tasks of a run have died, it runs out within a minute.

    :param database: the database ``datasets_server_maintenance``.
    :param run: any text that names the run.
    """

    def __init__(self, database: Database[dict[str, Any]], run: str) -> None:
        self._leases = database["writeLeases"]
        self._run = run

    def acquire(self) -> None:
        """Take the lease, or renew it.

        :raises HeldByAnotherRunError: if another run has it.
        """
        now = datetime.now(UTC)
        free = {"_id": _ID, "$or": [{"run": self._run}, {"expires_at": {"$lt": now}}]}
        lease = {"$set": {"run": self._run, "expires_at": now + LEASE}}
        try:
            self._leases.find_one_and_update(free, lease, upsert=True, return_document=ReturnDocument.AFTER)
        except DuplicateKeyError:  # there is one, and it is not free
            raise HeldByAnotherRunError(f"{self._holder()} is working on the datasets") from None

    def wait(self, at_most: timedelta, sleep: Callable[[float], None] = time.sleep) -> None:
        """Take the lease as soon as no other run has it.

        :raises ServiceError: if another run still has it after ``at_most``.
        """
        deadline = time.monotonic() + at_most.total_seconds()
        while True:
            try:
                return self.acquire()
            except HeldByAnotherRunError as error:
                if time.monotonic() > deadline:
                    raise ServiceError(f"After {at_most}, {error} still: this run gives up.") from error
                logger.info("Waiting, because %s.", error)
            sleep(SECONDS_BETWEEN_ATTEMPTS)

    def release(self) -> None:
        """Give the lease back, if this run has it."""
        self._leases.delete_one({"_id": _ID, "run": self._run})

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """Take the lease and keep renewing it; it is left to the other tasks of the run at the end.

        Gives a function to call before each write.

        :raises HeldByAnotherRunError: if another run has it.
        :raises ServiceError: from that function, if the lease was lost on the way.
        """
        self.acquire()
        renewal = _Renewal(self.acquire)
        renewal.start()
        try:
            yield renewal.check
        finally:
            renewal.stop()

    def _holder(self) -> str:
        lease = self._leases.find_one({"_id": _ID})
        return f"the run {lease['run']!r}" if lease else "another run"


class _Renewal(threading.Thread):
    """Renews a lease in the background, as long as the process lives."""

    def __init__(self, renew: Callable[[], None]) -> None:
        super().__init__(name="write-lease", daemon=True)
        self._renew = renew
        self._stopped = threading.Event()
        self._good_until = time.monotonic() + LEASE.total_seconds()
        self._error: Exception | None = None

    def run(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN_RENEWALS):
            asked_at = time.monotonic()
            try:
                self._renew()
                self._good_until = asked_at + LEASE.total_seconds()
            except HeldByAnotherRunError as error:
                self._error, self._good_until = error, 0.0
                return
            except PyMongoError as error:
                self._error = error  # tried again, as long as the lease lasts

    def check(self) -> None:
        if time.monotonic() > self._good_until:
            raise ServiceError(
                f"The lease to write was lost on the way: {self._error}. Nothing more was written."
            )

    def stop(self) -> None:
        self._stopped.set()
        self.join()
