"""A backfill whose MongoDB is killed and started again, or does not answer for a while."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pymongo.errors import PyMongoError
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from dev.local_stack.hub_server import HubServer
from dev.local_stack.mongod import Mongod
from tests.faults.worlds import backfill, end_state, in_background, make_world, undisturbed_end

DATASETS = 120


class Halt(CommandListener):
    """Halts the thread that has had the answer to a command of a name, the first one or a later one."""

    def __init__(self, command: str, number: int = 1) -> None:
        self._command = command
        self._left = number
        self._lock = threading.Lock()
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def started(self, event: CommandStartedEvent) -> None: ...

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if event.command_name == self._command:
            with self._lock:
                self._left -= 1
                is_here = self._left == 0
            if is_here:
                self.reached.set()
                self.go_on.wait(60)

    def failed(self, event: CommandFailedEvent) -> None: ...


@contextmanager
def stopped(server: Mongod) -> Iterator[None]:
    """Let a server do nothing for a while; its connections stay."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("command", "number"),
    [
        ("getMore", 3),
        ("insert", 5),
        pytest.param("aggregate", 2, marks=pytest.mark.slow_fault),
        pytest.param("find", 12, marks=pytest.mark.slow_fault),
        pytest.param("commitTransaction", 2, marks=pytest.mark.slow_fault),
        pytest.param("update", 1, marks=pytest.mark.slow_fault),
    ],
)
def test_a_backfill_goes_on_when_the_server_is_killed_and_started_again(
    mortal_mongod: Mongod,
    hub_server: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    number: int,
) -> None:
    for size in ("NO_LIMIT_BUT_THE_REPLY_SIZE", "ENTRIES_PER_REPLY"):
        monkeypatch.setattr(f"include.databases.cache_store.{size}", 50)
    world = make_world(mortal_mongod.uri, hub_server, DATASETS)
    expected = undisturbed_end(world)
    halt = Halt(command, number)

    with in_background(world, halt) as running:
        assert halt.reached.wait(30)
        mortal_mongod.kill()
        mortal_mongod.start()
        halt.go_on.set()

    assert running.result().failed == 0
    assert end_state(world) == expected


def test_a_backfill_goes_on_when_the_server_does_not_answer_for_some_seconds(
    mortal_mongod: Mongod, hub_server: HubServer
) -> None:
    world = make_world(mortal_mongod.uri, hub_server, DATASETS)
    expected = undisturbed_end(world)
    halt = Halt("insert", 2)

    with in_background(world, halt) as running:
        assert halt.reached.wait(30)
        with stopped(mortal_mongod):
            halt.go_on.set()
            time.sleep(3)

    assert running.result().failed == 0
    assert end_state(world) == expected


# The driver tries a transaction again for two minutes.
@pytest.mark.parametrize("command", ["find", pytest.param("insert", marks=pytest.mark.slow_fault)])
def test_a_backfill_fails_when_the_server_does_not_answer_at_all(
    mortal_mongod: Mongod, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr("tests.faults.worlds.TIMEOUT_MS", 1_000)
    monkeypatch.setattr("include.databases.mongo.RETRIED_FOR_SECONDS", 1.0)
    world = make_world(mortal_mongod.uri, hub_server, DATASETS)
    expected = undisturbed_end(world)
    halt = Halt(command, 4)

    with in_background(world, halt) as running:
        assert halt.reached.wait(30)
        with stopped(mortal_mongod):
            halt.go_on.set()
            error = running.exception(timeout=150)

    assert isinstance(error, PyMongoError)
    assert error.timeout
    backfill(world)
    assert end_state(world) == expected
