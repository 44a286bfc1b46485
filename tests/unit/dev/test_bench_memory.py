"""The memory that the benchmark watches, in a process that has used none before."""

from __future__ import annotations

import multiprocessing
import time

import pytest

from dev.bench.memory import MemoryWatch

MEGABYTES = 80


def growth(seconds_before: float, seconds_after: float) -> float:
    with MemoryWatch() as memory:
        time.sleep(seconds_before)
        block = b"x" * (MEGABYTES * 2**20)
        time.sleep(seconds_after)
        del block
    return memory.growth_in_second_half


@pytest.mark.parametrize(("before", "after", "expected"), [(0.9, 0.1, MEGABYTES), (0.1, 0.9, 0)])
def test_only_what_grows_in_the_second_half_counts(before: float, after: float, expected: int) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(growth, (before, after)) == pytest.approx(expected, abs=10)
