"""How much memory and time it takes to archive a large dataset, to remove it and to put it back.

``python -m dev.bench.archiving [ENTRIES] [BYTES]`` fills a cache with one dataset of so many entries (100,000
by default) with contents of so many bytes (10,000), and does each step in a process of its own: with the
archive in a folder, then in S3. Memory is what the process grows by, at its peak.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import boto3
from pymongo import MongoClient
from rich.console import Console
from rich.table import Table

from dev.bench.memory import peak_megabytes, resident_megabytes
from dev.bench.world import CACHE, FOLDER, QUEUE, drop_databases
from dev.local_stack.documents import CACHE as ENTRIES
from dev.local_stack.documents import create_indexes, utc_now
from dev.local_stack.mongod import Mongod
from dev.local_stack.s3_server import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, S3Server
from include.actions.backfill.archiving import Archiver, Cause
from include.actions.restore_datasets import Restorer
from include.databases.cache_store import CacheStore
from include.databases.queue_store import QueueStore
from include.planning.processing_graph import DEFAULT_RELEASE, load_release
from include.storage.archive_storage import ArchiveStorage
from include.storage.bucket_archive import BucketArchive
from include.storage.folder_archive import FolderArchive
from include.storage.removed_datasets import RemovedDatasets

NAME = "user/large"
BUCKET = "removed-datasets"
WORDS = 5_000
ENTRIES_PER_INSERT = 500

console = Console(width=120, highlight=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where MongoDB and the archive are: enough for another process to find them."""

    mongo_uri: str
    s3_url: str | None

    @contextmanager
    def opened(self) -> Iterator[tuple[Archiver, Restorer]]:
        """Connect what archives and what restores."""
        with MongoClient[dict[str, Any]](self.mongo_uri) as client:
            cache = CacheStore(client[CACHE])
            queue = QueueStore(client[QUEUE], load_release())
            archives = RemovedDatasets(self._storage(), timedelta(days=30), 10**12)
            restorer = Restorer(archives, cache, "bench", restores=None)
            yield Archiver(archives, cache, queue, DEFAULT_RELEASE, "bench"), restorer

    def _storage(self) -> ArchiveStorage:
        if self.s3_url is None:
            return FolderArchive(FOLDER / BUCKET)
        client = boto3.client(
            "s3",
            endpoint_url=self.s3_url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
        )
        return BucketArchive(lambda: client, BUCKET, "")


def fill(mongo_uri: str, entries: int, size: int) -> float:
    """Make the dataset, with rows of random words, and return the megabytes of its documents."""
    choose = random.Random(0)  # noqa: S311 - the same words each time
    words = [
        "".join(choose.choices("abcdefghijklmnopqrstuvwxyz", k=choose.randint(2, 10))) for _ in range(WORDS)
    ]
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        drop_databases(client)
        create_indexes(client[CACHE], client[QUEUE], load_release())
        for start in range(0, entries, ENTRIES_PER_INSERT):
            client[CACHE][ENTRIES].insert_many(
                {
                    "kind": "split-first-rows",
                    "dataset": NAME,
                    "config": "config",
                    "split": f"split-{start + number}",
                    "http_status": 200,
                    "error_code": None,
                    "content": {"rows": _text(choose, words, size)},
                    "updated_at": utc_now(),
                }
                for number in range(min(ENTRIES_PER_INSERT, entries - start))
            )
        return float(client[CACHE].command("collStats", ENTRIES)["size"]) / 1e6


def _text(choose: random.Random, words: list[str], size: int) -> str:
    return " ".join(choose.choices(words, k=size // 6))[:size]


def archive_and_remove(place: Place) -> int:
    """Archive the dataset and remove its entries, and return their number."""
    with place.opened() as (archiver, _):
        archived = archiver.archive(NAME, Cause("it is not found on the Hub"))
        return archiver.cache.remove_unchanged(archived.entries) if archived else 0


def restore(place: Place) -> int:
    """Restore the dataset, and return the number of its entries."""
    with place.opened() as (_, restorer):
        return restorer.restore([NAME]).restored_entries


def measured(step: Callable[[Place], int], place: Place) -> tuple[int, float, float]:
    """Do a step, and return its result, its seconds, and by how many megabytes the process grew."""
    before = resident_megabytes()
    start = time.perf_counter()
    result = step(place)
    return result, time.perf_counter() - start, peak_megabytes() - before


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("entries", type=int, nargs="?", default=100_000)
    parser.add_argument("bytes", type=int, nargs="?", default=10_000)
    arguments = parser.parse_args()
    shutil.rmtree(FOLDER / BUCKET, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    table = Table("", "entries", "time", "memory grows by")
    spawn = multiprocessing.get_context("spawn")
    with Mongod(FOLDER / "mongod-archiving") as mongod, S3Server() as s3:
        s3.create_bucket(BUCKET)
        megabytes = fill(mongod.uri, arguments.entries, arguments.bytes)
        for where, url in (("a folder", None), ("S3", s3.endpoint_url)):
            for step in (archive_and_remove, restore):
                with spawn.Pool(1) as pool:
                    number, seconds, growth = pool.apply(measured, (step, Place(mongod.uri, url)))
                what = step.__name__.replace("_", " ")
                table.add_row(f"{what}: {where}", f"{number:,}", f"{seconds:.1f} s", f"{growth:,.0f} MB")
    console.print(table)
    packed = sum(file.stat().st_size for file in (FOLDER / BUCKET).rglob("*.gz")) / 1e6
    console.print(f"{megabytes:,.0f} MB of documents; the archive has {packed:,.0f} MB.")
    shutil.rmtree(FOLDER / BUCKET)
    shutil.rmtree(FOLDER / "mongod-archiving")


if __name__ == "__main__":
    main()
