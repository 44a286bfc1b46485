"""The backfill of many datasets: screen, plan, ask the Hub, write; each step works ahead of the next one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

from include.actions.backfill.archiving import Cause
from include.actions.backfill.contradictions import without_contradictions
from include.actions.backfill.proofs import Proofs
from include.actions.backfill.reading import Part, Planner, Reader, Screened, UnreadPart, merged
from include.actions.backfill.removal import REBUILT, Remover
from include.actions.backfill.removal_limit import RemovalLimit
from include.actions.backfill.report import BackfillSummary
from include.actions.backfill.writing import Writer
from include.batches import Progress, batched, rare_garbage_collection, read_ahead
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import MaintenanceStore
from include.databases.mongo import keep_memory_of_replies
from include.databases.proof_store import Proof
from include.databases.queue_store import QueueStore
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.errors import DatasetError
from include.hub.answers import Support, Supported, Unsupported
from include.hub.client import Hub
from include.planning.dataset_state import Priority
from include.planning.plan import plan_dataset
from include.planning.processing_graph import Release

#: Several requests at once hide the latency of the Hub; more gain nothing against its rate limit.
HUB_THREADS = 8
#: MongoDB answers one query while the answer to another is decoded.
SCREENING_THREADS = 2
#: The Hub is asked again about a dataset when its answer is older: a webhook may have come since.
ANSWERS_LAST_SECONDS = 30.0
#: So few datasets are then asked about at a time that their answers cannot become old, too.
_ASKED_AGAIN_AT_A_TIME = 4 * HUB_THREADS


@dataclass(frozen=True, slots=True)
class BackfillOptions:
    """How to backfill.

    :param priority: of the jobs to create.
    :param batch_size: the number of datasets that are screened at a time.
    :param trust_listing: do not ask the Hub about a dataset whose plan for the revision in the Hub's listing
        is empty. Otherwise, ask the Hub about every dataset.
    :param removal_limit: of the removals of a day, in which the rebuild of an incoherent cache counts as one.
    :param rebuild_cause: why caches are rebuilt, for the records and the archives.
    :param keep_unsupported: only count the datasets that the Hub does not support. Otherwise, write down that
        they are to be removed.
    :param note_done: write down, together with its jobs, that the run is done with a dataset.
    :param dry_run: plan and count everything, write nothing.
    """

    priority: Priority = Priority.LOW
    batch_size: int = 500
    trust_listing: bool = True
    removal_limit: RemovalLimit = field(default_factory=RemovalLimit)
    rebuild_cause: Cause = REBUILT
    keep_unsupported: bool = False
    note_done: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the Hub says about a dataset, and when it was asked (monotonic seconds)."""

    support: Support | DatasetError
    asked_at: float

    @property
    def is_fresh(self) -> bool:
        """Whether it is recent enough to write by it."""
        return time.monotonic() - self.asked_at < ANSWERS_LAST_SECONDS


Answers = Mapping[str, Answer]


@dataclass(frozen=True, slots=True)
class Backfill:
    """Plans datasets and writes the plans. It only writes down which datasets are to be removed.

    :param run_token: any text that no other run has; it writes them down under it.
    :param right: checked in each transaction; it hears of each batch and of each answer of the Hub.
    :param proofs: what earlier runs have proven, and what this one does; None to read everything.
    :param planner: makes the plans; another one than that of a backfill must not trust the listing.
    """

    run_token: str
    release: Release
    cache: CacheStore
    queue: QueueStore
    maintenance: MaintenanceStore
    hub: Hub
    remover: Remover
    options: BackfillOptions = BackfillOptions()
    right: RightToWrite = UNRESTRICTED
    proofs: Proofs | None = None
    planner: Planner = plan_dataset

    def run(self, names: Iterable[str]) -> BackfillSummary:
        """Backfill datasets, each named once, and return what was done.

        It may be killed at any point and run again: the second run finds what is left to do.
        """
        keep_memory_of_replies()
        summary = BackfillSummary()
        progress = Progress("datasets")
        requests_before = self.hub.requests
        self._finish_what_is_left()
        with rare_garbage_collection(), ThreadPoolExecutor(HUB_THREADS, thread_name_prefix="hub") as threads:
            screened = read_ahead(
                batched(names, self.options.batch_size), self._reader.screen, SCREENING_THREADS
            )
            undecided = merged(self._undecided(screened, summary, progress))
            parts = read_ahead(undecided, self._reader.read_part)
            ask = partial(self._ask_hub, threads)
            for part, answers in read_ahead((part for _, part in parts), lambda part: ask(part.names)):
                summary.untouched += part.up_to_date
                summary.count_artifacts(part.artifacts)
                self._keep(part.proofs)
                self._backfill(part, answers, ask, summary)
                progress.advance(part.size)
        if self.proofs:
            self.proofs.flush()
        self._pay_counts()
        summary.hub_requests = self.hub.requests - requests_before
        return summary

    def _finish_what_is_left(self) -> None:
        """Do what an earlier run that was killed or failed could not do any more."""
        if not self.options.dry_run:
            self.queue.check_new_jobs(self.right)
        self._pay_counts()

    def _pay_counts(self) -> None:
        """Pay what this run owes to the counts, and whatever an earlier one owes."""
        if not self.options.dry_run:
            self.queue.pay_owed_counts()
            self.cache.pay_owed_counts()

    def _undecided(
        self, screened: Iterable[tuple[Sequence[str], Screened]], summary: BackfillSummary, progress: Progress
    ) -> Iterator[UnreadPart]:
        """Count the datasets that the screening proves to be up to date, and yield the others."""
        for _, batch in screened:
            self.right.progress()
            summary.untouched += batch.proven
            summary.proven_by_record += len(batch.recorded)
            summary.proven_by_screening += len(batch.proofs)
            summary.count_artifacts(batch.artifacts)
            self._keep(batch.proofs)
            progress.advance(batch.proven)
            yield from batch.parts

    def _keep(self, proofs: Mapping[str, Proof]) -> None:
        if self.proofs:
            self.proofs.add(proofs)

    @property
    def _reader(self) -> Reader:
        return Reader(
            self.release,
            self.cache,
            self.queue,
            self.maintenance,
            self.hub.blocked,
            trust_listing=self.options.trust_listing,
            proofs=self.proofs,
            planner=self.planner,
        )

    @property
    def _writer(self) -> Writer:
        return Writer(
            self.run_token,
            self.queue,
            self.maintenance,
            self.remover,
            self.right,
            limit=self.options.removal_limit,
            priority=self.options.priority,
            rebuild_cause=self.options.rebuild_cause,
            keep_unsupported=self.options.keep_unsupported,
            note_done=self.options.note_done,
            dry_run=self.options.dry_run,
        )

    def _ask_hub(self, threads: Executor, names: Sequence[str]) -> Answers:
        answers = dict(zip(names, threads.map(self._ask_about, names), strict=True))
        supports = {name: answer.support for name, answer in answers.items()}
        believed = without_contradictions(supports, self.maintenance)
        return {name: replace(answer, support=believed[name]) for name, answer in answers.items()}

    def _ask_about(self, name: str) -> Answer:
        asked_at = time.monotonic()
        try:
            return Answer(self.hub.support(name), asked_at)
        except DatasetError as error:
            return Answer(error, asked_at)
        finally:
            self.right.progress()

    def _backfill(
        self,
        part: Part,
        answers: Answers,
        ask: Callable[[Sequence[str]], Answers],
        summary: BackfillSummary,
    ) -> None:
        """Do what the answers of the Hub ask for, and ask it again where an answer has become too old."""
        fresh = {name: answer for name, answer in answers.items() if answer.is_fresh}
        self._follow(part, fresh, summary)
        old = (name for name in answers if name not in fresh)
        for names in batched(old, _ASKED_AGAIN_AT_A_TIME):
            part = self._reader.asked_again(part, names)
            self._follow(part, ask(names), summary)

    def _follow(self, part: Part, answers: Answers, summary: BackfillSummary) -> None:
        revisions: dict[str, str] = {}
        reasons: dict[str, str] = {}
        for name, answer in answers.items():
            match answer.support:
                case Supported(revision):
                    revisions[name] = revision
                case Unsupported(reason):
                    reasons[name] = reason
                case DatasetError() as error:
                    summary.count_failure(name, error)
        self._writer.note_unsupported(reasons, summary)
        self._writer.note_supported(revisions)
        summary.note_supported(revisions)
        plans = []
        for name, plan in self._reader.plans(part, revisions).items():
            if isinstance(plan, DatasetError):
                summary.count_failure(name, plan)
                continue
            summary.count_artifacts(plan.artifacts)
            if plan.is_empty:
                summary.untouched += 1
            else:
                plans.append(plan)
        self._writer.write(plans, part.jobs_before, summary)
