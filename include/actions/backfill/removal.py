"""The removal of datasets from the queue, the cache and the storages, in this order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bson import ObjectId

from include.actions.backfill.report import RemovalSummary
from include.batches import Progress, batched
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import RemovalCandidate
from include.databases.queue_store import QueueStore
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.errors import DatasetError
from include.hub.answers import Supported
from include.hub.client import Hub
from include.storage.asset_storage import AssetStorage, dataset_folder
from include.summaries import add_to_sample

DATASETS_PER_TRANSACTION = 100
#: If the answer of the Hub is older, as after an approval, ask again before the removal.
ANSWERS_LAST = timedelta(minutes=15)


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
        for batch in batched(names, DATASETS_PER_TRANSACTION):
            safe = [name for name in batch if self._is_safe(name, summary)]
            summary.waiting_jobs += self.queue.remove(safe, self.right, deletable)
            summary.cache_entries += self.cache.remove(safe, self.right)
            for name in safe:
                self.right.check()
                self._remove_files(name, summary)
            progress.advance(len(batch))
        self.queue.pay_owed_counts()
        self.cache.pay_owed_counts()
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


def confirmed(candidates: Iterable[RemovalCandidate], hub: Hub, summary: RemovalSummary) -> Iterator[str]:
    """Yield the datasets that are still to be removed; if the Hub's answer is old, ask the Hub again."""
    for candidate in candidates:
        if datetime.now(UTC) - candidate.asked_at < ANSWERS_LAST:
            yield candidate.dataset
            continue
        try:
            answer = hub.support(candidate.dataset)
        except DatasetError as error:
            summary.failed += 1
            add_to_sample(summary.error_sample, candidate.dataset, error)
            continue
        if isinstance(answer, Supported):
            summary.spared += 1
        else:
            yield candidate.dataset
