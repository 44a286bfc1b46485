"""What MongoDB did for the queries of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo.database import Database

Document = dict[str, Any]


@contextmanager
def profiled(database: Database[Document]) -> Iterator[list[Document]]:
    """Let MongoDB note what it does in the context; afterwards, the list has it, one document a command."""
    commands: list[Document] = []
    database.command("profile", 2)
    try:
        yield commands
    finally:
        database.command("profile", 0)
        commands += (
            database["system.profile"].find({"ns": {"$not": {"$regex": r"system\.profile$"}}}).sort("ts")
        )
        database.drop_collection("system.profile")
