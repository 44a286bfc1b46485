"""A backfill beside workers and webhooks: how much they delay each other, whether the counts are right."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from dev.bench.figures import Column
from dev.bench.world import CACHE, QUEUE, Parts, World, opened, queue_restored
from dev.local_stack.consistency import doubled_jobs, lost_webhooks, wrong_counts
from dev.local_stack.documents import JOB_TOTALS, WORKER_SIZES
from dev.local_stack.live_system import Activity, LiveProcesses, LiveSystem
from include.actions.backfill.pipeline import BackfillOptions
from include.planning.dataset_state import Priority

#: None is up to date, so that all but the first ones together need some 20,000 jobs.
DATASETS = 2_200
#: They have their jobs from the beginning, which keeps the workers busy.
DATASETS_WITH_JOBS = 200
SECONDS_ALONE = 10.0

_RATE = "workers: counters moved a second"


@dataclass(frozen=True, slots=True)
class _Backfilled:
    """When a backfill started and ended (seconds of the monotonic clock), and how many jobs it created."""

    start: float
    end: float
    jobs: int

    @property
    def figures(self) -> Column:
        return {"backfill, s": self.end - self.start, "backfill: jobs created": self.jobs}


def measure(world: World) -> Mapping[str, Column]:
    """Measure the backfill and the workers, each alone and then both together."""
    with opened(world) as parts:
        listing_id = parts.list_hub()
        names = list(parts.cache.dataset_names())
        urgent = BackfillOptions(priority=Priority.NORMAL)
        parts.run(listing_id, names[:DATASETS_WITH_JOBS], urgent)
        with queue_restored(parts.client):
            _backfill(parts, listing_id, names)  # The first time, MongoDB reads the entries from the disk.
        with queue_restored(parts.client):
            alone = _backfill(parts, listing_id, names)
        system = LiveSystem(world.mongo_uri, CACHE, QUEUE, world.hub_url, parts.release.name)
        with _conflicts(parts.client[QUEUE]) as conflicts, LiveProcesses(system) as live:
            start = time.monotonic()
            time.sleep(SECONDS_ALONE)
            beside = _backfill(parts, listing_id, names)
            activity = live.stop()
            workers_alone = _workers(activity.between(start, beside.start), beside.start - start)
        workers_beside = _workers(activity.between(beside.start, beside.end), beside.end - beside.start)
        return {
            "alone": {**alone.figures, **workers_alone},
            "at the same time": {
                **beside.figures,
                "backfill: times as long, times": (beside.end - beside.start) / (alone.end - alone.start),
                **workers_beside,
                "workers: loss of rate, %": 100 * (1 - workers_beside[_RATE] / workers_alone[_RATE]),
                "longest wait for another's move of a counter, ms": max(conflicts, default=0),
                "wrong counts": len(wrong_counts(parts.client[CACHE], parts.client[QUEUE])),
                "artifacts with two pending jobs": len(doubled_jobs(parts.client[QUEUE])),
                "jobs of webhooks lost": len(lost_webhooks(parts.client[QUEUE], activity)),
            },
        }


def _backfill(parts: Parts, listing_id: str, names: Sequence[str]) -> _Backfilled:
    start = time.monotonic()
    summary = parts.run(listing_id, names)
    return _Backfilled(start, time.monotonic(), summary.jobs_created)


def _workers(activity: Activity, seconds: float) -> Column:
    took = sorted(move_seconds for _, move_seconds in activity.moves)
    return {
        "workers: jobs a second": len(activity.finished) / seconds,
        "webhooks a second": len(activity.webhooks) / seconds,
        _RATE: len(took) / seconds,
        "move of a counter: median, ms": 1_000 * took[len(took) // 2],
        "move of a counter: 99 %, ms": 1_000 * took[len(took) * 99 // 100],
        "move of a counter: longest, ms": 1_000 * took[-1],
    }


@contextmanager
def _conflicts(queue: Database[dict[str, Any]]) -> Iterator[list[int]]:
    """Let MongoDB tell how long it took (ms) to move counters that somebody else was just moving."""
    found: list[int] = []
    counters = [f"{queue.name}.{name}" for name in (JOB_TOTALS, WORKER_SIZES)]
    queue.command({"profile": 1, "filter": {"writeConflicts": {"$gt": 0}, "ns": {"$in": counters}}})
    try:
        yield found
    finally:
        queue.command({"profile": 0, "filter": "unset"})
        found += [operation["millis"] for operation in queue["system.profile"].find({"op": "update"})]
        queue.drop_collection("system.profile")
