"""The memory that this process uses, for benchmarks."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_WATCH_SECONDS = 0.1


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


class MemoryWatch:
    """Watches the peak memory of the process, to tell what still grows in the second half of some work.

    The first half includes all that is allocated once; the rest of the growth goes on in longer work.
    """

    def __init__(self) -> None:
        self._peaks: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_WATCH_SECONDS):
            self._peaks.append(peak_megabytes())
        self._peaks.append(peak_megabytes())

    @property
    def growth_in_second_half(self) -> float:
        """By how many MB the peak has grown in the second half of the time."""
        # Linux counts so inexactly that a peak may even sink a little.
        return max(self._peaks[-1] - self._peaks[len(self._peaks) // 2], 0.0)
