"""A backfill whose MongoDB refuses some of its writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from dev.local_stack.hub_server import HubServer
from dev.local_stack.mongod import Mongod
from tests.faults.worlds import backfill, end_state, make_world, undisturbed_end

DATASETS = 150
OPERATION_FAILED, SHUTDOWN_IN_PROGRESS, WRITE_CONFLICT = 96, 91, 112


@contextmanager
def refused(server: Mongod, mode: Any, command: str, **how: Any) -> Iterator[None]:
    """Let a server refuse a command.

    :param mode: ``{"times": 3}`` for the next three, ``{"skip": 3}`` for all but the next three.
    """
    data = {"failCommands": [command], **how}
    with MongoClient[dict[str, Any]](server.uri) as client:
        client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})
        try:
            yield
        finally:
            client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


@pytest.mark.parametrize("skipped", [0, 4, 8])
def test_the_next_run_does_what_is_missing_after_a_write_was_refused_halfway(
    failing_mongod: Mongod, hub_server: HubServer, skipped: int
) -> None:
    world = make_world(failing_mongod.uri, hub_server, DATASETS)
    expected = undisturbed_end(world)

    with (
        refused(failing_mongod, {"skip": skipped}, "insert", errorCode=OPERATION_FAILED),
        pytest.raises(OperationFailure),
    ):
        backfill(world)

    assert backfill(world).failed == 0
    assert end_state(world) == expected


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("insert", {"errorCode": WRITE_CONFLICT, "errorLabels": ["TransientTransactionError"]}),
        ("commitTransaction", {"closeConnection": True}),
        pytest.param(
            "commitTransaction",
            {
                "writeConcernError": {
                    "code": SHUTDOWN_IN_PROGRESS,
                    "errmsg": "committed, but the answer says otherwise",
                    "errorLabels": ["RetryableWriteError"],
                }
            },
            marks=pytest.mark.slow_fault,  # The driver waits ten seconds before each attempt.
        ),
    ],
    ids=["a write conflict", "a connection that is cut", "a commit that is done but not confirmed"],
)
def test_a_transaction_that_failed_in_passing_is_tried_again(
    failing_mongod: Mongod, hub_server: HubServer, command: str, how: dict[str, Any]
) -> None:
    world = make_world(failing_mongod.uri, hub_server, DATASETS)
    expected = undisturbed_end(world)

    with refused(failing_mongod, {"times": 3}, command, **how):
        assert backfill(world).failed == 0

    assert end_state(world) == expected
