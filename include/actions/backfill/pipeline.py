"""The action ``backfill``: bring the cache of many datasets up to date, a batch at a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from include.actions.backfill.removal import Remover
from include.actions.backfill.report import BackfillSummary
from include.batches import Progress, batched, batched_by_weight, rare_garbage_collection, read_ahead
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import MaintenanceStore
from include.databases.mongo import keep_memory_of_replies
from include.databases.queue_store import QueueStore
from include.errors import DatasetError
from include.hub.client import Hub, Support, Supported, Unsupported
from include.planning.dataset_state import CachedDataset, Job, Priority
from include.planning.entry_columns import UnreadableColumnsError
from include.planning.plan import Plan, plan_dataset
from include.planning.processing_graph import Release
from include.planning.screening import proven_up_to_date
from include.storage.asset_storage import dataset_folder
from include.summaries import add_to_sample

#: Several requests at once hide the time that the Hub takes; more would gain nothing against its rate limit.
HUB_THREADS = 8
#: MongoDB answers one query while the answer to another is decoded.
SCREENING_THREADS = 2
#: Of how many entries there are objects in memory at a time, if one dataset has not more by itself.
ENTRIES_AT_A_TIME = 50_000
#: How old the state of a dataset may be when jobs are written by it.
STATE_LASTS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class BackfillOptions:
    """How to backfill.

    :param priority: of the jobs to create.
    :param batch_size: the number of datasets that are read, planned and written at a time.
    :param trust_listing: leave a dataset alone, without asking the Hub about it, if its plan for the revision
        in the Hub's listing is empty. Otherwise, the Hub is asked about every dataset.
    :param dry_run: plan and count everything, write nothing.
    """

    priority: Priority = Priority.LOW
    batch_size: int = 500
    trust_listing: bool = True
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _OurState:
    """What our own database holds of some datasets. Nobody else changes it."""

    listed_revisions: Mapping[str, str]
    unfinished_rebuilds: Set[str]


@dataclass(frozen=True, slots=True)
class _State:
    """What the cache and the queue hold of some datasets."""

    cached: Mapping[str, CachedDataset | DatasetError]
    jobs: Mapping[str, list[Job] | DatasetError]
    read_at: float = field(default_factory=time.monotonic)

    @property
    def is_fresh(self) -> bool:
        """Whether jobs may be written by it: the workers go on, and waiting for the Hub may take long."""
        return time.monotonic() - self.read_at < STATE_LASTS_SECONDS


@dataclass(frozen=True, slots=True)
class _Part:
    """Datasets that are handled together, and how many others before them are ``proven`` to be up to date."""

    names: Sequence[str]
    proven: int
    ours: _OurState


@dataclass(frozen=True, slots=True)
class _Batch:
    """A part, and those of its datasets to ask the Hub about; without a listing, all of them.

    ``plans`` are those for the listed revisions, by name.
    """

    part: _Part
    candidates: Sequence[str]
    state: _State | None
    plans: Mapping[str, Plan]

    @property
    def size(self) -> int:
        """The number of datasets that are done with it."""
        return self.part.proven + len(self.part.names)


@dataclass(frozen=True, slots=True)
class Backfill:
    """Plans datasets and writes the plans. Those to be removed are only written down for ``run_name``.

    ``before_writing`` may raise an error to stop it.
    """

    run_name: str
    release: Release
    cache: CacheStore
    queue: QueueStore
    maintenance: MaintenanceStore
    hub: Hub
    remover: Remover
    options: BackfillOptions = BackfillOptions()
    before_writing: Callable[[], None] = lambda: None

    def run(self, names: Iterable[str]) -> BackfillSummary:
        """Backfill datasets, each named once, and tell what was done.

        It may be killed at any point and run again: the jobs of a batch are written as a whole or not at all,
        and what was written is then no longer to be done.
        """
        keep_memory_of_replies()
        summary = BackfillSummary()
        progress = Progress("datasets")
        requests_before = self.hub.requests
        with rare_garbage_collection(), ThreadPoolExecutor(HUB_THREADS, thread_name_prefix="hub") as asking:

            def ask_hub(batch: _Batch) -> dict[str, Support | DatasetError]:
                return dict(zip(batch.candidates, asking.map(self._ask_hub, batch.candidates), strict=True))

            # While the jobs of a batch are written, the Hub is asked about the next, and one more is read.
            for batch, answers in read_ahead(self._batches(names), ask_hub):
                summary.untouched += batch.size - len(batch.candidates)
                self._backfill(answers, batch, summary)
                progress.advance(batch.size)
        summary.hub_requests = self.hub.requests - requests_before
        return summary

    def _batches(self, names: Iterable[str]) -> Iterator[_Batch]:
        """Find those of each part about which the Hub has to be asked."""
        parts = self._parts(names)
        if not self.options.trust_listing:
            yield from (_Batch(part, part.names, None, {}) for part in parts)
            return
        for part, state in read_ahead(parts, lambda part: self._read(part.names)):
            plans = self._listed_plans(part, state)
            candidates = [name for name in part.names if name not in plans or not plans[name].is_empty]
            yield _Batch(part, candidates, state, plans)

    def _parts(self, names: Iterable[str]) -> Iterator[_Part]:
        """Cut the datasets that a screening does not prove to be up to date into parts that fit in memory."""
        batches = batched(names, self.options.batch_size)
        for _, parts in read_ahead(batches, self._cut, SCREENING_THREADS):
            yield from parts

    def _cut(self, names: Sequence[str]) -> list[_Part]:
        listed = self.maintenance.listed_revisions(names) if self.options.trust_listing else {}
        ours = _OurState(listed, self.maintenance.unfinished_rebuilds_among(names))
        proven = self._screen(names, ours) if listed else set()
        rest = [name for name in names if name not in proven]
        sizes = self.cache.entry_counts(rest) if rest else {}
        first, *others = list(batched_by_weight(sizes, ENTRIES_AT_A_TIME)) or [[]]
        return [_Part(first, len(proven), ours), *(_Part(part, 0, ours) for part in others)]

    def _screen(self, names: Sequence[str], ours: _OurState) -> set[str]:
        """Find datasets that are up to date, without a plan for each."""
        others = ours.unfinished_rebuilds | self.queue.with_pending_jobs(names)
        in_question = [
            name for name in ours.listed_revisions if name not in others and not self.hub.blocked.blocks(name)
        ]
        try:
            return proven_up_to_date(
                self.release,
                self.cache.columns(in_question),
                self.cache.lists(in_question),
                ours.listed_revisions,
            )
        except UnreadableColumnsError:
            return set()  # Each dataset is planned, and those with malformed entries come out.

    def _read(self, names: Sequence[str]) -> _State:
        if not names:
            return _State({}, {})
        return _State(self.cache.read(names), self.queue.pending_jobs(names))

    def _listed_plans(self, part: _Part, state: _State) -> dict[str, Plan]:
        """Plan those datasets which the listing proves to be supported, and leave out the errors."""
        plans = {}
        for name in part.names:
            revision = part.ours.listed_revisions.get(name)
            if revision is not None and not self.hub.blocked.blocks(name):
                with suppress(DatasetError):
                    plans[name] = self._plan(name, revision, state, part.ours)
        return plans

    def _plan(self, name: str, revision: str, state: _State, ours: _OurState) -> Plan:
        cached, jobs = state.cached[name], state.jobs.get(name, [])
        if isinstance(cached, DatasetError):
            raise cached
        if isinstance(jobs, DatasetError):
            raise jobs
        try:
            rebuild = name in ours.unfinished_rebuilds
            plan = plan_dataset(self.release, cached, jobs, revision, rebuild=rebuild)
        except TypeError as error:
            raise DatasetError(f"malformed cache entry: a field is of a wrong type ({error})") from error
        if plan.incoherent:
            dataset_folder(name)  # an unsafe name has to fail before anything of the dataset is removed
        return plan

    def _ask_hub(self, name: str) -> Support | DatasetError:
        try:
            return self.hub.support(name)
        except DatasetError as error:
            return error

    def _backfill(
        self,
        answers: Mapping[str, Support | DatasetError],
        batch: _Batch,
        summary: BackfillSummary,
    ) -> None:
        """Do what the Hub's answers ask for."""
        revisions: dict[str, str] = {}
        reasons: dict[str, str] = {}
        for name, answer in answers.items():
            match answer:
                case Supported(revision):
                    revisions[name] = revision
                case Unsupported(reason):
                    reasons[name] = reason
                case DatasetError():
                    _count_failure(name, answer, summary)
        self._note_unsupported(reasons, summary)
        if revisions:
            state, plans = batch.state, batch.plans
            if state is None or not state.is_fresh:
                state, plans = self._read(list(revisions)), {}
            self._write(self._plans(revisions, plans, state, batch.part.ours, summary), summary)

    def _note_unsupported(self, reasons: Mapping[str, str], summary: BackfillSummary) -> None:
        summary.unsupported += len(reasons)
        for name, reason in reasons.items():
            add_to_sample(summary.unsupported_sample, name, reason)
        if reasons and not self.options.dry_run:
            self.maintenance.add_removal_candidates(self.run_name, reasons)
            self.maintenance.finish_rebuilds(reasons)

    def _plans(
        self,
        revisions: Mapping[str, str],
        known: Mapping[str, Plan],
        state: _State,
        ours: _OurState,
        summary: BackfillSummary,
    ) -> list[Plan]:
        """Plan datasets, count them, and give the plans that are not empty."""
        plans = []
        for name, revision in revisions.items():
            try:
                plan = known.get(name)
                if plan is None or plan.revision != revision:
                    plan = self._plan(name, revision, state, ours)
            except DatasetError as error:
                _count_failure(name, error, summary)
                continue
            if plan.is_empty:
                summary.untouched += 1
            else:
                plans.append(plan)
                _count_plan(plan, summary)
        return plans

    def _write(self, plans: Sequence[Plan], summary: BackfillSummary) -> None:
        if self.options.dry_run:
            summary.jobs_created += sum(len(plan.new_jobs) for plan in plans)
            summary.jobs_deleted += sum(len(plan.deleted_jobs) for plan in plans)
            return
        self.before_writing()
        incoherent = [plan.dataset for plan in plans if plan.incoherent]
        if incoherent:
            self.maintenance.start_rebuilds(incoherent)
            summary.add_errors_of(self.remover.remove(incoherent))
        if plans:
            changes = self.queue.apply(
                plans,
                self.options.priority,
                and_write=lambda session: self.maintenance.finish_rebuilds(incoherent, session),
            )
            summary.jobs_created += changes.created
            summary.jobs_deleted += changes.deleted


def _count_plan(plan: Plan, summary: BackfillSummary) -> None:
    summary.backfilled += 1
    reasons = Counter(job.reason.value for job in plan.new_jobs)
    summary.jobs_by_reason = dict(Counter(summary.jobs_by_reason) + reasons)
    parts = ["is incoherent: remove it first"] if plan.incoherent else []
    if reasons:
        why = ", ".join(f"{number} {reason}" for reason, number in reasons.items())
        parts.append(f"create {_number(plan.new_jobs, 'job')} ({why})")
    if plan.deleted_jobs:
        parts.append(f"delete {_number(plan.deleted_jobs, 'waiting job')}")
    add_to_sample(summary.plan_sample, plan.dataset, "; ".join(parts))


def _count_failure(name: str, error: DatasetError, summary: BackfillSummary) -> None:
    summary.failed += 1
    add_to_sample(summary.error_sample, name, error)


def _number(jobs: Sequence[object], what: str) -> str:
    return f"{len(jobs)} {what}" if len(jobs) == 1 else f"{len(jobs)} {what}s"
