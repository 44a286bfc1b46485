"""The figures of a benchmark: tables, files, and the change since the previous run."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.table import Table

_LIBRARIES = ("pymongo", "pymongoarrow", "numpy", "huggingface_hub")
#: Tables do not show smaller changes, which are noise.
_NOTABLE_CHANGE = 0.01

_SHOWN_UNITS = ("s", "ms", "MB", "%")

#: The figures of a column, by label. The text after a comma in a label is the unit.
Column = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one part of a benchmark: the columns of a table, by title."""

    title: str
    columns: Mapping[str, Column]

    def table(self, before: Mapping[str, Column]) -> Table:
        """Return the table, with the changes since the previous run."""
        table = Table(title=self.title)
        table.add_column("")
        for title in self.columns:
            table.add_column(title, justify="right")
        for row in dict.fromkeys(name for column in self.columns.values() for name in column):
            name, _, unit = row.partition(", ")
            cells = (
                _cell(column.get(row), before.get(title, {}).get(row), unit)
                for title, column in self.columns.items()
            )
            table.add_row(name, *cells)
        return table


def _cell(value: float | None, before: float | None, unit: str) -> str:
    if value is None:
        return ""
    digits = 2 if unit in ("s", "times") else 0
    text = f"{value:,.{digits}f}" + (f" {unit}" if unit in _SHOWN_UNITS else "")
    change = value / before - 1 if before else 0.0
    return f"{text} ({change:+.0%})" if abs(change) >= _NOTABLE_CHANGE else text


class History:
    """The figures of past runs: one JSON file per run, named by its time.

    :param folder: the folder of the files, created if missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def last(self) -> dict[str, Any]:
        """Return the latest figures of each part and column, by title."""
        found: dict[str, Any] = {}
        for path in sorted(self._folder.glob("*.json")):
            for title, columns in json.loads(path.read_text(encoding="utf-8"))["figures"].items():
                found.setdefault(title, {}).update(columns)
        return found

    def add(self, machine: str, parts: Sequence[Figures]) -> Path:
        """Store the figures of a run, and return the file."""
        now = datetime.now(UTC)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{now:%Y-%m-%dT%H%M%SZ}.json"
        run = {
            "time": now.isoformat(timespec="seconds"),
            "machine": machine,
            "figures": {part.title: part.columns for part in parts},
        }
        path.write_text(json.dumps(run, indent=2), encoding="utf-8")
        return path


def machine(mongodb_version: str) -> str:
    """Describe this machine and the versions of the software on it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"{os.cpu_count()} cores ({_cpu()}), {memory:.0f} GB; MongoDB {mongodb_version} on the same machine; "
        f"Python {platform.python_version()}, {libraries}; load {os.getloadavg()[0]:.1f} at the start"
    )


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
