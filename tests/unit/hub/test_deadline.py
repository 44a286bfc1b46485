"""The deadline of a request, however slowly its answer comes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from threading import Event, Thread

import httpx2
import pytest

from include.hub.deadline import within

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def dripping_server() -> Iterator[str]:
    """The address of a server that sends a byte of its answer every 50 ms, the header included."""
    stopped = Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            for byte in ANSWER:
                if stopped.wait(0.05):
                    break
                connection.sendall(bytes([byte]))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=drip, args=(server,))
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        stopped.set()
        thread.join()


def test_a_request_in_time_returns_its_answer(dripping_server: str) -> None:
    assert within(30, lambda: httpx2.get(dripping_server).text) == "{}"


def test_a_request_that_fails_raises_its_own_error() -> None:
    def fail() -> None:
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        within(30, fail)


def test_a_request_whose_answer_comes_too_slowly_fails_at_the_deadline(dripping_server: str) -> None:
    began = time.monotonic()

    with pytest.raises(httpx2.ReadTimeout, match=r"^timed out: no complete answer within 0\.3 s$"):
        within(0.3, lambda: httpx2.get(dripping_server, timeout=30))

    assert time.monotonic() - began < 1.5
