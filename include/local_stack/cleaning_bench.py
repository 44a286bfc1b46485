"""``python -m include.local_stack.cleaning_bench``: how fast, and in how little memory, a directory is cleaned.

It makes empty files in ``.local/cleaning-bench`` and cleans them, each time in a process of its own, and makes
them again and deletes them with ``shutil.rmtree`` and nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from include.directory_cleaning import DirectoryCleaning, JudgeBy, clean

FOLDER = Path(".local") / "cleaning-bench"


@dataclass(frozen=True, slots=True)
class Layout:
    """How many folders there are, with how many files each, and how often they are measured."""

    folders: int
    files: int
    times: int

    def make(self) -> None:
        """Make the files anew."""
        shutil.rmtree(FOLDER, ignore_errors=True)
        for folder in range(self.folders):
            path = FOLDER / "user" / "datasets" / f"{folder:06}"
            path.mkdir(parents=True)
            for file in range(self.files):
                os.close(os.open(path / f"{file:07}", os.O_CREAT | os.O_WRONLY))


#: The first is that of the figure of the job that came before; the last is the worst that there can be.
LAYOUTS = (Layout(200, 500, 5), Layout(2_000, 500, 1), Layout(1, 1_000_000, 1))


def measure_clean(judge_by: JudgeBy) -> tuple[float, float]:
    """Clean the files, and give the seconds and the MB by which the process grew at most."""
    cleaning = DirectoryCleaning("bench", str(FOLDER.absolute()), "*/datasets/*", 0, judge_by.value)
    before, start = _peak_memory(), time.perf_counter()
    summary = clean(cleaning)
    seconds = time.perf_counter() - start
    if not summary.files or any((FOLDER / "user" / "datasets").iterdir()):
        raise RuntimeError("Not all files were deleted.")
    return seconds, _peak_memory() - before


def measure_rmtree() -> tuple[float, float]:
    """Delete the folders with nothing else, and give the same."""
    before, start = _peak_memory(), time.perf_counter()
    for folder in os.scandir(FOLDER / "user" / "datasets"):
        shutil.rmtree(folder.path)
    return time.perf_counter() - start, _peak_memory() - before


def _peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass(frozen=True, slots=True)
class Measurement:
    """The medians for one layout: seconds, and growth in MB."""

    layout: Layout
    by_path: tuple[float, float]
    by_contents: tuple[float, float]
    rmtree: tuple[float, float]


def _measure(layout: Layout) -> Measurement:
    def repeated(work: Callable[..., tuple[float, float]], *arguments: JudgeBy) -> tuple[float, float]:
        found = []
        for _ in range(layout.times):
            layout.make()
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found.append(pool.apply(work, arguments))
        return median(seconds for seconds, _ in found), max(memory for _, memory in found)

    return Measurement(
        layout,
        repeated(measure_clean, JudgeBy.PATH),
        repeated(measure_clean, JudgeBy.CONTENTS),
        repeated(measure_rmtree),
    )


def _table(measurements: list[Measurement]) -> Table:
    table = Table(title="Cleaning empty files, one process")
    table.add_column("")
    for measured in measurements:
        layout = measured.layout
        folders = f"{layout.folders:,} folders" if layout.folders > 1 else "one folder"
        table.add_column(f"{layout.folders * layout.files:,} files in {folders}", justify="right")
    rows: dict[str, list[str]] = {
        "clean": [f"{m.by_path[0]:.2f} s" for m in measurements],
        "files a second": [f"{m.layout.folders * m.layout.files / m.by_path[0]:,.0f}" for m in measurements],
        "growth of the process": [f"{m.by_path[1]:.1f} MB" for m in measurements],
        "clean, judge_by contents": [f"{m.by_contents[0]:.2f} s" for m in measurements],
        "growth of the process, judge_by contents": [f"{m.by_contents[1]:.1f} MB" for m in measurements],
        "shutil.rmtree alone": [f"{m.rmtree[0]:.2f} s" for m in measurements],
        "growth of the process, shutil.rmtree": [f"{m.rmtree[1]:.1f} MB" for m in measurements],
        "clean, times shutil.rmtree": [f"{m.by_path[0] / m.rmtree[0]:.2f}" for m in measurements],
    }
    for name, values in rows.items():
        table.add_row(name, *values)
    return table


def main() -> None:
    """Measure each layout, and print the table."""
    console = Console(width=130)
    console.print(f"{os.cpu_count()} cores, Python {platform.python_version()}")
    measurements = []
    try:
        for layout in LAYOUTS:
            console.print(f"Measuring {layout.folders * layout.files:,} files ...")
            measurements.append(_measure(layout))
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    console.print(_table(measurements))


if __name__ == "__main__":
    main()
