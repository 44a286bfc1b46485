"""A backfill whose Hub answers some or all questions wrongly."""

from __future__ import annotations

import time

import pytest
from pymongo import MongoClient

from dev.bench.world import World
from dev.local_stack.hub_server import Fault, HubServer
from dev.local_stack.mongod import Mongod
from include.databases.mongo import MAINTENANCE_DATABASE
from include.errors import ServiceError
from tests.faults.worlds import backfill, end_state, make_world, undisturbed_end

DATASETS = 30
#: `make test-faults` tries all of them.
SLOW: tuple[Fault, ...] = ("gated_403", "drip", "garbage", "redirect")
FAULTS = [
    *("unauthorized", "not_found", "server_error", "half_body"),
    *(pytest.param(fault, marks=pytest.mark.slow_fault) for fault in SLOW),
]
#: With these, the Hub is unavailable: a shard stops after some of them in a row.
FAILURES_OF_THE_HUB = {"server_error", "drip", "half_body", "redirect"}


@pytest.fixture
def world(mongod: Mongod, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> World:
    """Datasets with something to do, and clients with little patience."""
    monkeypatch.setattr("include.hub.client.REQUEST_DEADLINE_SECONDS", 0.5)
    monkeypatch.setattr("include.hub.rate_limit._DEFAULT_WAIT_SECONDS", 0.0)
    monkeypatch.setattr("include.hub.rate_limit.MAX_WAIT_SECONDS", 8.0)
    world = make_world(mongod.uri, hub_server, DATASETS)
    hub_server.state.hang_seconds = 2
    return world


def to_remove(world: World) -> int:
    with MongoClient[dict[str, object]](world.mongo_uri) as client:
        return client[MAINTENANCE_DATABASE]["removalCandidates"].count_documents({})


@pytest.mark.parametrize("fault", FAULTS)
def test_a_backfill_leaves_out_the_datasets_about_which_the_hub_answers_wrongly(
    world: World, hub_server: HubServer, fault: Fault
) -> None:
    undisturbed = undisturbed_end(world)
    hub_server.state.requests_by_route.clear()
    hub_server.state.dataset_fault, hub_server.state.dataset_fault_every = fault, 10

    summary = backfill(world)

    assert (summary.failed, summary.backfilled) == (DATASETS // 10, DATASETS - DATASETS // 10)
    assert to_remove(world) == 0
    hub_server.state.dataset_fault = None
    assert backfill(world).failed == 0
    assert end_state(world) == undisturbed


@pytest.mark.parametrize("fault", FAULTS)
def test_a_backfill_writes_and_removes_nothing_while_the_hub_answers_everything_wrongly(
    world: World, hub_server: HubServer, fault: Fault
) -> None:
    undisturbed, before = undisturbed_end(world), end_state(world)
    hub_server.state.dataset_fault, hub_server.state.dataset_fault_every = fault, 1

    if fault in FAILURES_OF_THE_HUB:
        # Or a few more: eight requests are on their way at the same time.
        with pytest.raises(ServiceError, match=r"has failed 2\d times in a row"):
            backfill(world)
    else:
        assert backfill(world).failed == DATASETS

    assert end_state(world) == before
    assert to_remove(world) == 0
    hub_server.state.dataset_fault = None
    assert backfill(world).failed == 0
    assert end_state(world) == undisturbed


RATE_LIMITS = ["rate_limited", pytest.param("rate_limited_for_a_second", marks=pytest.mark.slow_fault)]


@pytest.mark.parametrize("fault", RATE_LIMITS)
def test_a_backfill_waits_where_the_rate_limit_refuses_some_questions(
    world: World, hub_server: HubServer, fault: Fault
) -> None:
    undisturbed = undisturbed_end(world)
    hub_server.state.requests_by_route.clear()
    hub_server.state.dataset_fault, hub_server.state.dataset_fault_every = fault, 15
    begun_at = time.monotonic()

    summary = backfill(world)

    assert summary.failed == 0
    if fault == "rate_limited_for_a_second":
        assert time.monotonic() - begun_at > 1
    assert end_state(world) == undisturbed


@pytest.mark.parametrize("fault", RATE_LIMITS)
def test_a_backfill_stops_where_the_rate_limit_refuses_everything(
    world: World, hub_server: HubServer, fault: Fault
) -> None:
    undisturbed, before = undisturbed_end(world), end_state(world)
    hub_server.state.dataset_fault, hub_server.state.dataset_fault_every = fault, 1

    with pytest.raises(ServiceError, match=r"The rate limit of the Hub at \S+ does not end"):
        backfill(world)

    assert end_state(world) == before
    hub_server.state.dataset_fault = None
    assert backfill(world).failed == 0
    assert end_state(world) == undisturbed
