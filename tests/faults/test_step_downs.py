"""A backfill on a replica set whose primary steps down all the time."""

from __future__ import annotations

import pytest

from dev.local_stack.hub_server import HubServer
from dev.local_stack.replica_set import ReplicaSet
from tests.faults.worlds import backfill, end_state, make_world, undisturbed_end

DATASETS = 600


@pytest.mark.slow_fault
def test_a_backfill_ends_as_it_should_while_the_primary_steps_down_all_the_time(
    replica_set: ReplicaSet, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small replies, so that cursors are open when their server steps down.
    for size in ("NO_LIMIT_BUT_THE_REPLY_SIZE", "ENTRIES_PER_REPLY"):
        monkeypatch.setattr(f"include.databases.cache_store.{size}", 50)
    world = make_world(replica_set.uri, hub_server, DATASETS)
    expected = undisturbed_end(world)

    with replica_set.stepping_down(every=1) as times:
        summary = backfill(world)

    assert len(times) > 2
    assert summary.failed == 0
    assert end_state(world) == expected
