"""A backfill beside workers and webhooks: no job is lost, none is there twice, and the counts are right."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo import MongoClient

from dev.bench.world import CACHE, QUEUE, World
from dev.local_stack.consistency import doubled_jobs, lost_webhooks, wrong_counts
from dev.local_stack.hub_server import HubServer
from dev.local_stack.live_system import Activity, LiveProcesses, LiveSystem
from dev.local_stack.mongod import Mongod
from include.planning.dataset_state import Priority
from include.planning.processing_graph import load_release
from tests.faults.worlds import backfill, make_world

WORKERS = 4


@pytest.fixture
def world(mongod: Mongod, hub_server: HubServer) -> World:
    """Datasets of which the first ones have their jobs already, so that the workers have something to do."""
    world = make_world(mongod.uri, hub_server, datasets=200)
    backfill(world, first=20, priority=Priority.NORMAL)
    return world


def live_system(world: World) -> LiveProcesses:
    release = load_release().name
    return LiveProcesses(
        LiveSystem(
            world.mongo_uri,
            CACHE,
            QUEUE,
            world.hub_url,
            release,
            WORKERS,
            seconds_a_job=0.1,
            webhooks_a_second=20,
        )
    )


def assert_all_is_right(world: World, activity: Activity) -> None:
    assert activity.finished
    assert activity.webhooks
    with MongoClient[dict[str, Any]](world.mongo_uri) as client:
        assert wrong_counts(client[CACHE], client[QUEUE]) == []
        assert doubled_jobs(client[QUEUE]) == []
        assert lost_webhooks(client[QUEUE], activity) == []


def test_a_backfill_beside_workers_and_webhooks(world: World) -> None:
    with live_system(world) as live:
        summary = backfill(world)
        activity = live.stop()

    assert summary.failed == 0
    assert summary.jobs_created > 1_000
    assert_all_is_right(world, activity)


@pytest.mark.slow_fault
@pytest.mark.parametrize("kills", [1, 8])
def test_a_backfill_that_is_killed_beside_workers_and_webhooks_can_be_run_again(
    world: World, mongod: Mongod, kills: int
) -> None:
    with live_system(world) as live, short_lived_transactions(mongod):
        for number in range(kills):
            kill_backfill(world, after=0.3 * (number + 1))
        summary = backfill(world)
        activity = live.stop()

    assert summary.failed == 0
    assert_all_is_right(world, activity)


def kill_backfill(world: World, after: float) -> None:
    """Backfill in a process that is killed so many seconds after its start."""
    spawn = multiprocessing.get_context("spawn")
    begun = spawn.Event()
    process = spawn.Process(target=_backfill, args=(world, begun))
    process.start()
    assert begun.wait(60)
    time.sleep(after)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def _backfill(world: World, begun: Any) -> None:
    begun.set()
    backfill(world)


@contextmanager
def short_lived_transactions(mongod: Mongod) -> Iterator[None]:
    """Let the server end the transaction of a vanished client after a second, instead of a minute."""
    with MongoClient[dict[str, Any]](mongod.uri) as client:
        client.admin.command("setParameter", 1, transactionLifetimeLimitSeconds=1)
        try:
            yield
        finally:
            client.admin.command("setParameter", 1, transactionLifetimeLimitSeconds=60)
