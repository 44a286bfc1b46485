"""What a production database would take, extrapolated from measured figures."""

from __future__ import annotations

from collections.abc import Iterable

from dev.bench.figures import Column, Figures
from dev.bench.one_process import CHANGED, FIRST

DATASETS, ENTRIES = 500_000, 30_000_000

#: What the Hub allows a PRO account: so many requests in so many seconds.
_HUB_REQUESTS, _HUB_SECONDS = 2_500, 300

_BY_ENTRIES = (
    "jobs created",
    "backfill, s",
    "CPU time of its process, s",
    "CPU time of MongoDB, s",
    "read into MongoDB's cache, MB",
)
_BY_DATASETS = ("listing the Hub, s", "MongoDB commands", "Hub requests")

#: A shorter run is over before its memory has stopped to grow. (Heavy contents do not need memory of the run:
#: they never leave MongoDB.)
_ENOUGH_DATASETS_FOR_MEMORY = 10_000


def extrapolated(measured: Iterable[Figures]) -> Figures:
    """Return the figures for a first run and for a night's, from those of some worlds in each state."""
    columns = {
        f"{run}, from {world.title}": at_scale(world.columns[state])
        for world in measured
        for run, state in (("first run", FIRST), ("a night", CHANGED))
    }
    return Figures(f"EXTRAPOLATED, not measured: {DATASETS:,} datasets, {ENTRIES:,} entries", columns)


def at_scale(column: Column) -> Column:
    """Multiply the figures of a run, some by the ratio of the entries, some by that of the datasets.

    Memory grows by what it has grown in the second half of the run, again and again. The Hub's limit of
    requests may allow the run only in more time than the backfill would take otherwise.
    """
    by_entries, by_datasets = ENTRIES / column["entries"], DATASETS / column["datasets"]
    figures = {
        "times the entries measured, times": by_entries,
        "times the datasets measured, times": by_datasets,
        **{name: column[name] * by_entries for name in _BY_ENTRIES},
        **{name: column[name] * by_datasets for name in _BY_DATASETS},
    }
    figures["the Hub's limit of requests allows it in, s"] = (
        figures["Hub requests"] * _HUB_SECONDS / _HUB_REQUESTS
    )
    if column["datasets"] >= _ENOUGH_DATASETS_FOR_MEMORY:
        halves_to_come = 2 * (by_datasets - 1)
        growth = column["peak memory: growth in the second half, MB"] * halves_to_come
        figures["peak memory, MB"] = column["peak memory, MB"] + growth
    return figures
