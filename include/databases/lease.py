"""Keeping runs apart that would do the same work at the same time.

A run takes a lease on the work. Its tasks share the lease and renew it while they work; when they die or
hang, it runs out, and another run may take it. A task that then wakes up is stopped by its :class:`Fence`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any

from pymongo import ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.write_concern import WriteConcern

from include.databases.fence import Fence, LostRightError
from include.databases.mongo import Session, in_transaction, retried
from include.databases.right_to_write import RightToWrite

Document = dict[str, Any]

#: How long a lease lasts while a task works and renews it: it ends so soon after the task's death.
LASTS = timedelta(seconds=60)
#: How long it lasts between two tasks of a run: the next one may have to wait for a worker, or for its pod.
LASTS_BETWEEN_TASKS = timedelta(minutes=30)
SECONDS_BETWEEN_RENEWALS = 10.0
#: A task that reports no progress for so long is taken for stuck, and no longer renews the lease. A task may
#: have to wait for the Hub's rate limit, which has windows of 5 minutes.
STUCK_AFTER = timedelta(minutes=15)

_MINUTE = timedelta(minutes=1)
# It goes on while the machine is suspended. Only Linux has it; elsewhere, the monotonic clock does so itself.
_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _now() -> float:
    return time.clock_gettime(_CLOCK)


class HeldByAnotherRunError(Exception):
    """Another run has the lease. The message names it."""


class Lease:
    """The right of one run at a time to do some work, as one task of the run has it.

    It is a document in our own database, beside the queue: runs of two Airflows are kept apart too. The times
    in it are those of the database's clock.

    :param database: the database ``datasets_server_airflow``.
    :param work: any text that names the work.
    :param run: any text that no other run has, not even of another Airflow.
    :param run_name: how messages call the run; ``run`` by default.
    :param task: any text that no other task of the run has. An earlier attempt of the same task may no longer
        write once this one has the lease.
    """

    def __init__(
        self,
        database: Database[Document],
        work: str,
        run: str,
        *,
        run_name: str | None = None,
        task: str = "",
    ) -> None:
        self._client = database.client
        self._leases = database.get_collection("leases", write_concern=WriteConcern("majority"))
        self._fence = Fence(database, work, run, task)
        self._work = work
        self._run = run
        self._run_name = run_name or run

    @contextmanager
    def held(self, *, by_last_task: bool = False) -> Iterator[RightToWrite]:
        """Take the lease and keep renewing it; at the end, leave it to the next task of the run.

        :param by_last_task: release it at the end: there is no next task.
        :raises HeldByAnotherRunError: if another run has it.
        """
        right = _HeldRight(self, self._fence, self.acquire())
        right.start()
        try:
            yield right
        finally:
            right.stop()
        self._fence.take_down()
        if by_last_task:
            self.release()
        else:
            with suppress(LostRightError):  # The next task will find out.
                retried(partial(self.renew, LASTS_BETWEEN_TASKS))

    def acquire(self, lasts: timedelta | None = None) -> float:
        """Take the lease, for ``LASTS`` by default, if it is free or this run has it already.

        :return: until when it lasts at least, in seconds of this machine's clock.
        :raises HeldByAnotherRunError: if another run has it.
        """
        take = partial(self._take, LASTS if lasts is None else lasts)
        try:
            return in_transaction(self._client, take)
        except DuplicateKeyError:  # Another run has made the document at the same time: now it is there.
            return in_transaction(self._client, take)

    def _take(self, lasts: timedelta, session: Session) -> float:
        asked_at = _now()
        holder = self._set_if_free(
            {
                "run": {"$literal": self._run},
                "run_name": {"$literal": self._run_name},
                "expires_at": _after(lasts),
            },
            session,
        )
        if holder["run"] != self._run:
            raise HeldByAnotherRunError(self._at_work(holder))
        self._fence.put_up(session)
        return asked_at + lasts.total_seconds()

    def _set_if_free(self, fields: Mapping[str, Document], session: Session) -> Document:
        """Set fields of the lease, made if it is not there, unless another run has it, and return it."""
        # Where there is no document, its fields are missing, and a missing field is less than any date.
        is_free = {"$or": [{"$eq": ["$run", fields["run"]]}, {"$lt": ["$expires_at", "$$NOW"]}]}
        lease = self._leases.find_one_and_update(
            {"_id": self._work},
            [{"$set": {name: {"$cond": [is_free, value, f"${name}"]} for name, value in fields.items()}}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        return lease or {}

    def _at_work(self, holder: Document) -> str:
        run_name = holder.get("run_name", holder["run"])
        where = " of another Airflow" if run_name == self._run_name else ""
        return f"the run {run_name!r}{where} is at work"

    def renew(self, lasts: timedelta | None = None) -> float:
        """Let the lease last ``LASTS``, or ``lasts``, from now on; never less than it would anyway.

        :return: until when it lasts at least, as :meth:`acquire` does.
        :raises LostRightError: if the lease has run out, even if nobody else has it yet.
        """
        asked_at, lasts = _now(), LASTS if lasts is None else lasts
        renewed = self._leases.update_one(
            {"_id": self._work, "run": self._run, "$expr": {"$gt": ["$expires_at", "$$NOW"]}},
            [{"$set": {"expires_at": {"$max": ["$expires_at", _after(lasts)]}}}],
        )
        if not renewed.matched_count:
            raise LostRightError("the lease ran out before it was renewed")
        return asked_at + lasts.total_seconds()

    def is_held_by_another(self) -> bool:
        """Return whether another run has the lease."""
        is_valid = {"$gte": ["$expires_at", "$$NOW"]}
        by_another = {"_id": self._work, "run": {"$ne": self._run}, "$expr": is_valid}
        return self._leases.find_one(by_another) is not None

    def release(self) -> None:
        """Release the lease, if this run has it."""
        retried(partial(self._leases.delete_one, {"_id": self._work, "run": self._run}))


def _after(time_from_now: timedelta) -> Document:
    """Return an expression of that time, by the database's clock."""
    return {"$add": ["$$NOW", int(time_from_now.total_seconds() * 1_000)]}


class _HeldRight(threading.Thread):
    """The right to write of a task with a lease, which it renews in the background until the task is stuck.

    :param good_until: until when the lease lasts at least, in seconds of this machine's clock.
    """

    def __init__(self, lease: Lease, fence: Fence, good_until: float) -> None:
        super().__init__(name="lease", daemon=True)
        self._lease = lease
        self._fence = fence
        self._good_until = good_until
        self._last_progress = _now()
        self._problem = ""
        self._stopped = threading.Event()

    def check(self, session: Session = None) -> None:
        self.progress()
        if _now() > self._good_until:
            raise LostRightError("the lease was not renewed in time" + self._problem)
        self._fence.check(session)

    def progress(self) -> None:
        self._last_progress = _now()

    def run(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN_RENEWALS):
            if _now() - self._last_progress > STUCK_AFTER.total_seconds():
                self._problem = f", because the task made no progress for {STUCK_AFTER // _MINUTE} minutes"
                continue
            try:
                self._good_until = max(self._good_until, self._lease.renew())
                self._problem = ""
            except PyMongoError as error:
                self._problem = f": {error}"  # tried again, as long as the lease lasts
            except LostRightError:
                self._good_until = 0.0
                return

    def stop(self) -> None:
        self._stopped.set()
        self.join()
