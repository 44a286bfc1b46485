"""The services of a benchmark: a generated cache and queue in a local MongoDB, and a Hub."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from dev.local_stack.documents import CACHE as ENTRIES
from dev.local_stack.generated_cache import generate
from dev.local_stack.hub_server import HubProcess, HubState
from dev.local_stack.mongod import Mongod
from dev.local_stack.sample_state import HUB_TOKEN
from include.actions.backfill.hub_listing import HubLister
from include.actions.backfill.pipeline import Backfill, BackfillOptions
from include.actions.backfill.proofs import Proofs, fingerprint, look_for_changes
from include.actions.backfill.removal import Remover
from include.actions.backfill.report import BackfillSummary
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import MaintenanceStore
from include.databases.mongo import MAINTENANCE_DATABASE
from include.databases.queue_store import QueueStore
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.planning.processing_graph import Release, load_release

Document = dict[str, Any]

_CLOCK_TOLERANCE = timedelta(hours=1)

FOLDER = Path(".local") / "bench"
CACHE, QUEUE = "bench_cache", "bench_queue"


@dataclass(frozen=True, slots=True)
class World:
    """The addresses of the services, for other processes."""

    mongod_port: int
    mongo_uri: str
    hub_url: str


@dataclass(frozen=True, slots=True)
class Parts:
    """The stores and clients of a backfill, in one process."""

    client: MongoClient[Document]
    release: Release
    cache: CacheStore
    queue: QueueStore
    maintenance: MaintenanceStore
    hub: Hub

    def list_hub(self) -> str:
        """List the Hub, and return the listing's id."""
        return HubLister(self.hub, self.maintenance.listings(), self.cache).whole().id

    def forget_runs(self) -> str:
        """Forget all runs, so that the next one is the first; list the Hub, and return the listing's id."""
        self.client.drop_database(MAINTENANCE_DATABASE)
        self.maintenance.create_indexes()
        return self.list_hub()

    def backfill(self, listing_id: str, options: BackfillOptions | None = None) -> Backfill:
        """Return a backfill that uses a listing."""
        maintenance = self.maintenance.with_listing(listing_id)
        remover = Remover(self.cache, self.queue, ())
        return Backfill(
            "bench",
            self.release,
            self.cache,
            self.queue,
            maintenance,
            self.hub,
            remover,
            options or BackfillOptions(),
        )

    def run(
        self, listing_id: str, names: Iterable[str] | None = None, options: BackfillOptions | None = None
    ) -> BackfillSummary:
        """Look for what has changed, and backfill, as one run of the DAG does.

        :param names: those of the datasets; by default, of all cached ones.
        """
        store = self.maintenance.proofs(self.cache.name)
        look_for_changes(self.cache, store, _CLOCK_TOLERANCE)
        proofs = Proofs(store, fingerprint(self.release))
        backfill = replace(self.backfill(listing_id, options), proofs=proofs)
        return backfill.run(self.cache.dataset_names() if names is None else names)


@contextmanager
def generated_world(
    mongod: Mongod,
    datasets: int,
    up_to_date: float = 0.9,
    *,
    long_tail: bool = False,
    content_bytes: int = 0,
) -> Iterator[World]:
    """Generate a cache, and start its Hub.

    :param up_to_date: the part of the datasets that are up to date, from 0 to 1.
    :param long_tail: most datasets have one config, a few have hundreds.
    :param content_bytes: the average size of the contents, if they are to be heavy.
    """
    with MongoClient[Document](mongod.uri) as client:
        drop_databases(client)
        state = generate(
            client[CACHE],
            client[QUEUE],
            datasets,
            load_release(),
            up_to_date,
            long_tail=long_tail,
            content_bytes=content_bytes,
        )
    with hosted_world(mongod, state) as world:
        yield world


@contextmanager
def hosted_world(mongod: Mongod, state: HubState) -> Iterator[World]:
    """Start the Hub that belongs to the databases, and make the indexes of our own database."""
    with MongoClient[Document](mongod.uri) as client:
        MaintenanceStore(client[MAINTENANCE_DATABASE]).create_indexes()
    with HubProcess(state, FOLDER / "hub") as hub:
        yield World(mongod.port, mongod.uri, hub.url)


def drop_databases(client: MongoClient[Document]) -> None:
    """Drop the databases of the previous measurement."""
    for name in (CACHE, QUEUE, MAINTENANCE_DATABASE):
        client.drop_database(name)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes in MB: of the cache entries, as documents and on disk, and of MongoDB's own cache."""

    data: float
    on_disk: float
    cache: float

    @classmethod
    def of(cls, client: MongoClient[Document]) -> Sizes:
        """Ask MongoDB."""
        entries = client[CACHE].command("collStats", ENTRIES)
        cache = client.admin.command("serverStatus")["wiredTiger"]["cache"]
        sizes = entries["size"], entries["storageSize"], cache["maximum bytes configured"]
        return cls(*(size / 1e6 for size in sizes))


def megabytes_read(client: MongoClient[Document]) -> float:
    """Return how much MongoDB has read into its cache since its start, from the disk or the system's."""
    cache = client.admin.command("serverStatus")["wiredTiger"]["cache"]
    return float(cache["bytes read into cache"]) / 1e6


def mongodb_cpu_seconds(client: MongoClient[Document]) -> float:
    """Return the CPU time that the server has used since its start."""
    usage = client.admin.command("serverStatus")["extra_info"]
    return float(usage["user_time_us"] + usage["system_time_us"]) / 1e6


@contextmanager
def opened(world: World, *listeners: CommandListener, release: Release | None = None) -> Iterator[Parts]:
    """Connect a backfill to the services.

    :param release: by default, the default one.
    """
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    release = release or load_release()
    with MongoClient[Document](world.mongo_uri, event_listeners=listeners) as client:
        yield Parts(
            client,
            release,
            CacheStore(client[CACHE]),
            QueueStore(client[QUEUE], release),
            MaintenanceStore(client[MAINTENANCE_DATABASE]),
            Hub(world.hub_url, HUB_TOKEN, release, BlockList()),
        )


@contextmanager
def queue_restored(client: MongoClient[dict[str, Any]]) -> Iterator[None]:
    """Put the queue back as it was, at the end."""
    queue = client[QUEUE]
    before = {name: list(queue[name].find()) for name in queue.list_collection_names()}
    yield
    for name, documents in before.items():
        queue[name].delete_many({})
        if documents:
            queue[name].insert_many(documents)
