"""The lease that keeps runs apart which would write to the same datasets."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from pymongo import MongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from dev.local_stack.mongod import Mongod
from include.databases import lease
from include.databases.fence import LostRightError
from include.databases.lease import HeldByAnotherRunError, Lease
from include.errors import ServiceError
from tests.conftest import Databases


@pytest.fixture
def ours(databases: Databases) -> Lease:
    return Lease(databases.maintenance, "backfill", "backfill monday")


@pytest.fixture
def theirs(databases: Databases) -> Lease:
    return Lease(databases.maintenance, "backfill", "backfill-retryable-errors tuesday")


def expire(databases: Databases) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    databases.maintenance.leases.update_many({}, {"$set": {"expires_at": past}})


def expires_at(databases: Databases) -> datetime:
    [document] = databases.maintenance.leases.find()
    found: datetime = document["expires_at"]
    return found


def take_when_free(theirs: Lease) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(HeldByAnotherRunError):
            theirs.acquire()
            return
        time.sleep(0.02)
    pytest.fail("The lease never ran out.")


def test_another_run_is_refused_with_the_name_of_the_holder(ours: Lease, theirs: Lease) -> None:
    ours.acquire()

    with pytest.raises(HeldByAnotherRunError, match="the run 'backfill monday' is at work"):
        theirs.acquire()


def test_runs_of_two_airflows_are_kept_apart_though_they_have_the_same_name(databases: Databases) -> None:
    name = "backfill scheduled__2026-01-31T12:05:00+00:00"
    here = Lease(databases.maintenance, "backfill", "0123", run_name=name)
    there = Lease(databases.maintenance, "backfill", "4567", run_name=name)
    here.acquire()

    with pytest.raises(
        HeldByAnotherRunError, match=re.escape(f"the run {name!r} of another Airflow is at work")
    ):
        there.acquire()


def test_the_tasks_of_a_run_share_it(ours: Lease, databases: Databases) -> None:
    ours.acquire()

    Lease(databases.maintenance, "backfill", "backfill monday").acquire()

    assert databases.maintenance.leases.count_documents({}) == 1


def test_it_is_free_after_its_release_and_after_the_death_of_its_holder(
    ours: Lease, theirs: Lease, databases: Databases
) -> None:
    ours.acquire()
    ours.release()
    theirs.acquire()
    expire(databases)

    ours.acquire()

    with pytest.raises(HeldByAnotherRunError):
        theirs.acquire()


def test_a_run_can_look_whether_another_one_has_it(ours: Lease, theirs: Lease, databases: Databases) -> None:
    assert not theirs.is_held_by_another()
    ours.acquire()

    assert theirs.is_held_by_another()
    assert not ours.is_held_by_another()

    expire(databases)
    assert not theirs.is_held_by_another()


def test_only_its_holder_releases_it(ours: Lease, theirs: Lease) -> None:
    ours.acquire()

    theirs.release()

    with pytest.raises(HeldByAnotherRunError):
        theirs.acquire()


def test_other_work_has_a_lease_of_its_own(ours: Lease, databases: Databases) -> None:
    ours.acquire()

    Lease(databases.maintenance, "post-messages", "post-messages tuesday").acquire()

    assert databases.maintenance.leases.count_documents({}) == 2


def test_of_many_that_ask_at_once_one_has_it(databases: Databases) -> None:
    everyone = threading.Barrier(8)

    def has_it(number: int) -> bool:
        everyone.wait()
        try:
            Lease(databases.maintenance, "backfill", f"run {number}").acquire()
        except HeldByAnotherRunError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(has_it, range(8))) == 1


def test_between_two_tasks_it_lasts_longer(ours: Lease, databases: Databases) -> None:
    with ours.held():
        held = expires_at(databases)

    assert expires_at(databases) - held > timedelta(minutes=28)


def test_a_renewal_never_shortens_what_another_task_of_the_run_has_extended(
    ours: Lease, databases: Databases
) -> None:
    ours.acquire()
    another_task = Lease(databases.maintenance, "backfill", "backfill monday", task="another")
    another_task.renew(timedelta(minutes=30))
    extended = expires_at(databases)

    ours.renew()

    assert expires_at(databases) == extended


def test_a_renewal_never_takes_it_anew(ours: Lease, theirs: Lease, databases: Databases) -> None:
    ours.acquire()
    expire(databases)
    with pytest.raises(LostRightError):
        ours.renew()

    theirs.acquire()

    with pytest.raises(LostRightError):
        ours.renew()
    assert databases.maintenance.leases.distinct("run") == ["backfill-retryable-errors tuesday"]
    theirs.release()
    with pytest.raises(LostRightError):
        ours.renew()
    assert databases.maintenance.leases.count_documents({}) == 0


def test_how_long_it_lasts_is_counted_from_before_the_request(mongod: Mongod, databases: Databases) -> None:
    class Slow(CommandListener):
        def started(self, event: CommandStartedEvent) -> None: ...

        def succeeded(self, event: CommandSucceededEvent) -> None:
            if event.command_name in ("findAndModify", "update"):
                time.sleep(0.3)

        def failed(self, event: CommandFailedEvent) -> None: ...

    with MongoClient[dict[str, Any]](mongod.uri, event_listeners=[Slow()]) as client:
        slow = Lease(client[databases.maintenance.name], "backfill", "a run")
        for ask in (slow.acquire, slow.renew):
            good_until = ask(timedelta(seconds=60))

            assert good_until <= time.clock_gettime(time.CLOCK_BOOTTIME) + 60 - 0.3


def test_the_last_task_leaves_it_free(ours: Lease, theirs: Lease) -> None:
    with ours.held(by_last_task=True):
        pass

    theirs.acquire()


def test_after_a_failure_it_soon_runs_out(ours: Lease, databases: Databases) -> None:
    with pytest.raises(RuntimeError), ours.held():
        raise RuntimeError

    [left] = databases.maintenance.leases.find()
    assert left["expires_at"] - datetime.now(UTC).replace(tzinfo=None) < timedelta(seconds=61)


def test_it_is_renewed_while_it_is_held(
    ours: Lease, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "SECONDS_BETWEEN_RENEWALS", 0.01)
    renewed = False
    with ours.held() as right:
        before = databases.maintenance.leases.find_one()
        while not renewed:
            renewed = databases.maintenance.leases.find_one() != before
        right.check()


def test_a_run_that_lost_it_on_the_way_writes_no_more(
    ours: Lease, theirs: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LASTS", timedelta(seconds=0.5))
    monkeypatch.setattr(lease, "SECONDS_BETWEEN_RENEWALS", 60)
    with ours.held() as right:
        right.check()
        take_when_free(theirs)
        with pytest.raises(ServiceError, match="The right to write was lost on the way"):
            right.check()


def test_a_suspended_machine_knows_after_its_sleep_that_it_lost_it(
    ours: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ours.held() as right:
        asleep = time.clock_gettime(time.CLOCK_BOOTTIME) + 90
        monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: asleep}.__getitem__)

        with pytest.raises(LostRightError, match="the lease was not renewed in time"):
            right.check()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a lease last some seconds, and a task be stuck after two: a machine may be busy for a second."""
    monkeypatch.setattr(lease, "LASTS", timedelta(seconds=4))
    monkeypatch.setattr(lease, "SECONDS_BETWEEN_RENEWALS", 0.1)
    monkeypatch.setattr(lease, "STUCK_AFTER", timedelta(seconds=2))


@pytest.mark.usefixtures("quick")
def test_a_task_that_is_stuck_loses_it(ours: Lease, theirs: Lease) -> None:
    with ours.held() as right:
        take_when_free(theirs)

        with pytest.raises(LostRightError, match="because the task made no progress for"):
            right.check()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("report", ["check", "progress"])
def test_a_task_that_makes_progress_keeps_it(
    ours: Lease, theirs: Lease, report: Literal["check", "progress"]
) -> None:
    with ours.held() as right:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            getattr(right, report)()
            with pytest.raises(HeldByAnotherRunError):
                theirs.acquire()
            time.sleep(0.05)
        right.check()
