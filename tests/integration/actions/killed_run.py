"""Runs an action in a process of its own, which kills itself at one of the writes to the databases."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pymongo import MongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from include.actions.backfill.archiving import Archiver
from include.actions.backfill.hub_listing import HubLister
from include.actions.backfill.pipeline import Backfill, BackfillOptions
from include.actions.backfill.proofs import Proofs, fingerprint, look_for_changes
from include.actions.backfill.removal import Remover, UnsupportedRemoval
from include.actions.backfill.removal_limit import RemovalLimit
from include.actions.refresh_datasets import Refresher
from include.actions.restore_datasets import Restorer
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import MaintenanceStore
from include.databases.queue_store import QueueStore
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.planning.dataset_state import Priority
from include.planning.processing_graph import load_release
from include.planning.refresh import Refresh
from include.storage.folder_archive import FolderArchive
from include.storage.folder_storage import FolderStorage
from include.storage.removed_datasets import RemovedDatasets
from tests.conftest import Databases

RUN = "run"
TO_RECREATE = ("user/gone", "user/moved-on")
WRITES = frozenset({"insert", "update", "delete", "findAndModify", "commitTransaction"})

ActionName = Literal["listing", "backfill", "removal", "restore", "refresh", "recreation"]
Moment = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Action:
    """All that a process needs to know to do a backfill of everything, or what comes before or after it."""

    name: ActionName
    release: str
    mongo_uri: str
    databases: tuple[str, str, str]
    hub_url: str
    root: Path
    listing_id: str | None = None

    @classmethod
    def on(
        cls,
        databases: Databases,
        *,
        name: ActionName,
        release: str,
        mongo_uri: str,
        hub_url: str,
        root: Path,
        listing_id: str | None = None,
    ) -> Action:
        names = (databases.cache.name, databases.queue.name, databases.maintenance.name)
        return cls(name, release, mongo_uri, names, hub_url, root, listing_id)

    def do(self, listener: CommandListener) -> None:
        """Do the action in this process, as the tasks of the DAG do it."""
        with MongoClient[dict[str, Any]](self.mongo_uri, event_listeners=[listener]) as client:
            client.admin.command("ping")
            release = load_release(self.release)
            cache_db, queue_db, maintenance_db = (client[name] for name in self.databases)
            cache, queue = CacheStore(cache_db), QueueStore(queue_db, release)
            maintenance = MaintenanceStore(maintenance_db, self.listing_id)
            archives = archives_beside(self.root)
            archiver = Archiver(archives, cache, queue, self.release, RUN)
            remover = Remover(cache, queue, [FolderStorage(self.root)], archiver=archiver)
            if self.name == "restore":
                Restorer(archives, cache, RUN, maintenance.restores()).restore(["*"])
                return
            hub = Hub(self.hub_url, "hf_token", release, BlockList())
            if self.name == "removal":
                UnsupportedRemoval(remover, hub, maintenance, RemovalLimit()).run(RUN)
                return
            if self.name == "listing":
                HubLister(hub, maintenance.listings(), cache).whole()
                return
            refresher = Refresher(RUN, release, cache, queue, maintenance, hub, remover)
            if self.name == "refresh":
                first = Refresh(frozenset({release.steps[0].name}), with_children=True)
                refresher.refresh(cache.dataset_names(), first, max_jobs=1_000)
                return
            if self.name == "recreation":
                refresher.recreate(TO_RECREATE, Priority.NORMAL, RemovalLimit())
                return
            proofs = maintenance.proofs(cache.name)
            look_for_changes(cache, proofs, timedelta(hours=1))
            backfill = Backfill(
                RUN,
                release,
                cache,
                queue,
                maintenance,
                hub,
                remover,
                BackfillOptions(batch_size=2),
                proofs=Proofs(proofs, fingerprint(release)),
            )
            backfill.run(chain(list(maintenance.unfinished_rebuilds()), cache.dataset_names()))


def archives_beside(root: Path) -> RemovedDatasets:
    """Return the archives of the removals of an action."""
    return RemovedDatasets(FolderArchive(root.with_name("archive")), timedelta(days=30), 10**9)


class OnWrite(CommandListener):
    """Counts the writes, and calls a function with the number of each, before or after it is done."""

    def __init__(self, moment: Moment, call: Callable[[int], None]) -> None:
        self._moment = moment
        self._call = call
        self.writes = 0

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in WRITES:
            self.writes += 1
            if self._moment == "before":
                self._call(self.writes)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if event.command_name in WRITES and self._moment == "after":
            self._call(self.writes)

    def failed(self, event: CommandFailedEvent) -> None: ...


def count_writes(action: Action) -> int:
    """Do an action undisturbed, and tell the number of its writes."""
    listener = OnWrite("after", lambda _: None)
    action.do(listener)
    return listener.writes


def do_and_die(action: Action, write: int, moment: Moment) -> None:
    def die(number: int) -> None:
        if number == write:
            os.kill(os.getpid(), signal.SIGKILL)

    action.do(OnWrite(moment, die))


_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["pytest", __name__])


def kill(action: Action, write: int, moment: Moment) -> None:
    """Do an action in a process that dies before or after the write of this number."""
    assert is_killed(action, write, moment), f"not killed {moment} write {write}"


def is_killed(action: Action, write: int, moment: Moment) -> bool:
    """Do as :func:`kill`, and return whether the action has so many writes."""
    process = _processes.Process(target=do_and_die, args=(action, write, moment))
    process.start()
    process.join(timeout=60)
    assert process.exitcode in (0, -signal.SIGKILL)
    with MongoClient[dict[str, Any]](action.mongo_uri) as client:
        # The server ends the transaction of a client that has vanished by itself, but only after a minute.
        client.admin.command("killAllSessions", [])
    return process.exitcode != 0
