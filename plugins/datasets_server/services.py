"""The release and the stores that operators use, opened and closed together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from datasets_server import settings
from datasets_server.hooks.assets import ArchiveHook, AssetsHook
from datasets_server.hooks.databases import CacheHook, QueueHook, explained_mongo_errors
from datasets_server.hooks.hub import HubHook
from include.actions.backfill.archiving import Archiver
from include.actions.backfill.removal import Remover
from include.actions.backfill.removal_limit import RemovalLimit
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import MaintenanceStore
from include.databases.queue_store import QueueStore
from include.databases.right_to_write import RightToWrite
from include.hub.client import Hub
from include.planning.processing_graph import Release


@dataclass(frozen=True, slots=True)
class Services:
    """The release and the stores of one task."""

    release: Release
    cache: CacheStore
    queue: QueueStore
    maintenance: MaintenanceStore

    def hub(self) -> Hub:
        """Return a client of the Hub that knows the block list."""
        return HubHook().hub(self.release, settings.BLOCKED_DATASETS.read())

    def remover(self, right: RightToWrite, run: str, approved_by: str | None = None) -> Remover:
        """Return a remover of datasets, which checks the right to write, and archives what it removes.

        :param run: the name of the run, for the archives.
        :param approved_by: who has approved the removals, if a person was asked.
        """
        archives = ArchiveHook().archives()
        archiver = None
        if archives is not None:
            archiver = Archiver(archives, self.cache, self.queue, self.release.name, run, approved_by, right)
        return Remover(self.cache, self.queue, AssetsHook().storages(), right, archiver)

    def removal_limit(self, lowered_to: int | str | None) -> RemovalLimit:
        """Return the limit of the removals of a day, which the run may lower.

        :raises ConfigurationError: if the Variable is wrong.
        """
        of_run = None if lowered_to is None else int(lowered_to)
        return RemovalLimit(settings.MAX_REMOVALS_PER_DAY.read(), of_run)


@contextmanager
def open_services() -> Iterator[Services]:
    """Open the databases, and explain every error of MongoDB while they are open.

    :raises ConfigurationError: if a Variable or a Connection is wrong.
    :raises ServiceError: if a database fails.
    """
    release = settings.RELEASE.read()
    with CacheHook() as cache, QueueHook() as queue, explained_mongo_errors(cache, queue):
        yield Services(release, cache.store(), queue.store(release), queue.maintenance())
