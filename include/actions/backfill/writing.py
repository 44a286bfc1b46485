"""What a backfill writes: the jobs of the plans, and the datasets that the Hub no longer supports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial

from bson import ObjectId

from include.actions.backfill.archiving import Cause
from include.actions.backfill.removal import Remover
from include.actions.backfill.removal_limit import RemovalLimit
from include.actions.backfill.report import BackfillSummary
from include.databases.maintenance_store import MaintenanceStore
from include.databases.mongo import Session
from include.databases.queue_store import QueueStore
from include.databases.right_to_write import RightToWrite
from include.planning.dataset_state import Priority
from include.planning.plan import Plan
from include.summaries import add_to_sample


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes plans, and counts them. In a dry run it only counts.

    :param run: any text that no other run has; datasets to remove are written down under it.
    :param right: checked in each transaction.
    :param limit: of the removals of a day, in which a rebuild counts as one.
    :param priority: of the jobs to create.
    :param rebuild_cause: why datasets are rebuilt.
    :param keep_unsupported: write down no dataset to remove.
    :param note_done: write down which datasets the run is done with.
    """

    run: str
    queue: QueueStore
    maintenance: MaintenanceStore
    remover: Remover
    right: RightToWrite
    limit: RemovalLimit
    priority: Priority
    rebuild_cause: Cause
    keep_unsupported: bool
    note_done: bool
    dry_run: bool

    def note_unsupported(self, reasons: Mapping[str, str], summary: BackfillSummary) -> None:
        """Write down datasets that are to be removed, with the reason for each."""
        summary.unsupported += len(reasons)
        for name, reason in reasons.items():
            add_to_sample(summary.unsupported_sample, name, reason)
        if reasons and not (self.dry_run or self.keep_unsupported):
            self.maintenance.add_removal_candidates(self.run, reasons, self.right)

    def note_supported(self, names: Collection[str]) -> None:
        """Cross off datasets that an earlier attempt has written down to be removed."""
        if not (self.dry_run or self.keep_unsupported):
            self.maintenance.withdraw_removal_candidates(self.run, names, self.right)

    def write(self, plans: Sequence[Plan], deletable: Set[ObjectId], summary: BackfillSummary) -> None:
        """Write the jobs of plans that are not empty; an incoherent dataset is removed first.

        :param deletable: the ids of the jobs that the removal may delete, if they wait.
        """
        plans = self._within_limit(plans, summary)
        for plan in plans:
            self._count(plan, summary)
        if self.dry_run:
            summary.jobs_created += sum(len(plan.new_jobs) for plan in plans)
            summary.jobs_deleted += sum(len(plan.deleted_jobs) for plan in plans)
        elif plans:
            plans = self._rebuildable(plans, deletable, summary)
            changes = self.queue.apply(plans, self.priority, partial(self._finish, plans), self.right)
            summary.jobs_created += changes.created
            summary.jobs_deleted += changes.deleted

    def _finish(self, plans: Sequence[Plan], session: Session) -> None:
        """Write down, in the last transaction of some plans, what is done."""
        self.maintenance.finish_rebuilds((plan.dataset for plan in plans if plan.incoherent), session)
        if self.note_done:
            self.maintenance.note_done(self.run, [plan.dataset for plan in plans], session)

    def _within_limit(self, plans: Sequence[Plan], summary: BackfillSummary) -> Sequence[Plan]:
        """Leave out, and count, the rebuilds that exceed the limit of the day."""
        incoherent = [plan.dataset for plan in plans if plan.incoherent]
        if not incoherent:
            return plans
        begun = self.maintenance.unfinished_rebuilds_among(incoherent)  # by a run that was cut short
        new = [name for name in incoherent if name not in begun]
        allowed = begun.union(self._counted(new, summary))
        summary.rebuilt += len(allowed)
        summary.count_over_limit([name for name in new if name not in allowed])
        return [plan for plan in plans if not plan.incoherent or plan.dataset in allowed]

    def _counted(self, new_rebuilds: Sequence[str], summary: BackfillSummary) -> Sequence[str]:
        """Count rebuilds with the removals of the day, and return those within the limit."""
        ledger, limit = self.maintenance.removal_ledger(), self.limit.of(self.remover.cache)
        if self.dry_run:
            return new_rebuilds[: max(0, limit - ledger.begun_in_a_day() - summary.rebuilt)]
        reasons = dict.fromkeys(new_rebuilds, self.rebuild_cause.reason)
        return ledger.count_rebuilds(self.run, reasons, limit, self.right)

    def _rebuildable(
        self, plans: Sequence[Plan], deletable: Set[ObjectId], summary: BackfillSummary
    ) -> Sequence[Plan]:
        """Remove the incoherent datasets, and return the plans without those that could not be removed."""
        incoherent = [plan.dataset for plan in plans if plan.incoherent]
        if not incoherent:
            return plans
        self.maintenance.start_rebuilds(incoherent, self.right)
        removal = self.remover.remove(incoherent, deletable, self.rebuild_cause)
        summary.add_errors_of(removal)
        if not removal.failed:
            return plans
        entries = self.remover.cache.entry_counts(incoherent)
        stayed = [plan for plan in plans if plan.incoherent and entries[plan.dataset]]
        for plan in stayed:
            _uncount_jobs(plan, summary)
        return [plan for plan in plans if plan not in stayed]

    def _count(self, plan: Plan, summary: BackfillSummary) -> None:
        summary.backfilled += 1
        reasons = Counter(job.reason.value for job in plan.new_jobs)
        summary.jobs_by_reason = dict(Counter(summary.jobs_by_reason) + reasons)
        words = _in_words(plan, reasons, self.rebuild_cause)
        add_to_sample(summary.plan_sample, plan.dataset, "; ".join(words))


def _uncount_jobs(plan: Plan, summary: BackfillSummary) -> None:
    summary.rebuilt -= 1
    reasons = Counter(job.reason.value for job in plan.new_jobs)
    summary.jobs_by_reason = dict(Counter(summary.jobs_by_reason) - reasons)


def _in_words(plan: Plan, reasons: Mapping[str, int], rebuild_cause: Cause) -> list[str]:
    words = [f"remove it first, because {rebuild_cause.reason}"] if plan.incoherent else []
    if reasons:
        why = ", ".join(f"{number} {reason}" for reason, number in reasons.items())
        words.append(f"create {_number(plan.new_jobs, 'job')} ({why})")
    if plan.deleted_jobs:
        words.append(f"delete {_number(plan.deleted_jobs, 'waiting job')}")
    return words


def _number(jobs: Sequence[object], what: str) -> str:
    return f"{len(jobs)} {what}" if len(jobs) == 1 else f"{len(jobs)} {what}s"
