"""``python -m dev.bench.listing``: measure the time and the memory of listing the Hub.

It lists a stand-in for the Hub with 500,000 datasets, each time in a new process. It reads the pages without
storing them, stores a whole listing in a local MongoDB, and continues a listing that was killed halfway.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from rich.console import Console
from rich.table import Table

from dev.bench.memory import peak_megabytes
from dev.local_stack.hub_server import HubDataset, HubServer, HubState
from dev.local_stack.mongod import Mongod
from include.actions.backfill.hub_listing import HubLister
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import MaintenanceStore
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.planning.processing_graph import load_release

FOLDER = Path(".local") / "listing-bench"
DATABASE = "bench_maintenance"

_TAGS = (
    "task_categories:text-classification",
    "language:en",
    "license:mit",
    "size_categories:10K<n<100K",
    "format:parquet",
    "modality:text",
    "library:datasets",
    "region:us",
)
_CARD = {
    "license": "mit",
    "language": ["en"],
    "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
    "dataset_info": {"features": [{"name": name, "dtype": "string"} for name in ("id", "text", "label")]},
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measured listing. ``memory`` is the peak growth of the process; both sizes are in MB."""

    listed: int
    requests: int
    seconds: float
    memory: float
    on_disk: float = 0.0


def a_hub_of(datasets: int) -> HubState:
    """Return a Hub. Its names are in order, so the stand-in sorts them quickly."""
    state = HubState()
    names = (f"user-{number // 5:06}/dataset-{number:06}" for number in range(datasets))
    state.put(
        *(HubDataset(name, f"{hash(name) % 2**64:040x}", card_data=_CARD, tags=_TAGS) for name in names)
    )
    return state


def fetch_pages(hub_url: str) -> Measurement:
    """Read the pages without storing them."""
    hub = _hub(hub_url)
    before, start = peak_megabytes(), time.perf_counter()
    listed = sum(len(page.datasets) for page in hub.listing())
    return Measurement(listed, hub.requests, time.perf_counter() - start, peak_megabytes() - before)


def list_whole(mongo_uri: str, hub_url: str) -> Measurement:
    """List the Hub, or continue an unfinished listing."""
    hub = _hub(hub_url)
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        listings = MaintenanceStore(client[DATABASE]).listings()
        lister = HubLister(hub, listings, CacheStore(client["bench_cache"]))
        before, start = peak_megabytes(), time.perf_counter()
        listing = lister.whole()
        seconds = time.perf_counter() - start
        client.admin.command("fsync")
        stats = client[DATABASE].command("collStats", listing.id)
        on_disk = (stats["storageSize"] + stats["totalIndexSize"]) / 2**20
        return Measurement(listing.listed or 0, hub.requests, seconds, peak_megabytes() - before, on_disk)


def _hub(url: str) -> Hub:
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    return Hub(url, "hf_token", load_release(), BlockList())


def _kill_in_the_middle(mongod: Mongod, hub: HubServer, pages: int) -> None:
    """Start a process that lists the Hub, and kill it after half of the pages."""
    before = hub.state.requests
    process = multiprocessing.get_context("spawn").Process(target=list_whole, args=(mongod.uri, hub.url))
    process.start()
    while hub.state.requests < before + pages // 2:
        time.sleep(0.05)
    process.kill()
    process.join()


def _drop_listings(mongod: Mongod) -> None:
    with MongoClient[dict[str, Any]](mongod.uri) as client:
        client.drop_database(DATABASE)


def _table(measurements: dict[str, Measurement]) -> Table:
    table = Table(title="Listing the Hub, one process")
    for name in ("", "datasets", "requests", "time", "datasets a second", "memory grows by", "on disk"):
        table.add_column(name, justify="right" if name else "left")
    for name, m in measurements.items():
        table.add_row(
            name,
            f"{m.listed:,}",
            f"{m.requests:,}",
            f"{m.seconds:.1f} s",
            f"{m.listed / m.seconds:,.0f}",
            f"{m.memory:.0f} MB",
            f"{m.on_disk:.0f} MB" if m.on_disk else "",
        )
    return table


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="Measure the time and the memory of listing the Hub.")
    parser.add_argument("--datasets", type=int, default=500_000)
    datasets = parser.parse_args().datasets
    console = Console(width=110)
    shutil.rmtree(FOLDER, ignore_errors=True)
    spawn = multiprocessing.get_context("spawn")
    with (
        Mongod(FOLDER / "mongod") as mongod,
        HubServer(a_hub_of(datasets)) as hub,
        spawn.Pool(1, maxtasksperchild=1) as pool,
    ):
        measurements = {"only the pages": pool.apply(fetch_pages, (hub.url,))}
        measurements["the whole"] = whole = pool.apply(list_whole, (mongod.uri, hub.url))
        _drop_listings(mongod)
        _kill_in_the_middle(mongod, hub, whole.requests)
        measurements["the rest, after a kill"] = pool.apply(list_whole, (mongod.uri, hub.url))
    console.print(_table(measurements))
    shutil.rmtree(FOLDER)


if __name__ == "__main__":
    main()
