"""What a backfill did, and the report of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from include.errors import DatasetError
from include.planning.plan import Artifacts
from include.summaries import SAMPLE_SIZE, Summary, add_to_sample


@dataclass(slots=True)
class BackfillSummary(Summary):
    """What a backfill did, or in a dry run would do: the outcomes of the datasets, and the jobs.

    ``rebuilt`` are the incoherent caches that are removed and made anew, ``over_limit`` those that stay
    because of the limit of the day, which are untouched. ``jobs_by_reason`` counts the created jobs.
    ``hub_requests`` leaves out those for the listing. ``supported_sample`` has names of datasets that the Hub
    called supported. ``warnings`` are texts for people. Some of the ``untouched`` are proven to be up to date
    by the record of an earlier run, and some by the screening of all their entries. The artifacts are those
    of the datasets that the Hub supports, as the run found them; ``artifacts_in_need`` need a job, pending
    already or not.
    """

    untouched: int = 0
    backfilled: int = 0
    unsupported: int = 0
    failed: int = 0
    rebuilt: int = 0
    over_limit: int = 0
    jobs_created: int = 0
    jobs_deleted: int = 0
    hub_requests: int = 0
    jobs_by_reason: dict[str, int] = field(default_factory=dict)
    plan_sample: list[str] = field(default_factory=list)
    unsupported_sample: list[str] = field(default_factory=list)
    over_limit_sample: list[str] = field(default_factory=list)
    error_sample: list[str] = field(default_factory=list)
    # Two summaries that differ in these alone say the same.
    supported_sample: list[str] = field(default_factory=list, compare=False)
    proven_by_record: int = field(default=0, compare=False)
    proven_by_screening: int = field(default=0, compare=False)
    artifacts_up_to_date: int = field(default=0, compare=False)
    artifacts_in_need: int = field(default=0, compare=False)
    warnings: list[str] = field(default_factory=list)

    @property
    def proven_by_plan(self) -> int:
        """How many datasets are untouched because their plan is empty."""
        return self.untouched - self.proven_by_record - self.proven_by_screening - self.over_limit

    def count_artifacts(self, artifacts: Artifacts) -> None:
        """Count the artifacts of some datasets."""
        self.artifacts_up_to_date += artifacts.up_to_date
        self.artifacts_in_need += artifacts.need_jobs

    def count_failure(self, name: str, error: DatasetError) -> None:
        """Count a dataset that could not be handled."""
        self.failed += 1
        add_to_sample(self.error_sample, name, error)

    def count_over_limit(self, names: Sequence[str]) -> None:
        """Count datasets that the limit of the day does not let be rebuilt."""
        self.untouched += len(names)
        self.over_limit += len(names)
        self.over_limit_sample = [*self.over_limit_sample, *names][:SAMPLE_SIZE]

    def note_supported(self, names: Iterable[str]) -> None:
        """Keep the names of some datasets that the Hub called supported."""
        self.supported_sample += islice(names, SAMPLE_SIZE - len(self.supported_sample))

    def add_errors_of(self, removal: RemovalSummary) -> None:
        """Count the datasets whose removal failed as failed instead of backfilled."""
        self.failed += removal.failed
        self.backfilled -= removal.failed
        self.error_sample = (self.error_sample + removal.error_sample)[:SAMPLE_SIZE]


@dataclass(slots=True)
class RemovalSummary(Summary):
    """What a removal of datasets did. ``spared`` are those that the Hub supports after all.

    ``over_limit`` are those that the limit of the day did not let be removed. ``archives`` counts those that
    were written. ``hub_requests`` leaves out the ``token_checks``.
    """

    removed: int = 0
    failed: int = 0
    spared: int = 0
    waiting_jobs: int = 0
    cache_entries: int = 0
    archives: int = 0
    asset_folders: int = 0
    hub_requests: int = 0
    token_checks: int = 0
    over_limit: int = 0
    over_limit_sample: list[str] = field(default_factory=list)
    error_sample: list[str] = field(default_factory=list)

    def count_over_limit(self, names: Sequence[str]) -> None:
        """Count datasets that the limit of the day does not let be removed."""
        self.over_limit += len(names)
        self.over_limit_sample = [*self.over_limit_sample, *names][:SAMPLE_SIZE]

    def count_failure(self, name: str, error: DatasetError) -> None:
        """Count a dataset that could not be removed, or about which the Hub did not answer."""
        self.failed += 1
        add_to_sample(self.error_sample, name, error)


def backfill_report(
    backfill: BackfillSummary,
    removal: RemovalSummary,
    seconds: float,
    *,
    listing_requests: int = 0,
    decisions: Sequence[str] = (),
    dry_run: bool,
) -> dict[str, Any]:
    """Return the report of a run, as a JSON object; for a dry run, what it would do.

    :param listing_requests: how many requests it took to check the token first, and to list the Hub.
    :param decisions: what people decided about the removals, for people.
    """
    return {
        "dry_run": dry_run,
        "duration_seconds": round(seconds, 1),
        "datasets": {
            "untouched": backfill.untouched,
            "backfilled": backfill.backfilled,
            "unsupported": backfill.unsupported,
            "removed": removal.removed,
            "failed": backfill.failed + removal.failed,
        },
        "untouched_because_of": {
            "a_record": backfill.proven_by_record,
            "the_screening": backfill.proven_by_screening,
            "a_plan": backfill.proven_by_plan,
        },
        "artifacts": {
            "up_to_date": backfill.artifacts_up_to_date,
            "need_jobs": backfill.artifacts_in_need,
        },
        "rebuilt": backfill.rebuilt,
        "jobs": {"created": backfill.jobs_created, "deleted": backfill.jobs_deleted},
        "jobs_by_reason": backfill.jobs_by_reason,
        "removed": {
            "waiting_jobs": removal.waiting_jobs,
            "cache_entries": removal.cache_entries,
            "archives": removal.archives,
            "asset_folders": removal.asset_folders,
        },
        "decisions": list(decisions),
        "hub_requests": {
            "listing": listing_requests + removal.token_checks,
            "single_datasets": backfill.hub_requests + removal.hub_requests,
        },
        "over_daily_limit": {"removals": removal.over_limit, "rebuilds": backfill.over_limit},
        "warnings": [*dict.fromkeys(backfill.warnings), *_warnings(backfill, removal)],
        "plan_sample": backfill.plan_sample,
        "unsupported_sample": backfill.unsupported_sample,
        "over_daily_limit_sample": (removal.over_limit_sample + backfill.over_limit_sample)[:SAMPLE_SIZE],
        "error_sample": (backfill.error_sample + removal.error_sample)[:SAMPLE_SIZE],
    }


def _warnings(backfill: BackfillSummary, removal: RemovalSummary) -> Iterator[str]:
    for number, what in ((removal.over_limit, "removed"), (backfill.over_limit, "rebuilt")):
        if number:
            yield (
                f"{number:,} datasets were not {what}, because of the limit of the removals of a day"
                " (max_removals_per_day): they come again in the next runs."
            )
