"""A worker whose clock is a day off."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest

from dev.local_stack.hub_server import HubServer
from dev.local_stack.mongod import Mongod
from include.databases import maintenance_store, queue_store
from include.databases.lease import HeldByAnotherRunError, Lease
from include.databases.listing_store import ListingStore
from include.databases.maintenance_store import MaintenanceStore
from include.planning.processing_graph import DEFAULT_RELEASE
from tests.conftest import Databases
from tests.faults.worlds import backfill, end_state, make_world, undisturbed_end

DATASETS = 40
RUN = "backfill monday"


OFF = pytest.mark.parametrize("off", [timedelta(days=-1), timedelta(days=1)], ids=["slow", "fast"])


def set_clock(off: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the clock of this process, but not that of MongoDB."""
    read_really = time.time

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + off

    monkeypatch.setattr(time, "time", lambda: read_really() + off.total_seconds())
    for module in (maintenance_store, queue_store):
        monkeypatch.setattr(module, "datetime", Clock)


@OFF
def test_a_backfill_by_a_clock_that_is_a_day_off_ends_as_any_other(
    mongod: Mongod, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    world = make_world(mongod.uri, hub_server, DATASETS)
    expected = undisturbed_end(world)
    set_clock(off, monkeypatch)

    assert backfill(world).failed == 0

    assert end_state(world) == expected


@OFF
def test_a_lease_is_neither_lost_nor_taken_by_a_clock_that_is_a_day_off(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    ours = Lease(databases.maintenance, "backfill", RUN)
    ours.acquire()
    set_clock(off, monkeypatch)

    with pytest.raises(HeldByAnotherRunError):
        Lease(databases.maintenance, "backfill", "backfill tuesday").acquire()
    with ours.held() as right:
        right.check(None)


@OFF
def test_the_limit_of_a_day_is_of_the_clock_of_mongodb(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    ledger = MaintenanceStore(databases.maintenance).removal_ledger()
    first = ledger.begin("run", {"a": "gone", "b": "gone"}, limit=2)
    set_clock(off, monkeypatch)

    assert first == ["a", "b"]
    assert ledger.begin("next run", {"c": "gone"}, limit=2) == []
    assert ledger.begun_in_a_day() == 2


@OFF
def test_the_age_of_a_listing_is_that_of_the_clock_of_mongodb(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    listings = ListingStore(databases.maintenance)
    begun = listings.begin("https://hub", DEFAULT_RELEASE)
    set_clock(off, monkeypatch)

    [kept] = listings.all()

    assert timedelta(0) <= kept.age < timedelta(minutes=1)
    assert kept.begun_at == begun.begun_at
    next_one = listings.begin("https://hub", DEFAULT_RELEASE)
    assert timedelta(0) <= next_one.begun_at - begun.begun_at < timedelta(minutes=1)
