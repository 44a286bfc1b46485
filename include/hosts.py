"""Hosts as they are shown."""

from __future__ import annotations


def without_credentials(host: str) -> str:
    """Return a host, or a URL, without the ``user:password@`` that some people write in front of it."""
    scheme, separator, rest = host.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
