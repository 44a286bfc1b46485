"""The removal of datasets from the queue, the cache and the storages, in this order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from include.asset_storage import AssetStorage, dataset_folder
from include.batches import Progress, batched
from include.cache_store import CacheStore
from include.errors import DatasetError
from include.queue_store import QueueStore
from include.summaries import RemovalSummary, add_to_sample

DATASETS_PER_TRANSACTION = 100


@dataclass(frozen=True, slots=True)
class Remover:
    """Removes datasets: their waiting jobs, then their cache entries, then their files in each storage.

    It may be killed at any point: removing the same datasets again removes what is left of them.
    """

    cache: CacheStore
    queue: QueueStore
    storages: Sequence[AssetStorage]

    def remove(self, names: Iterable[str]) -> RemovalSummary:
        """Remove datasets. One whose name is not safe is left as it is, and counted as failed."""
        summary = RemovalSummary()
        progress = Progress("datasets")
        for batch in batched(names, DATASETS_PER_TRANSACTION):
            safe = [name for name in batch if self._is_safe(name, summary)]
            summary.waiting_jobs += self.queue.remove(safe)
            summary.cache_entries += self.cache.remove(safe)
            for name in safe:
                self._remove_files(name, summary)
            progress.advance(len(batch))
        return summary

    def _is_safe(self, name: str, summary: RemovalSummary) -> bool:
        try:
            dataset_folder(name)
        except DatasetError as error:
            summary.failed += 1
            add_to_sample(summary.error_sample, name, error)
            return False
        return True

    def _remove_files(self, name: str, summary: RemovalSummary) -> None:
        try:
            for storage in self.storages:
                summary.asset_folders += storage.remove(name)
        except DatasetError as error:
            summary.failed += 1
            add_to_sample(summary.error_sample, name, error)
        else:
            summary.removed += 1
