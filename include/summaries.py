"""What an action did, in numbers and a few examples: small, JSON-ready, and summed up over its tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

SAMPLE_SIZE = 20


@dataclass(slots=True)
class Summary:
    """Counts, and samples of at most ``SAMPLE_SIZE`` lines, each of which names a dataset or a path."""

    def add(self, other: Summary) -> None:
        """Add the counts and the samples of another summary of the same kind."""
        for name, theirs in other.as_json().items():
            mine = getattr(self, name)
            if isinstance(mine, list):
                setattr(self, name, (mine + theirs)[:SAMPLE_SIZE])
            elif isinstance(mine, dict):
                setattr(self, name, dict(Counter(mine) + Counter(theirs)))
            else:
                setattr(self, name, mine + theirs)

    def as_json(self) -> dict[str, Any]:
        """Give the summary as an object that JSON can hold."""
        return asdict(self)

    @classmethod
    def total(cls, summaries: Iterable[Mapping[str, Any]]) -> Self:
        """Sum up summaries that went through JSON."""
        total = cls()
        for summary in summaries:
            total.add(cls(**summary))
        return total


@dataclass(slots=True)
class BackfillSummary(Summary):
    """What a backfill did, or in a dry run would do: how many datasets ended how, and how many jobs.

    ``jobs_by_reason`` counts the created jobs. ``hub_requests`` leaves out those for the listing.
    ``warnings`` say what else a person should know.
    """

    untouched: int = 0
    backfilled: int = 0
    unsupported: int = 0
    failed: int = 0
    jobs_created: int = 0
    jobs_deleted: int = 0
    hub_requests: int = 0
    jobs_by_reason: dict[str, int] = field(default_factory=dict)
    plan_sample: list[str] = field(default_factory=list)
    unsupported_sample: list[str] = field(default_factory=list)
    error_sample: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add_errors_of(self, removal: RemovalSummary) -> None:
        """Count as failed, and not as backfilled, what was to be removed first and was not in whole."""
        self.failed += removal.failed
        self.backfilled -= removal.failed
        self.error_sample = (self.error_sample + removal.error_sample)[:SAMPLE_SIZE]


@dataclass(slots=True)
class RemovalSummary(Summary):
    """What a removal of datasets did. ``spared`` are those that the Hub has called supported since."""

    removed: int = 0
    failed: int = 0
    spared: int = 0
    waiting_jobs: int = 0
    cache_entries: int = 0
    asset_folders: int = 0
    hub_requests: int = 0
    error_sample: list[str] = field(default_factory=list)


def add_to_sample(sample: list[str], name: str, what: object) -> None:
    """Add a line about a dataset or a path to a sample, unless it is full."""
    if len(sample) < SAMPLE_SIZE:
        sample.append(f"{name}: {what}")


def backfill_report(
    backfill: BackfillSummary,
    removal: RemovalSummary,
    seconds: float,
    *,
    listing_requests: int = 0,
    dry_run: bool,
) -> dict[str, Any]:
    """Sum up a run, as an object that JSON can hold. In a dry run, it is what would be done.

    :param listing_requests: how many requests it took to check the token and to list the Hub.
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
        "jobs": {"created": backfill.jobs_created, "deleted": backfill.jobs_deleted},
        "jobs_by_reason": backfill.jobs_by_reason,
        "removed": {
            "waiting_jobs": removal.waiting_jobs,
            "cache_entries": removal.cache_entries,
            "asset_folders": removal.asset_folders,
        },
        "hub_requests": {
            "listing": listing_requests,
            "single_datasets": backfill.hub_requests + removal.hub_requests,
        },
        "warnings": list(dict.fromkeys(backfill.warnings)),
        "plan_sample": backfill.plan_sample,
        "unsupported_sample": backfill.unsupported_sample,
        "error_sample": (backfill.error_sample + removal.error_sample)[:SAMPLE_SIZE],
    }


def as_text(report: Mapping[str, Any]) -> str:
    """Write a report for people, one line for each number or sample."""
    lines = ["Dry run: nothing was written. It would do this:" if report["dry_run"] else "The run did this:"]
    for name, value in report.items():
        if name != "dry_run":
            lines += [f"  {line}" for line in _as_lines(_in_words(name), value)]
    return "\n".join(lines)


def _as_lines(label: str, value: Any) -> Iterator[str]:  # noqa: ANN401 - a part of a report
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _as_lines(f"{label}, {_in_words(key)}", part)
    elif isinstance(value, list):
        yield from (f"{label}: {line}" for line in value)
    else:
        yield f"{label}: {value:,}"


def _in_words(name: str) -> str:
    return name.replace("_", " ")
