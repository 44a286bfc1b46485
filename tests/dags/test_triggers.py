"""How the triggerer waits for the end of another run."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pkgutil import resolve_name

import pytest

from datasets_server import triggers
from datasets_server.runs import WRITING
from datasets_server.triggers import TurnTrigger
from include.databases.lease import Lease
from include.databases.mongo import MAINTENANCE_DATABASE
from tests.conftest import Databases


@pytest.fixture
def other_run(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Lease:
    monkeypatch.setattr(triggers, "SECONDS_BETWEEN_LOOKS", 0.05)
    return Lease(databases.queue.client[MAINTENANCE_DATABASE], WRITING, "another run")


async def fire(trigger: TurnTrigger, within: float) -> None:
    async with asyncio.timeout(within):
        [_] = [event async for event in trigger.run()]


async def fire_after(trigger: TurnTrigger, other_run: Lease) -> bool:
    """Release the lease of the other run, and return whether the trigger waited until then."""
    waiting = asyncio.create_task(fire(trigger, within=20))
    await asyncio.sleep(1)
    has_waited = not waiting.done()
    await asyncio.to_thread(other_run.release)
    await waiting
    return has_waited


def test_airflow_can_make_the_trigger_again() -> None:
    path, arguments = TurnTrigger("posting", "0123").serialize()

    again = resolve_name(path)(**arguments)

    assert again.serialize() == (path, arguments)


@pytest.mark.parametrize(("run", "waits"), [("this run", True), ("another run", False)])
def test_it_waits_until_another_run_has_ended(
    connections: None, other_run: Lease, run: str, waits: bool
) -> None:
    other_run.acquire(timedelta(minutes=1))

    assert asyncio.run(fire_after(TurnTrigger(WRITING, run), other_run)) == waits


def test_it_does_not_wait_for_a_run_that_has_died(connections: None, other_run: Lease) -> None:
    other_run.acquire(timedelta(seconds=-1))

    asyncio.run(fire(TurnTrigger(WRITING, "this run"), within=10))


def test_an_error_ends_the_wait_so_that_the_task_can_tell(
    connections: None, other_run: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_run.acquire(timedelta(minutes=1))
    monkeypatch.delenv("AIRFLOW_CONN_DATASETS_SERVER_QUEUE")

    asyncio.run(fire(TurnTrigger(WRITING, "this run"), within=10))
