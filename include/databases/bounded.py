"""Reads for a person who waits: each takes two seconds at most, also from the live databases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from typing import TypeVar

from pymongo.errors import ExecutionTimeout

Result = TypeVar("Result")

#: For each command. MongoDB then ends it.
MAX_TIME_MS = 2_000

_end_of_all: ContextVar[float] = ContextVar("end_of_all", default=inf)


@contextmanager
def all_within(seconds: float) -> Iterator[None]:
    """Limit the time of all reads together.

    With ``pymongo.timeout``, the first slow command might use up all of it: a command then has all the time
    that is left, whatever limit of its own it was given.
    """
    token = _end_of_all.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _end_of_all.reset(token)


def max_time_ms() -> int:
    """Return how long the next command may take.

    :raises ExecutionTimeout: if the time of all is over.
    """
    left = (_end_of_all.get() - time.monotonic()) * 1_000
    if left < 1:
        raise ExecutionTimeout("the time of all reads together is over")
    return int(min(MAX_TIME_MS, left))


def unless_too_slow(read: Callable[[], Result]) -> Result | None:
    """Return what is read; None if MongoDB would take longer than its time limit."""
    try:
        return read()
    except ExecutionTimeout:
        return None
