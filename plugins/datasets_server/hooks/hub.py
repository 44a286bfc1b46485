"""The Hugging Face Hub, from its Connection."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from airflow.sdk import BaseHook, Connection

from datasets_server import settings
from datasets_server.hooks.connections import required_connection
from include.errors import ConfigurationError
from include.hosts import without_credentials
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.planning.processing_graph import Release

HUB_CONNECTION = settings.HUB.id


class HubHook(BaseHook):
    """The Hub.

    :param conn_id: a Connection of type generic. Its host is the endpoint (default https://huggingface.co;
        the scheme, a port and a trailing slash are optional), its password the access token.
    :raises ConfigurationError: if the Connection is missing.
    """

    def __init__(self, conn_id: str = HUB_CONNECTION) -> None:
        super().__init__()
        # The client logs every request: a line for each dataset.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        self._connection = required_connection(conn_id, conn_type="generic")

    def hub(self, release: Release, blocked: BlockList, sleep: Callable[[float], None] = time.sleep) -> Hub:
        """Return a client of the Hub that follows the rules of a release.

        :param sleep: how it waits for its rate limit.
        :raises ConfigurationError: if the endpoint is not a valid URL.
        """
        return Hub(*self.address_and_token, release, blocked, sleep)

    @property
    def address_and_token(self) -> tuple[str, str | None]:
        """The endpoint, and the token if there is one.

        :raises ConfigurationError: if the endpoint is not a valid URL.
        """
        return endpoint(self._connection), self._connection.password or None


def endpoint(connection: Connection) -> str:
    """Return the endpoint of a Connection to the Hub, with a scheme and without a trailing slash.

    :raises ConfigurationError: if it is not a valid URL, or has credentials: they would be sent instead of
        the token, and be in each message that names the Hub.
    """
    host = (connection.host or settings.HUB_ENDPOINT).strip().rstrip("/")
    url = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    if connection.port:
        url = f"{url}:{connection.port}"
    if "@" in url:
        raise ConfigurationError(
            f"The Connection {connection.conn_id} has credentials in its host: write the host alone,"
            f" {without_credentials(url)}, and the access token as the password."
        )
    if not _is_address(url):
        raise ConfigurationError(
            f"The Connection {connection.conn_id} has the host {connection.host!r}, which is not a valid URL:"
            f" write one such as {settings.HUB_ENDPOINT}."
        )
    return url


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # Only now it is read.
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
