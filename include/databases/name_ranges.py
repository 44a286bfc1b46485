"""Ranges of dataset names: how the work is cut into shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

#: A part of the sorted names: from the first, included, to the second, excluded. None is no bound.
NameRange = tuple[str | None, str | None]

ALL_NAMES: NameRange = (None, None)


def in_range(names: NameRange) -> dict[str, Any]:
    """Return the query for the documents whose ``dataset`` is in a range of names.

    Only MongoDB compares names, so each name is in exactly one range, with any characters.
    """
    first, end = names
    bounds = {operator: name for operator, name in (("$gte", first), ("$lt", end)) if name is not None}
    return {"dataset": bounds} if bounds else {}


def cut(total: int, count: int, name_at: Callable[[int, dict[str, Any]], str | None]) -> list[NameRange]:
    """Cut all names into at most ``count`` ranges with about as many documents each.

    If a dataset has more documents than a range should have, there are fewer ranges.

    :param total: the number of documents.
    :param name_at: returns the name at a position in the sorted names of the documents that meet a query.
    """
    documents = max(1, -(-total // count))
    starts = [name_at(0, {})]
    while starts[-1] is not None and len(starts) < count:
        start = name_at(documents, {"dataset": {"$gte": starts[-1]}})
        if start == starts[-1]:
            start = name_at(0, {"dataset": {"$gt": start}})
        starts.append(start)
    return ranges_between([start for start in starts[1:] if start is not None])


def ranges_between(bounds: Sequence[str]) -> list[NameRange]:
    """Return the ranges between some sorted names; together they hold all names."""
    return list(zip([None, *bounds], [*bounds, None], strict=True))
