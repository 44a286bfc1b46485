"""Ports on the loopback interface of this machine."""

from __future__ import annotations

import logging
import socket

HOST = "127.0.0.1"

logger = logging.getLogger(__name__)


def is_free(port: int) -> bool:
    """Return whether a server could listen on this port now."""
    with socket.socket() as probe:
        # Servers set this too: recent connections do not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def is_listening(port: int) -> bool:
    """Return whether a server accepts connections on this port now."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def free_port() -> int:
    """Return a port on which no server listens."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def claim(preferred: int, what: str) -> int:
    """Return the preferred port if it is free, otherwise log a warning and return another one.

    :param what: the server that will listen there, for the warning.
    """
    if is_free(preferred):
        return preferred
    port = free_port()
    logger.warning("Port %s is taken by another program: %s listens on port %s.", preferred, what, port)
    return port
