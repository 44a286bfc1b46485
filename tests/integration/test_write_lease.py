"""The lease that keeps runs apart which would write to the same datasets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include import write_lease
from include.errors import ServiceError
from include.write_lease import HeldByAnotherRunError, WriteLease
from tests.conftest import Databases


@pytest.fixture
def ours(databases: Databases) -> WriteLease:
    return WriteLease(databases.maintenance, "backfill monday")


@pytest.fixture
def theirs(databases: Databases) -> WriteLease:
    return WriteLease(databases.maintenance, "backfill-retryable-errors tuesday")


def expire(databases: Databases) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    databases.maintenance.writeLeases.update_many({}, {"$set": {"expires_at": past}})


def test_another_run_is_refused_with_the_name_of_the_holder(ours: WriteLease, theirs: WriteLease) -> None:
    ours.acquire()

    with pytest.raises(HeldByAnotherRunError, match="the run 'backfill monday' is working on the datasets"):
        theirs.acquire()


def test_the_tasks_of_a_run_share_it(ours: WriteLease, databases: Databases) -> None:
    ours.acquire()

    WriteLease(databases.maintenance, "backfill monday").acquire()

    assert databases.maintenance.writeLeases.count_documents({}) == 1


def test_it_is_free_after_its_release_and_after_the_death_of_its_holder(
    ours: WriteLease, theirs: WriteLease, databases: Databases
) -> None:
    ours.acquire()
    ours.release()
    theirs.acquire()
    expire(databases)

    ours.acquire()

    with pytest.raises(HeldByAnotherRunError):
        theirs.acquire()


def test_only_its_holder_releases_it(ours: WriteLease, theirs: WriteLease) -> None:
    ours.acquire()

    theirs.release()

    with pytest.raises(HeldByAnotherRunError):
        theirs.acquire()


def test_waiting_ends_when_it_is_released(ours: WriteLease, theirs: WriteLease) -> None:
    ours.acquire()

    theirs.wait(timedelta(minutes=1), sleep=lambda _: ours.release())

    with pytest.raises(HeldByAnotherRunError):
        ours.acquire()


def test_waiting_ends_some_time_with_a_clear_word(ours: WriteLease, theirs: WriteLease) -> None:
    ours.acquire()

    with pytest.raises(ServiceError, match="the run 'backfill monday' is working on the datasets still"):
        theirs.wait(timedelta(seconds=-1))


def test_it_is_renewed_while_it_is_held(
    ours: WriteLease, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_lease, "SECONDS_BETWEEN_RENEWALS", 0.01)
    renewed = False
    with ours.held() as check:
        before = databases.maintenance.writeLeases.find_one()
        while not renewed:
            renewed = databases.maintenance.writeLeases.find_one() != before
        check()


def test_a_run_that_lost_it_on_the_way_writes_no_more(
    ours: WriteLease, theirs: WriteLease, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_lease, "LEASE", timedelta(seconds=0.2))
    monkeypatch.setattr(write_lease, "SECONDS_BETWEEN_RENEWALS", 60)
    with ours.held() as check:
        check()
        while True:
            try:
                theirs.acquire()
                break
            except HeldByAnotherRunError:
                continue
        with pytest.raises(ServiceError, match="The lease to write was lost on the way"):
            check()
