"""One dataset with thousands of configs: time and memory grow in proportion to its size."""

from __future__ import annotations

import multiprocessing
import time
from datetime import timedelta
from typing import Any

from pymongo import MongoClient

from dev.bench.figures import Column
from dev.bench.memory import peak_megabytes
from dev.bench.world import CACHE, QUEUE, World, drop_databases, hosted_world, opened
from dev.local_stack.documents import CACHE as ENTRIES
from dev.local_stack.documents import Shape, create_indexes, up_to_date_entries, utc_now
from dev.local_stack.hub_server import HubDataset, HubState
from dev.local_stack.mongod import Mongod
from include.planning.processing_graph import load_release

NAME = "user/giant"


def measure(mongod: Mongod, configs: int) -> Column:
    """Measure a backfill of an up-to-date dataset, and one of a dataset with a new revision.

    With a new revision, each artifact of the dataset needs a job: some 22 for each config with one split.
    """
    release = load_release()
    old, new = "1" * 40, "2" * 40
    shape = Shape(NAME, old, {f"config-{number}": ["train"] for number in range(configs)})
    with MongoClient[dict[str, Any]](mongod.uri) as client:
        drop_databases(client)
        client[CACHE][ENTRIES].insert_many(up_to_date_entries(release, shape, utc_now() - timedelta(days=1)))
        create_indexes(client[CACHE], client[QUEUE], release)
        entries = client[CACHE][ENTRIES].estimated_document_count()
    figures: dict[str, float] = {"entries": entries}
    spawn = multiprocessing.get_context("spawn")
    for what, revision in (("up to date", old), ("outdated", new)):
        state = HubState()
        state.put(HubDataset(NAME, revision))
        with hosted_world(mongod, state) as world, spawn.Pool(1) as pool:
            seconds, memory, jobs = pool.apply(_backfill, (world,))
        figures |= {f"{what}, s": seconds, f"{what}: peak memory, MB": memory, f"{what}: jobs created": jobs}
    return figures


def _backfill(world: World) -> tuple[float, float, int]:
    with opened(world) as parts:
        listing_id = parts.list_hub()
        start = time.perf_counter()
        summary = parts.run(listing_id)
        seconds = time.perf_counter() - start
    return seconds, peak_megabytes(), summary.jobs_created
