"""The Hugging Face Hub, from its Connection."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from airflow.sdk import BaseHook, Connection

from datasets_server import settings
from datasets_server.hooks.connections import required_connection
from include.errors import ConfigurationError
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.planning.processing_graph import Release

HUB_CONNECTION = settings.HUB.id
DEFAULT_ENDPOINT = "https://huggingface.co"


class HubHook(BaseHook):
    """The Hub.

    :param conn_id: a Connection of type generic. Its host is the endpoint (https://huggingface.co by default;
        the scheme, a port and a slash at its end are optional), its password the access token.
    """

    def __init__(self, conn_id: str = HUB_CONNECTION) -> None:
        super().__init__()
        # The client logs every request, which would be a line for each dataset.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        self._connection = required_connection(conn_id, conn_type="generic")

    def hub(self, release: Release, blocked: BlockList) -> Hub:
        """Give a client of the Hub, with the rules of a release."""
        return Hub(endpoint(self._connection), self._connection.password or None, release, blocked)


def endpoint(connection: Connection) -> str:
    """Give the address of the Hub that a Connection names, with a scheme and without a slash at its end.

    :raises ConfigurationError: if it is no address.
    """
    host = (connection.host or DEFAULT_ENDPOINT).strip().rstrip("/")
    address = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    if connection.port:
        address = f"{address}:{connection.port}"
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"The Connection {connection.conn_id} has the host {connection.host!r}: write its address,"
            f" such as {DEFAULT_ENDPOINT}."
        )
    return address
