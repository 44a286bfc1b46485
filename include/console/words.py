"""Numbers and times in words."""

from __future__ import annotations

from datetime import timedelta

_UNITS = (
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 job``, ``2,000 jobs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(time: timedelta) -> str:
    """Return a duration in the largest unit of which it has two, or in minutes: ``30 hours``, ``2 days``."""
    for unit, noun in _UNITS:
        if time >= 2 * unit:
            return counted(time // unit, noun)
    return "1 minute" if time >= timedelta(minutes=1) else "less than a minute"
