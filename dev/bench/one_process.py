"""A backfill in one process, compared with a bare read of the same entries, in three states of a cache."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pymongo import MongoClient, monitoring

from dev.bench.changes import change, finish_jobs
from dev.bench.figures import Column
from dev.bench.memory import MemoryWatch, peak_megabytes
from dev.bench.world import CACHE, Sizes, World, megabytes_read, mongodb_cpu_seconds, opened
from include.actions.backfill.pipeline import BackfillOptions
from include.actions.backfill.report import BackfillSummary
from include.batches import batched
from include.databases.cache_store import ENTRY_METADATA
from include.databases.mongo import MAINTENANCE_DATABASE, NO_LIMIT_BUT_THE_REPLY_SIZE
from include.databases.proof_store import COLLECTION as RECORDS
from include.planning.processing_graph import Release

Figure = TypeVar("Figure")

FIRST, UNCHANGED, CHANGED = "first run", "nothing changed", "1 % changed"

CHANGED_SHARE = 0.01

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


def measure_states(world: World) -> Mapping[str, Column]:
    """Measure the first run, a run after nothing has changed, and one after some datasets have changed.

    Before the second one, the jobs of the first one are finished, and a run that is not measured finds
    nothing to do.

    :raises RuntimeError: if that run finds something to do.
    """
    first = {**measure(world), "bare read by dataset, s": _in_a_process(_read_by_dataset, world)}
    finish_jobs(world)
    summary = _unmeasured(world)
    if summary.backfilled or summary.failed:
        raise RuntimeError(f"The cache is not up to date after all jobs are finished: {summary}")
    unchanged = measure(world)
    change(world, CHANGED_SHARE)
    return {FIRST: first, UNCHANGED: unchanged, CHANGED: measure(world)}


def _unmeasured(world: World) -> BackfillSummary:
    with opened(world) as parts:
        return parts.run(parts.list_hub())


def measure(world: World, release: Release | None = None) -> Column:
    """Measure a backfill of the databases, in a separate process so that its memory can be measured.

    The bare read reads the metadata of all entries with pymongo, and does nothing with it. It runs in another
    process, so its memory does not count. It reads everything twice, and the second pass counts.
    """
    bare_read_seconds = _in_a_process(_read_bare, world)
    figures = _in_a_process(_backfill, world, release)
    return figures | {
        "bare read of the metadata, s": bare_read_seconds,
        "times the bare read, times": figures["backfill, s"] / bare_read_seconds,
    }


def _in_a_process(measured: Callable[..., Figure], *arguments: object) -> Figure:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, arguments)


def _backfill(world: World, release: Release | None) -> dict[str, float]:
    counter = _CommandCounter()
    with opened(world, counter, release=release) as parts:
        entries, sizes = parts.cache.entry_count(), Sizes.of(parts.client)
        start = time.perf_counter()
        listing_id = parts.list_hub()
        listed = time.perf_counter()
        server_cpu_before, read_before = mongodb_cpu_seconds(parts.client), megabytes_read(parts.client)
        commands_before, cpu_before = counter.commands, time.process_time()
        with MemoryWatch() as memory:
            start_of_backfill = time.perf_counter()
            summary = parts.run(listing_id)
            seconds = time.perf_counter() - start_of_backfill
        cpu_seconds = time.process_time() - cpu_before
        commands = counter.commands - commands_before
        server_cpu_seconds = mongodb_cpu_seconds(parts.client) - server_cpu_before
        read = megabytes_read(parts.client) - read_before
        records = parts.client[MAINTENANCE_DATABASE].command("collStats", RECORDS)["size"] / 1e6
    datasets = summary.untouched + summary.backfilled
    return {
        "datasets": datasets,
        "entries": entries,
        "data, MB": sizes.data,
        "data on disk, MB": sizes.on_disk,
        "MongoDB's cache, MB": sizes.cache,
        "datasets backfilled": summary.backfilled,
        "jobs created": summary.jobs_created,
        "jobs deleted": summary.jobs_deleted,
        "listing the Hub, s": listed - start,
        "backfill, s": seconds,
        "CPU time of its process, s": cpu_seconds,
        "CPU time of MongoDB, s": server_cpu_seconds,
        "datasets a second": datasets / seconds,
        "entries a second": entries / seconds,
        "peak memory, MB": peak_megabytes(),
        "peak memory: growth in the second half, MB": memory.growth_in_second_half,
        "records, MB": records,
        "MongoDB commands": commands,
        "datasets for each command": datasets / commands,
        "read into MongoDB's cache, MB": read,
        "Hub requests": summary.hub_requests,
    }


def _read_by_dataset(world: World) -> float:
    """Read the same as :func:`_read_bare`, in the order of the datasets instead of that of the disk."""
    with opened(world) as parts:
        start = time.perf_counter()
        for names in batched(parts.cache.dataset_names(), BackfillOptions().batch_size):
            for _ in parts.cache.columns(names):
                pass
        return time.perf_counter() - start


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
