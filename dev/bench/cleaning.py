"""``python -m dev.bench.cleaning``: measure the time and the memory of cleaning a directory.

It creates empty files in ``.local/cleaning-bench`` and cleans them, each time in a new process. For
comparison, ``shutil.rmtree`` deletes the same number of files.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from dev.bench.memory import peak_megabytes, resident_megabytes
from include.actions.clean_directory.cleaning import clean
from include.actions.clean_directory.rule import DirectoryCleaning, JudgeBy

FOLDER = Path(".local") / "cleaning-bench"


@dataclass(frozen=True, slots=True)
class Case:
    """A way to delete ``folders`` with ``files`` files each, measured ``times`` times."""

    folders: int
    files: int
    name: str
    work: Callable[[Path], object]
    times: int = 1

    @property
    def all_files(self) -> int:
        """The total number of files."""
        return self.folders * self.files

    def make(self, directory: Path) -> None:
        """Create the files."""
        for folder in range(self.folders):
            path = directory / "user" / "datasets" / f"{folder:06}"
            path.mkdir(parents=True)
            for file in range(self.files):
                os.close(os.open(path / f"{file:07}", os.O_CREAT | os.O_WRONLY))


def _clean(judge_by: JudgeBy, directory: Path) -> None:
    clean(DirectoryCleaning("bench", str(directory.absolute()), "*/datasets/*", 0, judge_by.value))


def _rmtree(directory: Path) -> None:
    for folder in os.scandir(directory / "user" / "datasets"):
        shutil.rmtree(folder.path)


#: The CronJob that this replaces was measured with 200 folders. A single folder is the worst case.
CASES = (
    Case(200, 500, "clean", partial(_clean, JudgeBy.PATH), times=5),
    Case(200, 500, "clean, judge_by contents", partial(_clean, JudgeBy.CONTENTS), times=5),
    Case(200, 500, "shutil.rmtree", _rmtree, times=5),
    Case(2_000, 500, "clean", partial(_clean, JudgeBy.PATH)),
    Case(1, 1_000_000, "clean", partial(_clean, JudgeBy.PATH)),
)


def measure(work: Callable[[Path], object], directory: Path) -> tuple[float, float]:
    """Do the work, and return its seconds and the peak growth of the process in MB.

    :raises RuntimeError: if files are left.
    """
    memory, start = resident_megabytes(), time.perf_counter()
    work(directory)
    seconds = time.perf_counter() - start
    if any((directory / "user" / "datasets").iterdir()):
        raise RuntimeError("Some files were not deleted.")
    return seconds, max(peak_megabytes() - memory, 0)


def _measured() -> dict[Case, list[tuple[float, float]]]:
    """Measure the cases in turns, because the load of the machine changes."""
    runs = [
        (case, FOLDER / f"{index}-{turn}")
        for turn in range(max(case.times for case in CASES))
        for index, case in enumerate(CASES)
        if turn < case.times
    ]
    # Create all files first: on ext4, creating files is slow for minutes after many deletions.
    for case, directory in runs:
        case.make(directory)
    found: dict[Case, list[tuple[float, float]]] = {case: [] for case in CASES}
    for case, directory in runs:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[case].append(pool.apply(measure, (case.work, directory)))
    return found


def main() -> None:
    """Measure each case, and print the table."""
    console = Console(width=120)
    table = Table("empty files", "folders", "what", title="Cleaning a directory, one process")
    for column in ("fastest", "median", "files a second", "growth of the process"):
        table.add_column(column, justify="right")
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        with console.status("Creating millions of files and deleting them ..."):
            found = _measured()
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    for case, measurements in found.items():
        seconds = [seconds for seconds, _ in measurements]
        table.add_row(
            *(f"{case.all_files:,}", f"{case.folders:,}", case.name, f"{min(seconds):.2f} s"),
            *(f"{median(seconds):.2f} s", f"{case.all_files / median(seconds):,.0f}"),
            f"{max(memory for _, memory in measurements):.1f} MB",
        )
    console.print(f"{os.cpu_count()} cores, Python {platform.python_version()}")
    console.print(table)


if __name__ == "__main__":
    main()
