"""The release and the stores that operators use: each is opened when it is first used, all close together.

A DAG file imports this module, but not what a task needs to run: pymongo, numpy, boto3 and huggingface_hub
take seconds to load. So each service is imported where it is opened, and a task loads only what it uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from datasets_server import settings

if TYPE_CHECKING:
    from datasets_server.hooks.databases import DatabaseHook, QueueHook
    from include.actions.backfill.removal import Remover
    from include.actions.backfill.removal_limit import RemovalLimit
    from include.databases.cache_store import CacheStore
    from include.databases.maintenance_store import MaintenanceStore
    from include.databases.queue_store import QueueStore
    from include.databases.right_to_write import RightToWrite
    from include.hub.bot import HubBot
    from include.hub.client import Hub
    from include.planning.processing_graph import Release
    from include.storage.removed_datasets import RemovedDatasets

Hook = TypeVar("Hook", bound="DatabaseHook")


class Services:
    """The release and the stores of one task.

    Each attribute and method may raise ConfigurationError, if a Variable or a Connection is wrong, or
    ServiceError, if a database cannot be reached.
    """

    def __init__(self) -> None:
        self.hooks: list[DatabaseHook] = []
        self._opened = ExitStack()

    def close(self) -> None:
        """Close what was opened."""
        self._opened.close()

    def _open(self, hook: Hook) -> Hook:
        self.hooks.append(hook)
        self._opened.enter_context(hook)
        return hook

    @cached_property
    def release(self) -> Release:
        """The release that is maintained."""
        return settings.RELEASE.read()

    @cached_property
    def cache(self) -> CacheStore:
        """The store of cache entries."""
        from datasets_server.hooks.databases import CacheHook

        return self._open(CacheHook()).store()

    @cached_property
    def queue(self) -> QueueStore:
        """The store of jobs."""
        return self._queue_hook.store(self.release)

    @cached_property
    def maintenance(self) -> MaintenanceStore:
        """The store of the records of maintenance, on the deployment of the queue."""
        return self._queue_hook.maintenance()

    @cached_property
    def _queue_hook(self) -> QueueHook:
        from datasets_server.hooks.databases import QueueHook

        return self._open(QueueHook())

    def hub(self) -> Hub:
        """Return a client of the Hub that knows the block list."""
        from datasets_server.hooks.hub import HubHook

        return HubHook().hub(self.release, settings.BLOCKED_DATASETS.read())

    def bot(self) -> HubBot:
        """Return the bot that opens discussions on the Hub, after a check of its token."""
        from datasets_server.hooks.hub_bot import HubBotHook

        return HubBotHook().bot()

    def archives(self) -> RemovedDatasets | None:
        """Return the archives of removed datasets, None if they are switched off."""
        from datasets_server.hooks.assets import ArchiveHook

        return ArchiveHook().archives()

    def remover(self, right: RightToWrite, run: str, approved_by: str | None = None) -> Remover:
        """Return a remover of datasets, which checks the right to write, and archives what it removes.

        :param run: the name of the run, for the archives.
        :param approved_by: who has approved the removals, if a person was asked.
        """
        from datasets_server.hooks.assets import AssetsHook
        from include.actions.backfill.archiving import Archiver
        from include.actions.backfill.removal import Remover

        archives = self.archives()
        archiver = None
        if archives is not None:
            archiver = Archiver(archives, self.cache, self.queue, self.release.name, run, approved_by, right)
        return Remover(self.cache, self.queue, AssetsHook().storages(), right, archiver)

    def removal_limit(self, lowered_to: int | str | None) -> RemovalLimit:
        """Return the limit of the removals of a day, which the run may lower."""
        from include.actions.backfill.removal_limit import RemovalLimit

        of_run = None if lowered_to is None else int(lowered_to)
        return RemovalLimit(settings.MAX_REMOVALS_PER_DAY.read(), of_run)


@contextmanager
def open_services() -> Iterator[Services]:
    """Let a task use the services, and explain every error of MongoDB meanwhile.

    :raises ConfigurationError: if a Variable or a Connection is wrong.
    :raises ServiceError: if a database fails.
    """
    from datasets_server.hooks.databases import explained_mongo_errors

    services = Services()
    try:
        with explained_mongo_errors(services.hooks):
            yield services
    finally:
        services.close()
