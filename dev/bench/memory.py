"""How much memory this process takes, for benchmarks."""

from __future__ import annotations

from pathlib import Path


def resident_megabytes() -> float:
    """Return what it takes now."""
    return _status("VmRSS")


def peak_megabytes() -> float:
    """Return the most that it has ever taken.

    (``getrusage`` begins with the peak of the program that started this one.)
    """
    return _status("VmHWM")


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}.")
