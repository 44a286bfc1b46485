"""The removal of datasets from the queue, the cache and the storages, in this order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

from bson import ObjectId

from include.actions.backfill.report import RemovalSummary
from include.batches import Progress, batched
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import MaintenanceStore, RemovalCandidate
from include.databases.queue_store import QueueStore
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.errors import DatasetError
from include.hub.answers import Supported
from include.hub.client import Hub
from include.storage.asset_storage import AssetStorage, dataset_folder

#: So few that an answer of the Hub is seconds old when the removal begins.
DATASETS_AT_A_TIME = 20


@dataclass(frozen=True, slots=True)
class Remover:
    """Removes datasets: their waiting jobs, then their cache entries, then their files in each storage.

    It may be killed at any point: removing the same datasets again removes what is left of them.
    ``right`` is checked in each transaction, and before the files of each dataset.
    """

    cache: CacheStore
    queue: QueueStore
    storages: Sequence[AssetStorage]
    right: RightToWrite = UNRESTRICTED

    def remove(self, names: Iterable[str], deletable: Set[ObjectId] | None = None) -> RemovalSummary:
        """Remove datasets. A dataset with an unsafe name stays, and counts as failed.

        :param deletable: the ids of the jobs that may be deleted, if they wait; by default, all.
        """
        summary = RemovalSummary()
        progress = Progress("datasets")
        for batch in batched(names, DATASETS_AT_A_TIME):
            self.remove_together(batch, deletable, summary)
            progress.advance(len(batch))
        self.pay_owed_counts()
        return summary

    def pay_owed_counts(self) -> None:
        """Move the counts by what the removals owe to them."""
        self.queue.pay_owed_counts()
        self.cache.pay_owed_counts()

    def remove_together(
        self, names: Sequence[str], deletable: Set[ObjectId] | None, summary: RemovalSummary
    ) -> list[str]:
        """Remove a few datasets, count them, and return those of which nothing is left.

        The counts are only paid now and then: call :meth:`pay_owed_counts` at the end.
        """
        safe = [name for name in names if self._is_safe(name, summary)]
        summary.waiting_jobs += self.queue.remove(safe, self.right, deletable)
        summary.cache_entries += self.cache.remove(safe, self.right)
        removed = []
        for name in safe:
            self.right.check()
            if self._remove_files(name, summary):
                removed.append(name)
        return removed

    def _is_safe(self, name: str, summary: RemovalSummary) -> bool:
        try:
            dataset_folder(name)
        except DatasetError as error:
            summary.count_failure(name, error)
            return False
        return True

    def _remove_files(self, name: str, summary: RemovalSummary) -> bool:
        try:
            for storage in self.storages:
                summary.asset_folders += storage.remove(name)
        except DatasetError as error:
            summary.count_failure(name, error)
            return False
        summary.removed += 1
        return True


@dataclass(frozen=True, slots=True)
class UnsupportedRemoval:
    """Removes the datasets that the shards of a run found to be unsupported.

    It asks the Hub about each of them once more, right before its removal: the answer to a shard may have
    been wrong, or out of date after an approval.
    """

    remover: Remover
    hub: Hub
    maintenance: MaintenanceStore

    def run(self, run: str) -> RemovalSummary:
        """Remove the candidates of a run that the Hub still does not support.

        :param run: under which the shards have written them down.
        """
        summary = RemovalSummary()
        requests_before = self.hub.requests
        candidates = list(self.maintenance.removal_candidates(run))
        progress = Progress("datasets", len(candidates))
        for batch in batched(candidates, DATASETS_AT_A_TIME):
            # The answers of the Hub are no reason to delete jobs that come after the question.
            jobs_before = self.remover.queue.pending_job_ids([each.dataset for each in batch])
            names = [each.dataset for each in self._confirmed(batch, summary)]
            self.remover.remove_together(names, jobs_before, summary)
            progress.advance(len(batch))
        self.remover.pay_owed_counts()
        summary.hub_requests = self.hub.requests - requests_before
        return summary

    def _confirmed(
        self, candidates: Iterable[RemovalCandidate], summary: RemovalSummary
    ) -> Iterator[RemovalCandidate]:
        """Ask the Hub, and yield the candidates that it does not support."""
        for candidate in candidates:
            try:
                answer = self.hub.support(candidate.dataset)
            except DatasetError as error:
                summary.count_failure(candidate.dataset, error)
                continue
            finally:
                self.remover.right.progress()
            if isinstance(answer, Supported):
                summary.spared += 1
            else:
                yield candidate
