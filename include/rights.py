"""What a service lets us do, found out by trying it without leaving a trace."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rights:
    """The collections, folders or prefixes that may not be read, and those that may not be written."""

    unreadable: tuple[str, ...] = ()
    unwritable: tuple[str, ...] = ()
