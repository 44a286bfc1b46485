"""Two shards in two processes at the same time, compared with the same work in one process."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

from pymongo import MongoClient

from dev.bench.figures import Column
from dev.bench.world import World, mongodb_cpu_seconds, opened, queue_restored
from include.databases.name_ranges import ALL_NAMES, NameRange

_start: Barrier


def measure(world: World) -> Column:
    """Measure both, each as the first run on the same queue."""
    with opened(world) as parts:
        halves = parts.cache.shards(2)
        with queue_restored(parts.client):
            one = _took(parts.client, world, parts.forget_runs(), [ALL_NAMES])
        with queue_restored(parts.client):
            two = _took(parts.client, world, parts.forget_runs(), halves)
    return {
        "one process, s": one.seconds,
        "one process: CPU time of all but the Hub, s": one.cpu_seconds,
        "two processes, s": two.seconds,
        "two processes: CPU time of all but the Hub, s": two.cpu_seconds,
        "times as fast, times": one.seconds / two.seconds,
    }


@dataclass(frozen=True, slots=True)
class _Took:
    """The seconds from the common start to the last end, and the CPU seconds, MongoDB included."""

    seconds: float
    cpu_seconds: float


def _took(
    client: MongoClient[dict[str, Any]], world: World, listing_id: str, shards: list[NameRange]
) -> _Took:
    """Backfill shards, each in its own process."""
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(len(shards))
    cpu_before = mongodb_cpu_seconds(client)
    with spawn.Pool(len(shards), _remember, (barrier,)) as pool:
        times = pool.starmap(_backfill, [(world, listing_id, shard) for shard in shards], chunksize=1)
    cpu_seconds = mongodb_cpu_seconds(client) - cpu_before + sum(cpu for _, _, cpu in times)
    return _Took(max(end for _, end, _ in times) - min(start for start, _, _ in times), cpu_seconds)


def _remember(barrier: Barrier) -> None:
    global _start
    _start = barrier


def _backfill(world: World, listing_id: str, shard: NameRange) -> tuple[float, float, float]:
    """Return the start, the end and the CPU time of a backfill, in seconds."""
    with opened(world) as parts:
        parts.client.admin.command("ping")
        _start.wait()
        start, cpu_before = time.monotonic(), time.process_time()
        parts.run(listing_id, parts.cache.dataset_names(shard))
        return start, time.monotonic(), time.process_time() - cpu_before
