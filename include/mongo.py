"""What the stores share: reading in bulk, and writes that happen as a whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from pymongo import MongoClient
from pymongo.client_session import ClientSession

Result = TypeVar("Result")
Session = ClientSession | None

#: As a cursor's batch size: the server then sends as much at a time as a reply may hold (16 MB).
NO_LIMIT_BUT_THE_REPLY_SIZE = 1_000_000

logger = logging.getLogger(__name__)


def in_transaction(client: MongoClient[dict[str, Any]], write: Callable[[Session], Result]) -> Result:
    """Call ``write`` with a session whose transaction is committed when it returns.

    A process that is killed on the way leaves nothing written. ``write`` is called again if another program
    has written to the same documents meanwhile, so it must read again what it bases its writes on.

    On a standalone server, which knows no transactions, ``write`` is called with None: there, a process
    killed between two writes can leave the counts wrong until the metrics are collected again.
    """
    if not _knows_transactions(client):
        logger.warning("This MongoDB is no replica set: the writes of a batch are made one by one.")
        return write(None)
    with client.start_session() as session:
        return session.with_transaction(write)


def _knows_transactions(client: MongoClient[dict[str, Any]]) -> bool:
    hello = client.admin.command("hello")
    is_router = hello.get("msg") == "isdbgrid"
    return is_router or "setName" in hello
