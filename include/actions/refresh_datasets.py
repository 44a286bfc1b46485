"""The action ``refresh-datasets``: compute artifacts again that a person chooses, or whole datasets.

It is a backfill with another plan: that one asks what a dataset needs, this one what a person wants. All that
comes after the plan is the same, and so is what holds for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

from include.actions.backfill.archiving import Cause
from include.actions.backfill.pipeline import Backfill, BackfillOptions
from include.actions.backfill.reading import ENTRIES_AT_A_TIME, Planner
from include.actions.backfill.removal import Remover
from include.actions.backfill.removal_limit import RemovalLimit
from include.actions.backfill.report import BackfillSummary
from include.batches import batched, batched_by_weight
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import MaintenanceStore
from include.databases.mongo import retried
from include.databases.queue_store import QueueStore
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.databases.selection import Selection, has_wildcard
from include.errors import ConfigurationError, DatasetError
from include.hub.client import Hub
from include.planning.artifact_name import ArtifactName
from include.planning.dataset_state import CachedDataset, Priority
from include.planning.processing_graph import Release
from include.planning.refresh import Refresh, chosen_artifacts, left_out, plan_recreation, plan_refresh
from include.summaries import Summary, add_to_sample

RECREATED = Cause("a person asked to make it anew")
_NAMES_AT_A_TIME = 500


@dataclass(slots=True)
class RefreshSummary(Summary):
    """What a refresh did, or in a dry run would do.

    Of ``pending`` datasets, all jobs were in the queue already. Those ``without_artifacts`` have none of the
    chosen artifacts. ``artifacts_left_out`` were named, but do not exist, or have no such error now.
    ``unsupported`` are left to a backfill, which removes them. ``recreated``
    are among the ``refreshed``. ``jobs_replaced`` counts the waiting jobs of a lower priority that gave way.
    """

    refreshed: int = 0
    recreated: int = 0
    pending: int = 0
    without_artifacts: int = 0
    artifacts_left_out: int = 0
    unsupported: int = 0
    over_daily_limit: int = 0
    failed: int = 0
    jobs_created: int = 0
    jobs_replaced: int = 0
    hub_requests: int = 0
    refreshed_sample: list[str] = field(default_factory=list)
    without_artifacts_sample: list[str] = field(default_factory=list)
    left_out_sample: list[str] = field(default_factory=list)
    unsupported_sample: list[str] = field(default_factory=list)
    over_daily_limit_sample: list[str] = field(default_factory=list)
    error_sample: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, done: BackfillSummary) -> RefreshSummary:
        """Return the summary of what was done."""
        return cls(
            refreshed=done.backfilled,
            recreated=done.rebuilt,
            pending=done.untouched - done.over_limit,
            unsupported=done.unsupported,
            over_daily_limit=done.over_limit,
            failed=done.failed,
            jobs_created=done.jobs_created,
            jobs_replaced=done.jobs_deleted,
            hub_requests=done.hub_requests,
            refreshed_sample=done.plan_sample,
            unsupported_sample=done.unsupported_sample,
            over_daily_limit_sample=done.over_limit_sample,
            error_sample=done.error_sample,
        )

    def count_without_artifacts(self, name: str, why: str) -> None:
        """Count a dataset that has none of the chosen artifacts."""
        self.without_artifacts += 1
        add_to_sample(self.without_artifacts_sample, name, why)

    def count_left_out(self, artifacts: Mapping[ArtifactName, str]) -> None:
        """Count artifacts that were named, but are left out, each with the reason."""
        self.artifacts_left_out += len(artifacts)
        for name, why in artifacts.items():
            add_to_sample(self.left_out_sample, str(name), why)


def refresh_report(summary: RefreshSummary, *, dry_run: bool) -> dict[str, Any]:
    """Return the report of a run, as a JSON object; for a dry run, what it would do."""
    return {
        "dry_run": dry_run,
        "datasets": {
            "refreshed": summary.refreshed,
            "recreated": summary.recreated,
            "pending": summary.pending,
            "without_artifacts": summary.without_artifacts,
            "unsupported": summary.unsupported,
            "over_daily_limit": summary.over_daily_limit,
            "failed": summary.failed,
        },
        "artifacts_left_out": summary.artifacts_left_out,
        "jobs": {"created": summary.jobs_created, "deleted": summary.jobs_replaced},
        "hub_requests": summary.hub_requests,
        "refreshed_sample": summary.refreshed_sample,
        "without_artifacts_sample": summary.without_artifacts_sample,
        "left_out_sample": summary.left_out_sample,
        "unsupported_sample": summary.unsupported_sample,
        "over_daily_limit_sample": summary.over_daily_limit_sample,
        "error_sample": summary.error_sample,
    }


def check_request(
    datasets: Sequence[str],
    error_codes: Sequence[str],
    steps: Sequence[str],
    artifacts: Sequence[str],
    *,
    recreate: bool,
) -> None:
    """Make sure that it is clear what a person wants.

    :raises ConfigurationError: if it is not.
    """
    if not datasets and not error_codes and not artifacts:
        raise ConfigurationError(
            "Name the datasets, the artifacts, or the error codes of entries to compute again."
        )
    if not recreate:
        if artifacts and (datasets or steps):
            raise ConfigurationError(
                "artifacts name their own datasets and steps: leave datasets and steps empty."
            )
        if not steps and not error_codes and not artifacts:
            raise ConfigurationError(
                "Name the steps to compute again. For all steps, name the first one, and set with_children."
            )
        return
    if steps or error_codes or artifacts:
        raise ConfigurationError(
            "recreate makes datasets anew with all their steps: leave steps, error_codes and artifacts empty."
        )
    if wildcards := [name for name in datasets if has_wildcard(name)]:
        raise ConfigurationError(
            f"recreate removes datasets first: name each of them, instead of {', '.join(wildcards)}."
        )


def named_datasets(cache: CacheStore, names: Sequence[str], error_codes: Sequence[str]) -> Iterator[str]:
    """Yield the datasets that a person named, each once.

    :param names: names, which need not be in the cache, or shell wildcards of cached datasets.
    :param error_codes: only cached datasets that have an entry with one of these.
    """
    if error_codes:
        return cache.selected_names(Selection(tuple(names), error_codes=tuple(error_codes)))
    single = [name for name in names if not has_wildcard(name)]
    wildcards = tuple(name for name in names if has_wildcard(name))
    found = cache.selected_names(Selection(wildcards)) if wildcards else ()
    return iter(dict.fromkeys(chain(single, found)))


@dataclass(frozen=True, slots=True)
class Refresher:
    """Refreshes and recreates datasets.

    It may be killed at any point: the next attempt, with the same ``run``, leaves out what is done.

    :param run: any text that no other run has.
    :param right: checked in each transaction.
    :param dry_run: plan and count everything, write nothing.
    """

    run: str
    release: Release
    cache: CacheStore
    queue: QueueStore
    maintenance: MaintenanceStore
    hub: Hub
    remover: Remover
    right: RightToWrite = UNRESTRICTED
    dry_run: bool = False

    def refresh(self, names: Iterable[str], refresh: Refresh, max_jobs: int) -> RefreshSummary:
        """Create the jobs of the chosen artifacts, whether or not these are up to date.

        :raises ConfigurationError: if these are more than ``max_jobs``. Then nothing is written.
        """
        missing = RefreshSummary()
        chosen = list(self._with_artifacts(self._left(names), refresh, max_jobs, missing))
        options = BackfillOptions(priority=refresh.priority)
        summary = RefreshSummary.of(self._backfill(chosen, options, partial(plan_refresh, refresh=refresh)))
        summary.add(missing)
        return summary

    def recreate(self, names: Iterable[str], priority: Priority, limit: RemovalLimit) -> RefreshSummary:
        """Remove datasets that the Hub supports, and create the jobs that build them from nothing.

        :param limit: of the removals of a day. What exceeds it stays as it is.
        """
        options = BackfillOptions(priority=priority, removal_limit=limit, rebuild_cause=RECREATED)
        return RefreshSummary.of(self._backfill(self._left(names), options, plan_recreation))

    def _left(self, names: Iterable[str]) -> list[str]:
        """Return the datasets, without those that an earlier attempt is done with."""
        done = self.maintenance.done_by(self.run)
        return [name for name in names if name not in done]

    def _with_artifacts(
        self, names: Iterable[str], refresh: Refresh, max_jobs: int, missing: RefreshSummary
    ) -> Iterator[str]:
        """Yield the datasets that have one of the chosen artifacts, and count in ``missing`` what is not."""
        jobs = 0
        for name, cached in self._read(names):
            if isinstance(cached, CachedDataset):  # An error comes up again when the dataset is planned.
                artifacts = chosen_artifacts(self.release, cached, refresh)
                missing.count_left_out(left_out(self.release, cached, refresh, artifacts))
                if not artifacts:
                    missing.count_without_artifacts(name, _why_without(cached, refresh))
                    continue
                jobs += len(artifacts)
            if jobs > max_jobs:
                raise ConfigurationError(
                    f"The run would create more jobs than max_jobs ({max_jobs:,}), so it creates none. Name"
                    " fewer datasets, steps or artifacts, or raise max_jobs if you mean it."
                )
            yield name

    def _read(self, names: Iterable[str]) -> Iterator[tuple[str, CachedDataset | DatasetError]]:
        for batch in batched(names, _NAMES_AT_A_TIME):
            entries = retried(partial(self.cache.entry_counts, batch))
            for part in batched_by_weight(entries, ENTRIES_AT_A_TIME):
                self.right.progress()
                yield from retried(partial(self.cache.read, part)).items()

    def _backfill(self, names: Sequence[str], options: BackfillOptions, planner: Planner) -> BackfillSummary:
        self.hub.check_token()
        return Backfill(
            self.run,
            self.release,
            self.cache,
            self.queue,
            self.maintenance,
            self.hub,
            self.remover,
            replace(
                options, trust_listing=False, keep_unsupported=True, note_done=True, dry_run=self.dry_run
            ),
            self.right,
            planner=planner,
        ).run(names)


def _why_without(cached: CachedDataset, refresh: Refresh) -> str:
    if refresh.artifacts:
        return "none of the named artifacts exists, or has such an error"
    if not cached.entries:
        return (
            "it is not in the cache, so it has no configs and splits yet: name a step of the dataset itself"
        )
    if refresh.steps:
        return "the cache lists no config or split of it that these steps are for"
    return "none of its artifacts has such an error"
