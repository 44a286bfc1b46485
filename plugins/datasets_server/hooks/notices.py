"""The services that receive notices, from their Connection."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from airflow.providers.apprise.hooks.apprise import AppriseHook
from apprise import Apprise

from datasets_server import settings
from datasets_server.hooks.connections import required_connection
from include.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Connection

NOTICES_CONNECTION = settings.NOTICES.id
#: On some levels, they log URLs, most of which contain a secret.
_LOGGERS_OF_URLS = ("apprise", "urllib3")
_EXAMPLE = '[{"path": "json://example.com/hook"}]'


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a notice.

    :param received: the number of services that received it.
    :param services: the number of all services.
    :param problems: what went wrong, without secrets.
    """

    received: int
    services: int
    problems: tuple[str, ...]


class NoticesHook(AppriseHook):
    """The services of a Connection of type apprise.

    No URL of the Connection gets into the log, where the provider's own hook lets apprise write some of them.

    :raises ConfigurationError: if the Connection is missing, or its field ``config`` is no list of services.
    """

    def __init__(self, conn_id: str = NOTICES_CONNECTION) -> None:
        super().__init__(conn_id)
        self._connection = required_connection(conn_id, conn_type="apprise")
        self._urls = _urls(self, self._connection)

    def services(self) -> list[str]:
        """Return the types of the services, such as ``slack``.

        :raises ConfigurationError: if apprise does not understand one of the URLs.
        """
        with _kept_from_log() as lines:
            for number, url in enumerate(self._urls, 1):
                if not Apprise().add(url):
                    raise ConfigurationError(
                        f"The Connection {self.apprise_conn_id} has an invalid URL, number {number} of"
                        f" {len(self._urls)}: {'; '.join(self._without_secrets(lines))}"
                    )
        return [url.partition("://")[0] for url in self._urls]

    def deliver(self, title: str, body: str) -> Delivery:
        """Send a text to each service. A service that does not answer fails after some seconds."""
        services = Apprise()
        with _kept_from_log() as lines:
            self.set_config_from_conn(self._connection, services)
            result = services.notify(body=body, title=title)
        return Delivery(result.success_count, len(self._urls), self._without_secrets(lines))

    def _without_secrets(self, lines: Iterable[str]) -> tuple[str, ...]:
        """Return some lines, each once, without URLs and without any part of a URL of the Connection."""
        rests = [url.rpartition("://")[2] for url in self._urls]
        parts = {part for rest in rests for part in re.split(r"[/:@?&=,;#\s]+", f"{rest} {unquote(rest)}")}
        any_part = "|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True) if len(part) > 3)
        secrets = re.compile(rf"(?<=://)\S+|{any_part}" if any_part else r"(?<=://)\S+")
        return tuple(dict.fromkeys(secrets.sub("***", line) for line in lines))


def _urls(hook: AppriseHook, connection: Connection) -> list[str]:
    try:
        config = hook.get_config_from_conn(connection)
        urls = [entry["path"] for entry in (config if isinstance(config, list) else [config])]
    except (KeyError, TypeError, ValueError):
        urls = []
    if not urls or not all(isinstance(url, str) for url in urls):
        # Without the cause, which may have the text of the field.
        raise ConfigurationError(
            f"The Connection {connection.conn_id} has no services: set its field config to a JSON list,"
            f" such as {_EXAMPLE}."
        ) from None
    return urls


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(" ".join(record.getMessage().split()))


@contextmanager
def _kept_from_log() -> Iterator[list[str]]:
    """Keep the lines of apprise and its HTTP client from the log, and yield a list that gets the warnings."""
    collector = _Collector()
    loggers = [logging.getLogger(name) for name in _LOGGERS_OF_URLS]
    before = [(logger, logger.handlers, logger.propagate) for logger in loggers]
    try:
        for logger in loggers:
            logger.handlers, logger.propagate = [collector], False
        yield collector.lines
    finally:
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
