"""The removal of datasets from the queue, the cache and the storages, in this order."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from random import sample

from bson import ObjectId

from include.actions.backfill.archiving import Archiver, Cause
from include.actions.backfill.contradictions import without_contradictions
from include.actions.backfill.removal_limit import RemovalLimit
from include.actions.backfill.report import RemovalSummary
from include.batches import Progress, batched
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import MaintenanceStore
from include.databases.queue_store import QueueStore
from include.databases.removal_ledger import RemovalLedger
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.errors import DatasetError, ServiceError
from include.hub.answers import Support, Supported, Unsupported
from include.hub.client import Hub
from include.storage.asset_storage import AssetStorage, dataset_folder

#: So few that an answer of the Hub is seconds old when the removal begins.
DATASETS_AT_A_TIME = 20
#: Before another removal begins; then the Hub is asked again.
ANSWERS_LAST_SECONDS = 60.0
#: One archive is enough, unless other programs write to the dataset meanwhile.
ARCHIVES_AT_MOST = 5
OF_NOBODY = Cause("it is neither in the cache nor in the queue, and its removal was cut short")
REBUILT = Cause("its cache is incoherent")
#: How many datasets that exist the Hub is asked about, until it supports one.
KNOWN_DATASETS = 10


@dataclass(frozen=True, slots=True)
class Remover:
    """Removes datasets: their waiting jobs, then their cache entries, then their files in each storage.

    It may be killed at any point: removing the same datasets again removes what is left of them.

    :param archiver: archives the jobs and entries first, and only what it has archived is removed; None if
        archives are switched off.
    :param right: checked in each transaction, and before the files of each dataset.
    """

    cache: CacheStore
    queue: QueueStore
    storages: Sequence[AssetStorage]
    right: RightToWrite = UNRESTRICTED
    archiver: Archiver | None = None

    def remove(
        self, names: Iterable[str], deletable: Set[ObjectId] | None = None, cause: Cause = REBUILT
    ) -> RemovalSummary:
        """Remove datasets. One that has an unsafe name or cannot be archived stays, and counts as failed.

        :param deletable: the ids of the jobs that may be deleted, if they wait; by default, all.
        :param cause: why they are removed.
        """
        summary = RemovalSummary()
        progress = Progress("datasets")
        for batch in batched(names, DATASETS_AT_A_TIME):
            self.remove_together(dict.fromkeys(batch, cause), deletable, summary)
            progress.advance(len(batch))
        self.pay_owed_counts()
        return summary

    def pay_owed_counts(self) -> None:
        """Move the counts by what the removals owe to them."""
        self.queue.pay_owed_counts()
        self.cache.pay_owed_counts()

    def remove_together(
        self, causes: Mapping[str, Cause], deletable: Set[ObjectId] | None, summary: RemovalSummary
    ) -> list[str]:
        """Remove a few datasets, count them, and return those of which nothing is left.

        :param causes: by the name of each dataset.

        The counts are only paid now and then: call :meth:`pay_owed_counts` at the end.
        """
        safe = [name for name in causes if self._is_safe(name, summary)]
        if self.archiver is None:
            summary.waiting_jobs += self.queue.remove(safe, self.right, deletable)
            summary.cache_entries += self.cache.remove(safe, self.right)
        removed = []
        for name in safe:
            self.right.check()
            if self.archiver is not None:
                archived = self._archive_and_remove(name, causes[name], self.archiver, deletable, summary)
                if not archived:
                    continue
            if self._remove_files(name, summary):
                removed.append(name)
        return removed

    def _archive_and_remove(
        self,
        name: str,
        cause: Cause,
        archiver: Archiver,
        deletable: Set[ObjectId] | None,
        summary: RemovalSummary,
    ) -> bool:
        """Archive the jobs and entries of a dataset, remove them, and return whether none is left."""
        last = None
        try:
            for _ in range(ARCHIVES_AT_MOST):
                archived = archiver.archive(name, cause, deletable)
                if archived is None:
                    if last is not None:
                        archiver.archives.note_removed(last)
                    return True
                last = archived.path
                summary.archives += 1
                summary.waiting_jobs += self.queue.remove([name], self.right, archived.jobs)
                summary.cache_entries += self.cache.remove_unchanged(archived.entries, self.right)
        except DatasetError as error:
            summary.count_failure(name, error)
        else:
            summary.count_failure(name, DatasetError("other programs write to it all the time"))
        return False

    def in_use(self, names: Collection[str]) -> set[str]:
        """Return the datasets that have cache entries or pending jobs."""
        counts = self.cache.entry_counts(list(names))
        return {name for name, entries in counts.items() if entries} | self.queue.with_pending_jobs(
            list(names)
        )

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

    What it removes it writes down first, and crosses off last. So a later run finishes what is cut short when
    the cache no longer knows the dataset.

    It asks the Hub about each of them once more, right before its removal: the answer to a shard may have
    been wrong, or out of date after an approval. Before that, it makes sure that the Hub accepts the token
    and still knows a dataset that exists.

    :param maintenance: with the listing of the run, if it is still trusted.
    :param limit: of the removals of a day. What exceeds it stays, and comes again in a later run.
    :param supported: some datasets that the Hub called supported in this run.
    """

    remover: Remover
    hub: Hub
    maintenance: MaintenanceStore
    limit: RemovalLimit
    supported: Sequence[str] = ()

    def run(self, run: str) -> RemovalSummary:
        """Finish the removals that were cut short, then remove the candidates of a run.

        A dataset stays that the Hub supports after all. Only the removal of a dataset that is neither in the
        cache nor in the queue is finished even then, because its files are of nobody.

        :param run: under which the shards have written them down.
        :raises ConfigurationError: if the Hub refuses the token.
        :raises ServiceError: if the Hub fails, or finds none of some datasets that exist.
        """
        summary = RemovalSummary()
        requests_before = self.hub.requests
        unfinished = self.ledger.unfinished()
        found = self.maintenance.removal_candidates(run)
        candidates = {each.dataset: each.reason for each in found if each.dataset not in unfinished}
        progress = Progress("datasets", len(unfinished) + len(candidates))
        self._finish_all(list(unfinished), candidates, summary, progress)
        limit = self.limit.of(self.remover.cache) if candidates else 0
        left = list(candidates)
        while left and not summary.over_limit:
            batch, left = left[:DATASETS_AT_A_TIME], left[DATASETS_AT_A_TIME:]
            self._check_hub(candidates, summary)
            asked = self._asked_again(batch, summary)
            summary.spared += len(asked.supported)
            reasons = {name: cause.reason for name, cause in asked.unsupported.items()}
            within = self.ledger.begin(run, reasons, limit, self.remover.right)
            summary.count_over_limit([name for name in reasons if name not in within])
            postponed = self._remove({name: asked.unsupported[name] for name in within}, asked, summary)
            progress.advance(len(batch) - len(postponed))
            self._finish_all(postponed, candidates, summary, progress)
        self.remover.pay_owed_counts()
        summary.count_over_limit(left)
        summary.hub_requests = self.hub.requests - requests_before - summary.token_checks
        return summary

    def _finish_all(
        self, left: list[str], candidates: Collection[str], summary: RemovalSummary, progress: Progress
    ) -> None:
        """Finish removals that have begun, a few at a time."""
        while left:
            batch, left = left[:DATASETS_AT_A_TIME], left[DATASETS_AT_A_TIME:]
            self._check_hub({*batch, *left, *candidates}, summary)
            postponed = self._finish(batch, summary)
            progress.advance(len(batch) - len(postponed))
            left = postponed + left

    def _finish(self, names: Sequence[str], summary: RemovalSummary) -> list[str]:
        """Finish removals that have begun: those that were cut short, or that had to wait.

        :return: those to ask the Hub about once more.
        """
        asked = self._asked_again(names, summary)
        in_use = self.remover.in_use(asked.supported)
        summary.spared += len(in_use)
        self.ledger.spare(in_use, self.remover.right)
        of_nobody = dict.fromkeys((name for name in asked.supported if name not in in_use), OF_NOBODY)
        return self._remove({**asked.unsupported, **of_nobody}, asked, summary)

    @property
    def ledger(self) -> RemovalLedger:
        """Where the removals are written down."""
        return self.maintenance.removal_ledger()

    def _remove(self, causes: Mapping[str, Cause], asked: _AskedAgain, summary: RemovalSummary) -> list[str]:
        """Remove datasets, and cross them off.

        :return: those to ask the Hub about once more, because the archive of another one took long.
        """
        names = list(causes)
        at_a_time = len(names) if self.remover.archiver is None else 1
        while names:
            some, names = names[:at_a_time], names[at_a_time:]
            removed = self.remover.remove_together(
                {name: causes[name] for name in some}, asked.jobs_before, summary
            )
            self.ledger.finish(removed, self.remover.right)
            if time.monotonic() - asked.at > ANSWERS_LAST_SECONDS:
                break
        return names

    def _check_hub(self, candidates: Collection[str], summary: RemovalSummary) -> None:
        """Make sure that a "not found" of the Hub means something."""
        summary.token_checks += 1
        self.hub.check_token()
        known = self._known_datasets(candidates)
        if not any(isinstance(self._answer(name), Supported) for name in known):
            which = f"none of {len(known)} datasets that exist ({', '.join(known[:3])}, ...)"
            raise ServiceError(
                f"The Hub at {self.hub.endpoint} supports {which if known else 'no dataset that is known'}:"
                " nothing is removed. Check the Hub, and the token of the Connection huggingface_hub."
            )

    def _known_datasets(self, candidates: Collection[str]) -> list[str]:
        """Return some datasets that exist, chosen at random: listed ones, or those that were found before."""
        if known := self.maintenance.listed_sample(KNOWN_DATASETS):
            return known
        if self.supported:
            return sample(self.supported, min(KNOWN_DATASETS, len(self.supported)))
        cached = self.remover.cache.sample_names(KNOWN_DATASETS)
        return [name for name in cached if name not in candidates]

    def _asked_again(self, names: Sequence[str], summary: RemovalSummary) -> _AskedAgain:
        """Ask the Hub about datasets, and count those about which it does not answer clearly."""
        asked = _AskedAgain(self.remover.queue.pending_job_ids(names))
        answers = without_contradictions({name: self._answer(name) for name in names}, self.maintenance)
        for name, answer in answers.items():
            match answer:
                case Supported():
                    asked.supported.append(name)
                case Unsupported():
                    asked.unsupported[name] = Cause(answer.reason, answer.answer)
                case DatasetError():
                    summary.count_failure(name, answer)
        return asked

    def _answer(self, name: str) -> Support | DatasetError:
        try:
            return self.hub.support(name)
        except DatasetError as error:
            return error
        finally:
            self.remover.right.progress()


@dataclass(frozen=True, slots=True)
class _AskedAgain:
    """What the Hub says about some datasets, and the ids of the jobs that were pending before it was asked.

    Its answers are no reason to delete others.
    """

    jobs_before: Set[ObjectId]
    at: float = field(default_factory=time.monotonic)
    supported: list[str] = field(default_factory=list)
    unsupported: dict[str, Cause] = field(default_factory=dict)
