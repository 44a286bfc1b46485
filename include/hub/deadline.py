"""A deadline for a whole request."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import TypeVar

from httpx2 import ReadTimeout

Answer = TypeVar("Answer")


def within(seconds: float, request: Callable[[], Answer]) -> Answer:
    """Make a request, and return its answer.

    The timeouts of the HTTP client are for each single step, so that a server which sends a byte now and then
    could hold a task for ever. A thread makes the request, and is left behind if it is late: it ends with its
    connection, or with the process.

    :raises ReadTimeout: after these seconds.
    """
    answer: Future[Answer] = Future()

    def make() -> None:
        try:
            answer.set_result(request())
        except BaseException as error:  # noqa: BLE001 (whoever waits for the answer gets it)
            answer.set_exception(error)

    Thread(target=make, name="hub-request", daemon=True).start()
    wait([answer], timeout=seconds)
    if not answer.done():
        raise ReadTimeout(f"timed out: no complete answer within {seconds:g} s")
    return answer.result()
