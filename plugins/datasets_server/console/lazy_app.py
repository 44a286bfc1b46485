"""The app of the console, made when it is first asked for something."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING

from datasets_server.console.headers import Message, Send, with_headers

if TYPE_CHECKING:
    from fastapi import FastAPI

_making = Lock()

logger = logging.getLogger(__name__)


class LazyApp:
    """An ASGI app that imports the console in a thread: Airflow's heartbeats do not wait for it."""

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Send,
    ) -> None:
        """Answer a request."""
        send = with_headers(scope["path"], send)
        try:
            app = await asyncio.to_thread(_console_once)
        except ImportError as error:
            logger.exception("The console cannot be imported")
            await _say_what_is_missing(error, send)
        else:
            await app(scope, receive, send)


async def _say_what_is_missing(error: ImportError, send: Send) -> None:
    """Answer without any package: the one that is missing may be that of the web pages."""
    text = (
        f"The console needs the package {error.name}, which is missing, or is another version: {error}.\n\n"
        "Install requirements.txt where Airflow's API server runs, have plugins/ and the folder with include/"
        " on its PYTHONPATH, and start it again.\n"
    )
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": HTTPStatus.SERVICE_UNAVAILABLE, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def _console_once() -> FastAPI:
    with _making:  # Two first requests at the same time make one app.
        return _console()


@cache
def _console() -> FastAPI:
    from datasets_server.console.app import create_app

    return create_app()
