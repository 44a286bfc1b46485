"""``make bench``: how fast, and in how little memory, a backfill goes through a large cache.

It generates a cache of 2,000 and one of 20,000 datasets on the local MongoDB, 90 % of them up to date, and
runs a backfill over each, in a process of its own, against the Hub stand-in with its listing in place.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import platform
import resource
import shutil
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pymongo import MongoClient, monitoring
from rich.console import Console
from rich.table import Table

from include.backfill import Backfill
from include.cache_store import ENTRY_METADATA, CacheStore
from include.hub import BlockList, Hub
from include.local_stack.generated_cache import generate
from include.local_stack.hub_server import HubProcess
from include.local_stack.mongod import Mongod
from include.maintenance_store import MaintenanceStore
from include.mongo import NO_LIMIT_BUT_THE_REPLY_SIZE
from include.processing_graph import load_release
from include.queue_store import QueueStore
from include.removal import Remover

SIZES = (2_000, 20_000)
FOLDER = Path(".local") / "bench"
CACHE, QUEUE, MAINTENANCE = "bench_cache", "bench_queue", "bench_maintenance"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One backfill. Times are in seconds, memory is the peak of the process in MB."""

    datasets: int
    entries: int
    backfilled: int
    jobs_created: int
    listing_seconds: float
    seconds: float
    bare_read_seconds: float
    memory: float
    mongo_commands: int
    hub_requests: int


class _CommandCounter(monitoring.CommandListener):
    def __init__(self) -> None:
        self.commands = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:  # noqa: ARG002
        self.commands += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


def measure(mongo_uri: str, hub_url: str) -> Measurement:
    """Measure a backfill of what the databases hold, in a process of its own because of the memory."""
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    release, counter = load_release(), _CommandCounter()
    with MongoClient[dict[str, Any]](mongo_uri, event_listeners=[counter]) as client:
        cache, queue = CacheStore(client[CACHE]), QueueStore(client[QUEUE], release)
        maintenance = MaintenanceStore(client[MAINTENANCE])
        hub = Hub(hub_url, "hf_token", release, BlockList())
        backfill = Backfill("bench", release, cache, queue, maintenance, hub, Remover(cache, queue, ()))
        entries, bare_read_seconds = _read_bare(client)

        start = time.perf_counter()
        maintenance.replace_listing(hub.listing())
        listed = time.perf_counter()
        commands_before = counter.commands
        summary = backfill.run(cache.dataset_names())
        return Measurement(
            datasets=summary.untouched + summary.backfilled,
            entries=entries,
            backfilled=summary.backfilled,
            jobs_created=summary.jobs_created,
            listing_seconds=listed - start,
            seconds=time.perf_counter() - listed,
            bare_read_seconds=bare_read_seconds,
            memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            mongo_commands=counter.commands - commands_before,
            hub_requests=summary.hub_requests,
        )


def _read_bare(client: MongoClient[dict[str, Any]]) -> tuple[int, float]:
    """Read the metadata of all entries with pymongo, and do nothing with it. The second time counts."""
    entries, seconds = 0, 0.0
    for _ in range(2):
        start = time.perf_counter()
        cursor = client[CACHE]["cachedResponsesBlue"].find(
            {}, ENTRY_METADATA, batch_size=NO_LIMIT_BUT_THE_REPLY_SIZE
        )
        entries = sum(1 for _ in cursor)
        seconds = time.perf_counter() - start
    return entries, seconds


def _measure_size(mongod: Mongod, datasets: int) -> Measurement:
    with MongoClient[dict[str, Any]](mongod.uri) as client:
        for name in (CACHE, QUEUE, MAINTENANCE):
            client.drop_database(name)
        state = generate(client[CACHE], client[QUEUE], datasets, load_release())
    with HubProcess(state, FOLDER / "hub") as hub:
        spawn = multiprocessing.get_context("spawn")
        with spawn.Pool(1) as pool:
            return pool.apply(measure, (mongod.uri, hub.url))


def _table(measurements: list[Measurement]) -> Table:
    table = Table(title="A backfill, one process")
    table.add_column("")
    for measured in measurements:
        table.add_column(f"{measured.datasets:,} datasets", justify="right")
    rows: dict[str, list[str]] = {
        "entries": [f"{m.entries:,}" for m in measurements],
        "datasets backfilled": [f"{m.backfilled:,}" for m in measurements],
        "jobs created": [f"{m.jobs_created:,}" for m in measurements],
        "listing the Hub": [f"{m.listing_seconds:.2f} s" for m in measurements],
        "backfill": [f"{m.seconds:.2f} s" for m in measurements],
        "datasets a second": [f"{m.datasets / m.seconds:,.0f}" for m in measurements],
        "entries a second": [f"{m.entries / m.seconds:,.0f}" for m in measurements],
        "bare read of the metadata": [f"{m.bare_read_seconds:.2f} s" for m in measurements],
        "times the bare read": [f"{m.seconds / m.bare_read_seconds:.2f}" for m in measurements],
        "peak memory": [f"{m.memory:.0f} MB" for m in measurements],
        "MongoDB commands": [f"{m.mongo_commands:,}" for m in measurements],
        "datasets for each command": [f"{m.datasets / m.mongo_commands:.0f}" for m in measurements],
        "Hub requests": [f"{m.hub_requests:,}" for m in measurements],
    }
    for name, values in rows.items():
        table.add_row(name, *values)
    return table


def _machine(mongod: Mongod) -> str:
    with MongoClient[dict[str, Any]](mongod.uri) as client:
        server = client.server_info()["version"]
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in ("pymongo", "huggingface_hub"))
    return (
        f"{os.cpu_count()} cores ({cpu}), {memory:.0f} GB; MongoDB {server} on the same machine; "
        f"Python {platform.python_version()}, {libraries}"
    )


def main() -> None:
    """Measure each size, and print the table."""
    console = Console(width=110)
    shutil.rmtree(FOLDER, ignore_errors=True)
    with Mongod(FOLDER / "mongod") as mongod:
        console.print(_machine(mongod))
        measurements = []
        for datasets in SIZES:
            console.print(f"Measuring {datasets:,} datasets ...")
            measurements.append(_measure_size(mongod, datasets))
        console.print(_table(measurements))
    shutil.rmtree(FOLDER)


if __name__ == "__main__":
    main()
