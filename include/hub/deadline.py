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

    The timeouts of the HTTP client apply to each single step, so a server that sends a byte now and then
    could block a task for ever. Another thread makes the request. If the answer is late, the thread is left
    behind: it ends with its connection, or with the process.

    :raises ReadTimeout: after these seconds.
    """
    requester: _Requester | None = getattr(_of_this_thread, "requester", None)
    if requester is None:
        requester = _of_this_thread.requester = _Requester()
    requester.requests.put(request)
    try:
        answer, error = requester.answers.get(timeout=seconds)
    except Empty:
        del _of_this_thread.requester  # Its late answer must not become the answer to the next request.
        raise ReadTimeout(f"timed out: no complete answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return answer  # type: ignore[no-any-return]


class _Requester:
    """A thread that makes the requests of another one: a new thread for each takes as long as a request."""

    def __init__(self) -> None:
        self.requests: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self.answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        # The thread must not refer to this object, because it ends when this object is deleted.
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
        except BaseException as error:  # noqa: BLE001 (passed to the waiting thread)
            answers.put((None, error))
