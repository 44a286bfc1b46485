"""The app of the console, made when it is first asked for something."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

Message = MutableMapping[str, Any]

_making = Lock()


class LazyApp:
    """An ASGI app that imports the console in a thread: Airflow's heartbeats do not wait for it."""

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer a request."""
        app = await asyncio.to_thread(_console_once)
        await app(scope, receive, send)


def _console_once() -> FastAPI:
    with _making:  # Two first requests at the same time make one app.
        return _console()


@cache
def _console() -> FastAPI:
    from datasets_server.console.app import create_app

    return create_app()
