"""The lease that keeps runs apart which would write to the same datasets."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from include.databases import lease
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


def test_another_run_is_refused_with_the_name_of_the_holder(ours: Lease, theirs: Lease) -> None:
    ours.acquire()

    with pytest.raises(HeldByAnotherRunError, match="the run 'backfill monday' is at work"):
        theirs.acquire()


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
        [held] = databases.maintenance.leases.find()
    [left] = databases.maintenance.leases.find()

    assert left["expires_at"] - held["expires_at"] > timedelta(minutes=8)


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
    ours: Lease, theirs: Lease, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LASTS", timedelta(seconds=0.2))
    monkeypatch.setattr(lease, "SECONDS_BETWEEN_RENEWALS", 60)
    with ours.held() as right:
        right.check()
        while True:
            try:
                theirs.acquire()
                break
            except HeldByAnotherRunError:
                continue
        with pytest.raises(ServiceError, match="The right to write was lost on the way"):
            right.check()
