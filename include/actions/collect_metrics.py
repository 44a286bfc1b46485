"""The report of ``collect-cache-metrics`` and ``collect-queue-metrics``."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from typing import TYPE_CHECKING, Any

from include.summaries import SAMPLE_SIZE

if TYPE_CHECKING:
    from include.databases.counts import Counts


def metrics_report(counts: Sequence[Counts], seconds: float, *, dry_run: bool) -> dict[str, Any]:
    """Return the report of a collection, as a JSON object; for a dry run, what it would write."""
    groups = [(count, each, labels) for each in counts for labels, count in each.labelled()]
    return {
        "dry_run": dry_run,
        "duration_seconds": round(seconds, 1),
        "counted": {each.name: each.total for each in counts},
        "groups_written": {each.name: len(each.by_group) for each in counts},
        "groups_deleted": {each.name: len(each.gone) for each in counts},
        "largest_groups": [
            f"{each.name}, {', '.join(map(label, labels.values()))}: {count:,}"
            for count, each, labels in nlargest(SAMPLE_SIZE, groups, key=lambda group: group[0])
        ],
    }


def label(value: str | int | None) -> str:
    """Return a part of a group as text, also if it is null."""
    return "none" if value is None else str(value)
