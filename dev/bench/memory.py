"""The memory that this process uses, for benchmarks."""

from __future__ import annotations

from pathlib import Path


def resident_megabytes() -> float:
    """Return the memory that the process uses now."""
    return _status("VmRSS")


def peak_megabytes() -> float:
    """Return the peak memory of the process.

    (``getrusage`` includes the peak of the program that started this one.)
    """
    return _status("VmHWM")


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}.")
