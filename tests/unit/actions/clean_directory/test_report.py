"""The report of a run."""

from __future__ import annotations

import json

from include.actions.clean_directory.report import CleaningSummary, cleaning_report
from include.summaries import as_text


def test_a_report_is_readable_as_text() -> None:
    report = cleaning_report(
        {"one": CleaningSummary(files=1_234)}, 1.23, dry_run=False, not_cleaned=["third"]
    )

    lines = as_text(report).splitlines()

    assert lines[:5] == [
        "The run did this:",
        "  duration seconds: 1.2",
        "  directories, one, matched: 0",
        "  directories, one, due paths: 0",
        "  directories, one, files: 1,234",
    ]
    assert lines[-1] == "  not cleaned: third"


def test_a_report_sums_up_the_directories() -> None:
    one = CleaningSummary(
        6, 5, 4, 3, 2, 1, ["'/a/b': last accessed 2024"], ["'/a/c': Permission denied"], ["the clock"]
    )
    other = CleaningSummary(matched=1, due_paths=1, files=1, bytes_freed=1)

    report = cleaning_report(
        {"one": one, "other": other},
        1.23,
        dry_run=False,
        not_cleaned=["third"],
        decisions=["Ada approved it"],
    )

    assert json.loads(json.dumps(report)) == {
        "dry_run": False,
        "duration_seconds": 1.2,
        "directories": {
            "one": {"matched": 6, "due_paths": 5, "files": 4, "folders": 3, "bytes_freed": 2, "failed": 1},
            "other": {"matched": 1, "due_paths": 1, "files": 1, "folders": 0, "bytes_freed": 1, "failed": 0},
        },
        "total": {"matched": 7, "due_paths": 6, "files": 5, "folders": 3, "bytes_freed": 3, "failed": 1},
        "not_cleaned": ["third"],
        "decisions": ["Ada approved it"],
        "deleted_sample": ["'/a/b': last accessed 2024"],
        "error_sample": ["'/a/c': Permission denied"],
        "warnings": ["the clock"],
    }
