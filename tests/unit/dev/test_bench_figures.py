"""The figures of the benchmark: kept from run to run, and shown with what has changed."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dev.bench.figures import Column, Figures, History

SECONDS: Column = {"backfill, s": 4.0, "peak memory, MB": 200.0, "jobs created": 2_179}


def shown(figures: Figures, before: dict[str, Column]) -> list[str]:
    console = Console(file=StringIO(), width=100)
    console.print(figures.table(before))
    assert isinstance(console.file, StringIO)
    return [" ".join(line.strip("│").split()) for line in console.file.getvalue().splitlines() if "│" in line]


@pytest.mark.parametrize(
    ("before", "row"),
    [
        ({}, "backfill │ 4.00 s"),
        ({"2,000 datasets": {"backfill, s": 5.0}}, "backfill │ 4.00 s (-20%)"),
        ({"2,000 datasets": {"backfill, s": 3.2}}, "backfill │ 4.00 s (+25%)"),
        ({"2,000 datasets": {"backfill, s": 4.01}}, "backfill │ 4.00 s"),
        ({"another size": {"backfill, s": 5.0}}, "backfill │ 4.00 s"),
    ],
)
def test_a_table_shows_the_change_since_the_run_before(before: dict[str, Column], row: str) -> None:
    rows = shown(Figures("A backfill", {"2,000 datasets": SECONDS}), before)

    assert rows == [row, "peak memory │ 200 MB", "jobs created │ 2,179"]


def test_a_column_without_a_figure_has_an_empty_cell() -> None:
    rows = shown(Figures("A backfill", {"a": {"x": 1.0}, "b": {"y": 2.0}}), {})

    assert rows == ["x │ 1 │", "y │ │ 2"]


def test_the_history_returns_the_last_figures_of_each_column(tmp_path: Path) -> None:
    history = History(tmp_path / "results")
    assert history.last() == {}

    history.add("a machine", [Figures("A backfill", {"2,000": {"s": 1.0}, "20,000": {"s": 10.0}})])

    assert History(tmp_path / "results").last() == {
        "A backfill": {"2,000": {"s": 1.0}, "20,000": {"s": 10.0}}
    }
