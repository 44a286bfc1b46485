"""Servers that receive notices: a webhook over HTTP, and e-mail over SMTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from dev.local_stack.ports import HOST, free_port


class Webhook:
    """A server that keeps the path and the JSON of each request, and answers with ``status``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.status = 200
        self.paths: list[str] = []
        self.received: list[dict[str, Any]] = []

    @property
    def messages(self) -> list[str]:
        return [each["message"] for each in self.received]

    @property
    def titles(self) -> list[str]:
        return [each["title"] for each in self.received]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Start a webhook at ``url``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.paths.append(self.path)
            hook.received.append(json.loads(body))
            self.send_response(hook.status)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Log nothing."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        hook = Webhook(f"http://{HOST}:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield hook
        server.shutdown()


class Mailbox:
    """A mail server that keeps the subject and the text of each e-mail."""

    def __init__(self) -> None:
        self.port = free_port()
        self.recipients: list[str] = []
        self.subjects: list[str] = []
        self.texts: list[str] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        message = message_from_bytes(envelope.content or b"", policy=policy.default)  # type: ignore[arg-type]
        self.recipients += envelope.rcpt_tos
        self.subjects.append(message["Subject"])
        body = message.get_body(("plain", "html"))
        self.texts.append(body.get_content() if body else "")
        return "250 OK"


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Start a mail server at ``port``."""
    box = Mailbox()
    controller = Controller(box, hostname=HOST, port=box.port)
    controller.start()
    yield box
    controller.stop()
