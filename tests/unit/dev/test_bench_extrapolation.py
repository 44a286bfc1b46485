"""The extrapolation of the benchmark: what it multiplies by what, and what it does not dare to say."""

from __future__ import annotations

import pytest

from dev.bench.extrapolation import at_scale, extrapolated
from dev.bench.figures import Column, Figures

MEASURED: Column = {
    "datasets": 50_000,
    "entries": 1_000_000,
    "jobs created": 20_000,
    "backfill, s": 10.0,
    "CPU time of its process, s": 6.0,
    "CPU time of MongoDB, s": 4.0,
    "read into MongoDB's cache, MB": 300.0,
    "listing the Hub, s": 2.0,
    "MongoDB commands": 800,
    "Hub requests": 250,
    "peak memory, MB": 270.0,
    "peak memory: growth in the second half, MB": 5.0,
}


def test_work_grows_with_the_entries_and_requests_grow_with_the_datasets() -> None:
    figures = at_scale(MEASURED)

    assert figures["backfill, s"] == 300.0
    assert figures["read into MongoDB's cache, MB"] == 9_000.0
    assert figures["MongoDB commands"] == 8_000
    assert figures["Hub requests"] == 2_500
    assert figures["the Hub's limit of requests allows it in, s"] == 300.0


def test_memory_grows_as_in_the_second_half_of_the_run() -> None:
    assert at_scale(MEASURED)["peak memory, MB"] == 270.0 + 18 * 5.0


def test_a_short_run_says_nothing_about_memory() -> None:
    assert "peak memory, MB" not in at_scale({**MEASURED, "datasets": 3_000})


def test_the_table_has_a_first_run_and_a_night_of_each_world_and_says_that_it_is_extrapolated() -> None:
    states = {
        "first run": MEASURED,
        "nothing changed": MEASURED,
        "1 % changed": {**MEASURED, "backfill, s": 1.0},
    }

    figures = extrapolated([Figures("light", states), Figures("heavy", states)])

    assert "EXTRAPOLATED" in figures.title
    assert list(figures.columns) == [
        "first run, from light",
        "a night, from light",
        "first run, from heavy",
        "a night, from heavy",
    ]
    assert figures.columns["a night, from heavy"]["backfill, s"] == pytest.approx(30.0)
