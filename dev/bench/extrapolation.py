"""What a production database would take, extrapolated from measured figures."""

from __future__ import annotations

from collections.abc import Mapping

from dev.bench.figures import Column, Figures
from dev.bench.one_process import CHANGED, FIRST

DATASETS, ENTRIES = 500_000, 30_000_000

#: What the Hub allows a PRO account: so many requests in so many seconds.
_HUB_REQUESTS, _HUB_SECONDS = 2_500, 300

_PROPORTIONAL = (
    "jobs created",
    "backfill, s",
    "CPU time of its process, s",
    "CPU time of MongoDB, s",
    "MongoDB commands",
    "read into MongoDB's cache, MB",
    "Hub requests",
)


def extrapolated(measured: Mapping[str, Mapping[str, Column]]) -> Figures:
    """Return the figures for a first run and for a night's, from those of some worlds in each state.

    :param measured: by the title of the world, then by state.
    """
    columns = {
        f"{what}: {title}": at_scale(states[state])
        for title, states in measured.items()
        for what, state in (("first run", FIRST), ("a night", CHANGED))
    }
    return Figures(f"EXTRAPOLATED, not measured: {DATASETS:,} datasets, {ENTRIES:,} entries", columns)


def at_scale(column: Column) -> Column:
    """Multiply the figures of a run, by the larger of two ratios: that of the datasets, that of the entries.

    Memory grows by what it has grown in the second half of the run, again and again. The listing of the Hub
    grows with the datasets. The backfill is never faster than the Hub's limit of requests.
    """
    factor = max(DATASETS / column["datasets"], ENTRIES / column["entries"])
    halves_to_come = 2 * (factor - 1)
    growth = column["peak memory: growth in the second half, MB"] * halves_to_come
    figures = {name: column[name] * factor for name in _PROPORTIONAL}
    return {
        "times the measured run, times": factor,
        "listing the Hub, s": column["listing the Hub, s"] * DATASETS / column["datasets"],
        **figures,
        "the Hub's limit of requests allows it in, s": figures["Hub requests"] * _HUB_SECONDS / _HUB_REQUESTS,
        "peak memory, MB": column["peak memory, MB"] + growth,
    }
