"""A backfill in one process, compared with a bare read of the same entries."""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

from pymongo import MongoClient, monitoring

from dev.bench.figures import Column
from dev.bench.memory import peak_megabytes
from dev.bench.world import CACHE, World, mongodb_cpu_seconds, opened
from include.databases.cache_store import ENTRY_METADATA
from include.databases.mongo import NO_LIMIT_BUT_THE_REPLY_SIZE

_PASSES = 2


class _CommandCounter(monitoring.CommandListener):
    def __init__(self) -> None:
        self.commands = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:  # noqa: ARG002
        self.commands += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


def measure(world: World) -> Column:
    """Measure a backfill of the databases, in a separate process so that its memory can be measured.

    The bare read reads the metadata of all entries with pymongo, and does nothing with it. It runs in another
    process, so its memory does not count. It reads everything twice, and the second pass counts.
    """
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(1) as pool:
        bare_read_seconds = pool.apply(_read_bare, (world,))
    with spawn.Pool(1) as pool:
        figures = pool.apply(_backfill, (world,))
    return figures | {
        "bare read of the metadata, s": bare_read_seconds,
        "times the bare read, times": figures["backfill, s"] / bare_read_seconds,
    }


def _backfill(world: World) -> dict[str, float]:
    counter = _CommandCounter()
    with opened(world, counter) as parts:
        entries = parts.cache.entry_count()
        start = time.perf_counter()
        backfill = parts.backfill(parts.list_hub())
        listed = time.perf_counter()
        server_cpu_before = mongodb_cpu_seconds(parts.client)
        commands_before, cpu_before = counter.commands, time.process_time()
        start_of_backfill = time.perf_counter()
        summary = backfill.run(parts.cache.dataset_names())
        seconds = time.perf_counter() - start_of_backfill
        cpu_seconds = time.process_time() - cpu_before
        commands = counter.commands - commands_before
        server_cpu_seconds = mongodb_cpu_seconds(parts.client) - server_cpu_before
    datasets = summary.untouched + summary.backfilled
    return {
        "entries": entries,
        "datasets backfilled": summary.backfilled,
        "jobs created": summary.jobs_created,
        "listing the Hub, s": listed - start,
        "backfill, s": seconds,
        "CPU time of its process, s": cpu_seconds,
        "CPU time of MongoDB, s": server_cpu_seconds,
        "datasets a second": datasets / seconds,
        "entries a second": entries / seconds,
        "peak memory, MB": peak_megabytes(),
        "MongoDB commands": commands,
        "datasets for each command": datasets / commands,
        "Hub requests": summary.hub_requests,
    }


def _read_bare(world: World) -> float:
    seconds = 0.0
    with MongoClient[dict[str, Any]](world.mongo_uri) as client:
        for _ in range(_PASSES):
            start = time.perf_counter()
            cursor = client[CACHE]["cachedResponsesBlue"].find(
                {}, ENTRY_METADATA, batch_size=NO_LIMIT_BUT_THE_REPLY_SIZE
            )
            for _ in cursor:
                pass
            seconds = time.perf_counter() - start
    return seconds
