"""The releases that a test runs with: found by their files and chosen by their rules, not by their names."""

from __future__ import annotations

from collections.abc import Callable

from include.planning.processing_graph import Release, load_release, release_names


def releases_that(meet: Callable[[Release], object]) -> list[str]:
    """The names of the releases that meet a condition. There has to be one: else nothing would be tested."""
    names = [name for name in release_names() if meet(load_release(name))]
    assert names, "no release meets the condition"
    return names
