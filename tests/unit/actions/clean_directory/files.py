"""Files and folders of a given age, and a cleaning of them at a given time."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from include.actions.clean_directory.cleaning import clean
from include.actions.clean_directory.report import CleaningSummary
from include.actions.clean_directory.rule import DirectoryCleaning

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
EXPIRY = timedelta(hours=3)
OLD = NOW - timedelta(hours=4)
NEW = NOW - timedelta(hours=1)


def touch(path: Path, accessed: datetime | int) -> Path:
    """Set the last access of a path (not of a link's target): a time, or nanoseconds since 1970."""
    nanoseconds = accessed if isinstance(accessed, int) else int(accessed.timestamp() * 10**6) * 1000
    os.utime(path, ns=(nanoseconds, nanoseconds), follow_symlinks=False)
    return path


def put(path: Path, accessed: datetime | int, content: str = "1234567890") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return touch(path, accessed)


def folder(path: Path, accessed: datetime) -> Path:
    path.mkdir(parents=True)
    return touch(path, accessed)


def link(path: Path, target: Path, accessed: datetime) -> Path:
    path.symlink_to(target)
    return touch(path, accessed)


def paths(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def cleaning(directory: Path, pattern: str = "*", **fields: Any) -> DirectoryCleaning:
    return DirectoryCleaning("test", str(directory), pattern, **fields)


def cleaned(directory: Path, pattern: str = "*", judge_by: str = "path", **options: Any) -> CleaningSummary:
    return clean(cleaning(directory, pattern, judge_by=judge_by), **{"now": NOW} | options)
