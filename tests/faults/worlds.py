"""Databases with much to do for a backfill, and what a backfill must leave in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from dev.bench.world import CACHE, QUEUE, World, drop_databases, opened, queue_restored
from dev.local_stack.consistency import doubled_jobs, wrong_counts
from dev.local_stack.documents import CACHE as ENTRIES
from dev.local_stack.documents import JOBS
from dev.local_stack.generated_cache import generate
from dev.local_stack.hub_server import HubServer
from include.actions.backfill.pipeline import BackfillOptions
from include.actions.backfill.report import BackfillSummary
from include.planning.dataset_state import Priority
from include.planning.processing_graph import load_release

Document = dict[str, Any]

#: As the hooks have them, but shorter: a command without an answer, or without a server, fails after so long.
TIMEOUT_MS = 30_000
_TIMEOUTS = ("socketTimeoutMS", "connectTimeoutMS", "serverSelectionTimeoutMS")
BATCH_SIZE = 10


def make_world(mongo_uri: str, hub: HubServer, datasets: int) -> World:
    """Make datasets, none of them up to date. About ten jobs are needed for each."""
    with MongoClient[Document](mongo_uri, w="majority") as client:
        drop_databases(client)
        hub.load(generate(client[CACHE], client[QUEUE], datasets, load_release(), up_to_date=0))
    separator = "&" if "?" in mongo_uri else "/?"
    timeouts = "&".join(f"{name}={TIMEOUT_MS}" for name in _TIMEOUTS)
    return World(0, f"{mongo_uri}{separator}{timeouts}", hub.url)


def backfill(
    world: World, *listeners: CommandListener, first: int | None = None, priority: Priority = Priority.LOW
) -> BackfillSummary:
    """Backfill all datasets, or the first ones."""
    with opened(world, *listeners) as parts:
        listing = next((each.id for each in parts.maintenance.listings().all()), None) or parts.list_hub()
        options = BackfillOptions(priority=priority, batch_size=BATCH_SIZE)
        return parts.run(listing, islice(parts.cache.dataset_names(), first), options)


@contextmanager
def in_background(world: World, *listeners: CommandListener) -> Iterator[Future[BackfillSummary]]:
    """Backfill in a thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="backfill") as pool:
        yield pool.submit(backfill, world, *listeners)


@dataclass(frozen=True, slots=True)
class EndState:
    """What a backfill leaves: the jobs, how many there are of each, and the entries."""

    jobs: Counter[tuple[Any, ...]]
    entries: Counter[tuple[Any, ...]]


def end_state(world: World) -> EndState:
    """Read it. The counts must be those of the jobs and of the entries, and no job must be there twice."""
    with MongoClient[Document](world.mongo_uri) as client:
        assert wrong_counts(client[CACHE], client[QUEUE]) == []
        assert doubled_jobs(client[QUEUE]) == []
        job_fields = ("type", "dataset", "revision", "config", "split", "status", "priority", "difficulty")
        entry_fields = ("kind", "dataset", "config", "split", "dataset_git_revision", "http_status")
        return EndState(
            Counter(tuple(job.get(name) for name in job_fields) for job in client[QUEUE][JOBS].find()),
            Counter(tuple(e.get(name) for name in entry_fields) for e in client[CACHE][ENTRIES].find()),
        )


def undisturbed_end(world: World) -> EndState:
    """Return what a backfill leaves that nothing disturbs. The queue is then again as it was."""
    with MongoClient[Document](world.mongo_uri) as client, queue_restored(client):
        backfill(world)
        return end_state(world)
