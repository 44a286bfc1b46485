"""What a cleaning did, and the report of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from include.summaries import Summary


@dataclass(slots=True)
class CleaningSummary(Summary):
    """What a cleaning deleted, or in a dry run would delete.

    ``matched`` counts the paths that match the pattern, and ``due_paths`` those of them that have expired,
    deletable or not. ``files`` and ``folders`` count everything that was deleted: such paths and all below
    them; links and special files count as files. ``bytes_freed`` leaves out a file that has another name; if
    all names of a file go, only a run that deletes them can tell. ``warnings`` say what else matters.
    """

    matched: int = 0
    due_paths: int = 0
    files: int = 0
    folders: int = 0
    bytes_freed: int = 0
    failed: int = 0
    deleted_sample: list[str] = field(default_factory=list)
    error_sample: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


#: The counts of a summary, in the order in which people read them.
_COUNTS = ("matched", "due_paths", "files", "folders", "bytes_freed", "failed")


def cleaning_report(
    summaries: Mapping[str, CleaningSummary],
    seconds: float,
    *,
    dry_run: bool,
    not_cleaned: Sequence[str] = (),
    decisions: Sequence[str] = (),
) -> dict[str, Any]:
    """Sum up a run as an object that JSON can hold. In a dry run, it says what a run would do.

    :param summaries: what each cleaning did, by its name.
    :param seconds: how long the run took.
    :param not_cleaned: the names of the cleanings without a summary.
    :param decisions: who decided what about the deletions, if a person was asked.
    """
    total = CleaningSummary.total(summary.as_json() for summary in summaries.values())
    return {
        "dry_run": dry_run,
        "duration_seconds": round(seconds, 1),
        "directories": {name: _counts(summary) for name, summary in summaries.items()},
        "total": _counts(total),
        "not_cleaned": list(not_cleaned),
        "decisions": list(decisions),
        "deleted_sample": total.deleted_sample,
        "error_sample": total.error_sample,
        "warnings": total.warnings,
    }


def _counts(summary: CleaningSummary) -> dict[str, int]:
    return {name: getattr(summary, name) for name in _COUNTS}
