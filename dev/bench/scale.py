"""As many datasets as in production, with few entries each, and a tenth of its entries and jobs.

This shows what grows with the number of datasets, and how long it takes to collect the metrics.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import Any

from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.write_concern import WriteConcern

from dev.bench.changes import change
from dev.bench.figures import Column
from dev.bench.memory import peak_megabytes
from dev.bench.one_process import CHANGED, CHANGED_SHARE, FIRST, UNCHANGED, measure
from dev.bench.world import CACHE, QUEUE, Sizes, World, drop_databases, hosted_world, opened
from dev.local_stack.documents import CACHE as ENTRIES
from dev.local_stack.documents import JOBS, create_indexes, new_job, utc_now
from dev.local_stack.hub_server import HubDataset, HubState
from dev.local_stack.mongod import Mongod
from include.planning.dataset_state import JobStatus
from include.planning.processing_graph import Level, Release, load_release

DATASETS = 500_000
ENTRIES_OF_A_DATASET = 6
METRICS_OF_JOBS = 1_000_000
#: Production has so many times the entries and jobs of this part.
PRODUCTION_TIMES = 10

_AGE = timedelta(days=30)
_PER_INSERT = 20_000
_REVISION = "1" * 40
_JOBS_OF_A_DATASET = 10

Document = dict[str, Any]


def measure_datasets(world: World) -> Mapping[str, Column]:
    """Measure a first run over datasets that are all up to date, then the two other states."""
    release = flat_release()
    first, unchanged = measure(world, release), measure(world, release)
    change(world, CHANGED_SHARE, release)
    return {FIRST: first, UNCHANGED: unchanged, CHANGED: measure(world, release)}


def measure_metrics(world: World, jobs: int = METRICS_OF_JOBS) -> Mapping[str, Column]:
    """Measure the collection of the metrics of the cache, and of a queue that is filled for it."""
    with MongoClient[Document](world.mongo_uri) as client:
        seconds = fill_queue(client, jobs)
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(1) as pool:
        cache = pool.apply(_collect, (world, "cache"))
    with spawn.Pool(1) as pool:
        queue = pool.apply(_collect, (world, "queue"))
    return {
        "collect-cache-metrics": cache,
        "collect-queue-metrics": queue | {"writing the jobs and their indexes, s": seconds},
    }


def _collect(world: World, store: str) -> dict[str, float]:
    with opened(world) as parts:
        start = time.perf_counter()
        counts = (parts.cache if store == "cache" else parts.queue).collect_metrics()
        seconds = time.perf_counter() - start
    return {
        "counted": counts[0].total,
        "groups": len(counts[0].by_group),
        "collecting, s": seconds,
        f"collecting {PRODUCTION_TIMES} times as many (extrapolated), s": seconds * PRODUCTION_TIMES,
        "peak memory, MB": peak_megabytes(),
    }


@contextmanager
def flat_world(mongod: Mongod, datasets: int) -> Iterator[tuple[World, Column]]:
    """Fill the cache with datasets that are up to date and have no configs; yield also how it went."""
    state = HubState()
    state.put(*flat_datasets(datasets))
    with MongoClient[Document](mongod.uri) as client:
        drop_databases(client)
        seconds = fill_cache(client, datasets)
        figures = {"writing the entries and their indexes, s": seconds, "data, MB": Sizes.of(client).data}
    with hosted_world(mongod, state) as world:
        yield world, figures


def flat_datasets(datasets: int) -> Iterator[HubDataset]:
    """Yield the datasets on the Hub that belong to the cache."""
    return (HubDataset(_name(number), _REVISION) for number in range(datasets))


def flat_release() -> Release:
    """Return a release whose graph has only a few steps, of whole datasets, all children of the first."""
    release = load_release()
    first, *others = [step for step in release.steps if step.input_type == Level.DATASET]
    children = (replace(step, parents=(first,)) for step in others[: ENTRIES_OF_A_DATASET - 1])
    return replace(release, steps=(first, *children))


def fill_cache(client: MongoClient[Document], datasets: int) -> float:
    """Write the smallest entries that are up to date, and return the seconds."""
    return _fill(client, client[CACHE][ENTRIES], _flat_entries(datasets))


def fill_queue(client: MongoClient[Document], jobs: int) -> float:
    """Write jobs of all types, one in ten of them started, and return the seconds."""
    return _fill(client, client[QUEUE][JOBS], _many_jobs(jobs))


def _fill(
    client: MongoClient[Document], collection: Collection[Document], documents: Iterator[Document]
) -> float:
    start = time.perf_counter()
    collection.drop()
    written = collection.with_options(write_concern=WriteConcern(w=1, j=False))
    with ThreadPoolExecutor(1) as pool:
        running: Future[object] | None = None
        while batch := list(islice(documents, _PER_INSERT)):
            if running:
                running.result()
            running = pool.submit(written.insert_many, batch, ordered=False)
    create_indexes(client[CACHE], client[QUEUE])
    return time.perf_counter() - start


def _name(number: int) -> str:
    return f"user-{number // 5:06}/dataset-{number:06}"


def _flat_entries(datasets: int) -> Iterator[Document]:
    since = utc_now() - _AGE
    steps = flat_release().steps
    for number in range(datasets):
        for step in steps:
            yield {
                "kind": step.name,
                "dataset": _name(number),
                "config": None,
                "split": None,
                "http_status": 200,
                "error_code": None,
                "content": {"config_names": []},
                "dataset_git_revision": _REVISION,
                "job_runner_version": step.job_runner_version,
                "failed_runs": 0,
                "updated_at": since,
            }


def _many_jobs(jobs: int) -> Iterator[Document]:
    steps, since = load_release().steps, utc_now() - timedelta(hours=1)
    for number in range(jobs):
        status = JobStatus.WAITING if number % 10 else JobStatus.STARTED
        name = _name(number // _JOBS_OF_A_DATASET)
        yield new_job(steps[number % len(steps)], name, _REVISION, created_at=since, status=status)
