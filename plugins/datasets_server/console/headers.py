"""The headers that each answer of the console has, an error too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def with_headers(path: str, send: Send) -> Send:
    """Return what sends an answer with these headers.

    :param path: of the request. A static file may be kept, if the browser asks each time whether it has
        changed; other answers may not, unless they say so.
    """
    kept = "no-cache" if "/static/" in path else "no-store"

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            has_own = any(name.lower() == b"cache-control" for name, _ in headers)
            added = _HEADERS if has_own else {**_HEADERS, "Cache-Control": kept}
            message = {**message, "headers": headers + _encoded(added)}
        await send(message)

    return send_with_headers


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
