"""A deadline for a whole request."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread, local
from typing import Any, TypeVar

from httpx2 import ReadTimeout

Answer = TypeVar("Answer")

_of_this_thread = local()


def within(seconds: float, request: Callable[[], Answer]) -> Answer:
    """Make a request, and return its answer.

    The timeouts of the HTTP client are for each single step, so that a server which sends a byte now and then
    could hold a task for ever. Another thread makes the request, and is left behind if it is late: it ends
    with its connection, or with the process.

    :raises ReadTimeout: after these seconds.
    """
    requester: _Requester | None = getattr(_of_this_thread, "requester", None)
    if requester is None:
        requester = _of_this_thread.requester = _Requester()
    requester.requests.put(request)
    try:
        answer, error = requester.answers.get(timeout=seconds)
    except Empty:
        del _of_this_thread.requester  # Its late answer must not be taken for that to the next request.
        raise ReadTimeout(f"timed out: no complete answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return answer  # type: ignore[no-any-return]


class _Requester:
    """A thread for the requests of one other: a new one for each would cost as much time as the request."""

    def __init__(self) -> None:
        self.requests: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self.answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        # The thread must not refer to this object, whose end is its end.
        Thread(
            target=_make_requests, args=(self.requests, self.answers), name="hub-requests", daemon=True
        ).start()

    def __del__(self) -> None:
        self.requests.put(None)


def _make_requests(
    requests: SimpleQueue[Callable[[], Any] | None], answers: SimpleQueue[tuple[Any, BaseException | None]]
) -> None:
    for request in iter(requests.get, None):
        try:
            answers.put((request(), None))
        except BaseException as error:  # noqa: BLE001 (whoever waits for the answer gets it)
            answers.put((None, error))
