"""Reads for a person who waits: each takes two seconds at most, also from the live databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pymongo.errors import ExecutionTimeout

Result = TypeVar("Result")

#: For each command. MongoDB then ends it.
MAX_TIME_MS = 2_000


def unless_too_slow(read: Callable[[], Result]) -> Result | None:
    """Return what is read; None if MongoDB would take longer than its time limit."""
    try:
        return read()
    except ExecutionTimeout:
        return None
