"""How much of Airflow's API server the console may take, and who waits for whom."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Response
from fastapi.testclient import TestClient

from datasets_server.console import answers, app, lazy_app
from datasets_server.console import databases as console_databases
from datasets_server.console.answers import (
    BUSY,
    COMPUTED_AT_ONCE,
    forget_answers,
    forget_old_answers,
    kept,
    turn_to_compute,
)
from datasets_server.console.app import REQUESTS_AT_ONCE
from datasets_server.console.views import runs
from include.databases.bounded import all_within
from include.errors import ServiceError

LogIn = Callable[[str | None], TestClient]


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LONGEST_WAIT_SECONDS", 0.1)


@pytest.fixture
def new_console() -> Iterator[None]:
    """Make the console anew: what waits for one another in it belongs to one event loop."""
    lazy_app._console.cache_clear()
    yield
    lazy_app._console.cache_clear()


@contextmanager
def all_turns_taken() -> Iterator[None]:
    """Let as many threads as may do so compute an answer."""
    end = threading.Event()
    begun = threading.Barrier(COMPUTED_AT_ONCE + 1)

    def compute() -> None:
        with turn_to_compute():
            begun.wait()
            end.wait()

    with ThreadPoolExecutor(COMPUTED_AT_ONCE) as pool:
        for _ in range(COMPUTED_AT_ONCE):
            pool.submit(compute)
        begun.wait()
        try:
            yield
        finally:
            end.set()


def test_a_page_that_gets_no_turn_says_to_try_again(
    connections: None, short_waits: None, log_in: LogIn
) -> None:
    with all_turns_taken():
        answer = log_in("viewer").get("/datasets-server/dataset/names?prefix=a")

    assert answer.status_code == 503
    assert "wait some seconds, then load this page again" in answer.json()["error"]


def test_what_computes_nothing_needs_no_turn(short_waits: None, log_in: LogIn) -> None:
    with all_turns_taken():
        assert log_in("viewer").get("/datasets-server/runs").status_code == 200


def test_who_waits_for_the_answer_of_another_takes_no_turn(short_waits: None) -> None:
    begun, end = threading.Event(), threading.Event()

    @kept
    def slow() -> str:
        with turn_to_compute():
            begun.set()
            end.wait()
            return "answer"

    with ThreadPoolExecutor(COMPUTED_AT_ONCE + 1) as pool:
        first = pool.submit(slow)
        begun.wait()
        others = [pool.submit(slow) for _ in range(COMPUTED_AT_ONCE)]
        with turn_to_compute():
            pass
        assert all(isinstance(other.exception(), ServiceError) for other in others)
        end.set()

    assert first.result() == "answer"


def test_an_error_is_not_kept() -> None:
    results: Iterator[ServiceError | str] = iter([ServiceError("down"), "answer"])

    @kept
    def sometimes() -> str:
        result = next(results)
        if isinstance(result, ServiceError):
            raise result
        return result

    with pytest.raises(ServiceError, match="down"):
        sometimes()
    assert sometimes() == "answer"


def test_large_answers_take_the_place_of_others() -> None:
    calls = []

    @kept
    def view(weight: int) -> SimpleNamespace:
        calls.append(weight)
        return SimpleNamespace(weight=weight)

    for weight in (1, 200_000, 1, 200_000, 300_000, 200_000, 500_000, 500_000):
        view(weight)

    assert calls == [1, 200_000, 300_000, 200_000, 500_000]


def test_the_memory_of_old_answers_is_free_though_nobody_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "KEPT_SECONDS", 0.01)

    class Answer:
        pass

    remembered = kept(Answer)
    answer = weakref.ref(remembered())
    assert answer()
    time.sleep(0.01)
    forget_old_answers()

    assert not answer()


@pytest.mark.parametrize("path", ["now", "over-time", "errors", "errors?code=a", "dataset?name=a"])
def test_a_page_whose_reads_take_too_long_together_says_what_to_do(
    connections: None, log_in: LogIn, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(console_databases, "all_within", lambda seconds: all_within(0 * seconds))
    forget_answers()

    answer = log_in("viewer").get(f"/datasets-server/{path}")

    assert answer.status_code == 503
    assert "The databases took too long: load this page again in some minutes." in answer.json()["error"]


def test_the_console_takes_few_threads_of_the_api_server(
    new_console: None, log_in: LogIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, end = threading.Semaphore(0), threading.Event()

    def render(*_: object, **__: object) -> Response:
        begun.release()
        end.wait()
        return Response()

    monkeypatch.setattr(runs, "render", render)
    monkeypatch.setattr(app, "LONGEST_WAIT_SECONDS", 0.1)
    client = log_in("viewer")
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        working = [pool.submit(client.get, "/datasets-server/runs") for _ in range(REQUESTS_AT_ONCE)]
        for _ in working:
            begun.acquire()
        refused = client.get("/datasets-server/now")
        end.set()

    assert (refused.status_code, refused.json()) == (503, {"error": BUSY})
    assert {each.result().status_code for each in working} == {200}


def test_slow_readers_keep_nobody_waiting(new_console: None, log_in: LogIn) -> None:
    client = log_in("viewer")
    cookie = f"_token={client.cookies['_token']}".encode()

    asyncio.run(asyncio.wait_for(_ask_slowly(client.app, cookie, REQUESTS_AT_ONCE + 1), 30))


async def _ask_slowly(server: Any, cookie: bytes, number: int) -> None:
    """Ask so many times for a page, and read no answer until all of them are there."""
    all_answered = asyncio.Barrier(number)
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/datasets-server/runs",
        "query_string": b"",
        "headers": [(b"cookie", cookie)],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200
            await all_answered.wait()

    await asyncio.gather(*(server(dict(scope), receive, send) for _ in range(number)))
