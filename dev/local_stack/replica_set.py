"""A MongoDB replica set of three members, whose primary can be made to step down."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from dev.local_stack.mongod import REPLICA_SET, mongod_command
from dev.local_stack.ports import HOST, free_port, is_listening
from dev.local_stack.process import Server, ServerProcess

MEMBERS = 3

#: Much less than by default, so that a new primary is soon there.
_SETTINGS = {"electionTimeoutMillis": 2_000, "heartbeatIntervalMillis": 500}
#: The primary first waits for another member to catch up, so that it can hand over to that one at once.
_STEP_DOWN = {"replSetStepDown": 5, "secondaryCatchUpPeriodSecs": 4}


class ReplicaSet(Server):
    """Three members on 127.0.0.1; ``uri`` names all of them."""

    def __init__(self, folder: Path) -> None:
        """Describe the servers.

        :param folder: of their data and logs, made if needed.
        """
        self._folder = folder
        self._ports = [free_port() for _ in range(MEMBERS)]
        self._members = [
            ServerProcess(
                f"member {port}",
                mongod_command(folder / str(port), port),
                log_file=folder / f"{port}.log",
                is_ready=partial(is_listening, port),
            )
            for port in self._ports
        ]

    @property
    def uri(self) -> str:
        """How clients reach it."""
        hosts = ",".join(f"{HOST}:{port}" for port in self._ports)
        return f"mongodb://{hosts}/?replicaSet={REPLICA_SET}"

    def start(self) -> None:
        """Start the members, and wait until they have a primary. They start once only.

        :raises ServiceError: if a member does not come up.
        :raises PyMongoError: if they elect no primary.
        """
        for port, member in zip(self._ports, self._members, strict=True):
            (self._folder / str(port)).mkdir(parents=True)
            member.start()
        members = [{"_id": number, "host": f"{HOST}:{port}"} for number, port in enumerate(self._ports)]
        config = {"_id": REPLICA_SET, "members": members, "settings": _SETTINGS}
        with MongoClient[dict[str, Any]](HOST, self._ports[0], directConnection=True) as client:
            client.admin.command("replSetInitiate", config)
        with MongoClient[dict[str, Any]](self.uri, w="majority") as client:
            client["admin"]["ready"].insert_one({})

    def stop(self) -> None:
        """Stop the members."""
        for member in self._members:
            member.stop()

    @contextmanager
    def stepping_down(self, every: float) -> Iterator[list[float]]:
        """Let whoever is the primary step down, again and again.

        :param every: how many seconds pass in between.
        :return: when it stepped down, in seconds of the monotonic clock.
        """
        times: list[float] = []
        stopping = threading.Event()

        def step_down() -> None:
            with MongoClient[dict[str, Any]](self.uri) as client:
                while not stopping.wait(every):
                    with suppress(PyMongoError):  # There may be no primary at the moment.
                        client.admin.command(_STEP_DOWN)
                        times.append(time.monotonic())

        thread = threading.Thread(target=step_down, name="step-down", daemon=True)
        thread.start()
        try:
            yield times
        finally:
            stopping.set()
            thread.join()
