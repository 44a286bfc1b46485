"""Ranges of names: each name falls in exactly one, whatever the names are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.databases.name_ranges import ALL_NAMES, NameRange, cut, in_range

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
every_cache = settings(derandomize=True, database=None, deadline=None, max_examples=200)


@pytest.mark.parametrize(
    ("names", "query"),
    [
        (ALL_NAMES, {}),
        (("b", None), {"dataset": {"$gte": "b"}}),
        ((None, "d"), {"dataset": {"$lt": "d"}}),
        (("b", "d"), {"dataset": {"$gte": "b", "$lt": "d"}}),
        (("", ""), {"dataset": {"$gte": "", "$lt": ""}}),
    ],
)
def test_a_range_includes_its_first_name_and_not_its_end(names: NameRange, query: dict[str, Any]) -> None:
    assert in_range(names) == query


def name_at(documents: Sequence[str]) -> Callable[[int, dict[str, Any]], str | None]:
    """Find the name at a position, as a database with one document for each of the sorted names."""

    def find(position: int, query: dict[str, Any]) -> str | None:
        [(operator, name)] = query.get("dataset", {"$gte": ""}).items()
        first = {"$gte": bisect_left, "$gt": bisect_right}[operator](documents, name)
        return documents[first + position] if first + position < len(documents) else None

    return find


def is_in(name: str, names: NameRange) -> bool:
    first, end = names
    return (first is None or first <= name) and (end is None or name < end)


def test_each_range_has_about_as_many_documents() -> None:
    documents = [letter for letter in "abcdefgh" for _ in range(3)]

    assert cut(24, 4, name_at(documents)) == [(None, "c"), ("c", "e"), ("e", "g"), ("g", None)]


def test_one_range_holds_all_names() -> None:
    assert cut(3, 1, name_at(["a", "b", "c"])) == [ALL_NAMES]


def test_no_names_make_one_range() -> None:
    assert cut(0, 8, name_at([])) == [ALL_NAMES]


def test_a_dataset_with_more_documents_than_a_range_has_one_to_itself() -> None:
    documents = ["a", *["big"] * 20, "c", "d"]

    ranges = cut(len(documents), 4, name_at(documents))

    assert [part for part in ranges if is_in("big", part)] == [("big", "c")]


@every_cache
@given(st.dictionaries(names, st.integers(1, 30), max_size=30), st.integers(1, 12), st.integers(-5, 5))
def test_each_name_falls_in_exactly_one_range(documents: dict[str, int], count: int, error: int) -> None:
    """Even if the number of documents, which the database estimates, is a little wrong."""
    sorted_names = sorted(name for name, number in documents.items() for _ in range(number))
    total = max(0, len(sorted_names) + error)

    ranges = cut(total, count, name_at(sorted_names))

    assert 1 <= len(ranges) <= count
    for name in documents:
        assert sum(is_in(name, part) for part in ranges) == 1
    assert (ranges[0][0], ranges[-1][1]) == (None, None)
    assert all(end == first for (_, end), (first, _) in pairwise(ranges))


@every_cache
@given(st.dictionaries(names, st.integers(1, 30), min_size=1, max_size=30), st.integers(1, 12))
def test_no_range_has_many_more_documents_than_its_share(documents: dict[str, int], count: int) -> None:
    sorted_names = sorted(name for name, number in documents.items() for _ in range(number))
    share = -(-len(sorted_names) // count)

    ranges = cut(len(sorted_names), count, name_at(sorted_names))

    largest = max(documents.values())
    *parts, last = (sum(documents[name] for name in documents if is_in(name, part)) for part in ranges)
    assert all(part <= max(share, largest) for part in parts)
    assert last <= max(share, largest) + len(parts) * (largest - 1)
