"""Directories to clean, as in production, each with some old and some new files of workers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_FILE_BYTES = 4_096
_AGE_OF_OLD_FILES = timedelta(days=4)


@dataclass(frozen=True, slots=True)
class _Directory:
    """A directory to clean. ``old_files`` were last used days ago, ``new_files`` are in use."""

    name: str
    folder: str
    pattern: str
    expiry: timedelta
    old_files: tuple[str, ...]
    new_files: tuple[str, ...]


_DIRECTORIES = (
    _Directory(
        name="hf-datasets-cache",
        folder="hf-datasets-cache",
        pattern="*/datasets/*",
        expiry=timedelta(hours=3),
        old_files=("medium/datasets/squad/train.arrow", "medium/datasets/squad/test.arrow"),
        new_files=("light/datasets/glue/train.arrow",),
    ),
    _Directory(
        name="duckdb-index-cache",
        folder="duckdb-index",
        pattern="cache/*",
        expiry=timedelta(days=3),
        old_files=("cache/imdb/index.duckdb",),
        new_files=("cache/glue/index.duckdb",),
    ),
    _Directory(
        name="duckdb-index-downloads",
        folder="duckdb-index",
        pattern="downloads/*",
        expiry=timedelta(days=3),
        old_files=("downloads/imdb/0000.parquet", "downloads/imdb/0001.parquet"),
        new_files=(),
    ),
    _Directory(
        name="duckdb-index-job-runner",
        folder="duckdb-index",
        pattern="job_runner/*",
        expiry=timedelta(hours=3),
        old_files=("job_runner/imdb-index/index.duckdb",),
        new_files=("job_runner/glue-index/index.duckdb",),
    ),
    _Directory(
        name="stats-cache",
        folder="stats-cache",
        pattern="*",
        expiry=timedelta(hours=3),
        old_files=("squad-train.parquet", "imdb/0000.parquet"),
        new_files=("glue/0000.parquet",),
    ),
)

#: The numbers of old and of new files, by the name of the directory.
OLD_FILES = {directory.name: len(directory.old_files) for directory in _DIRECTORIES}
NEW_FILES = {directory.name: len(directory.new_files) for directory in _DIRECTORIES}


def cleanings(root: Path) -> list[dict[str, Any]]:
    """Return the entries of the Variable ``datasets_server_directory_cleaning`` for these directories."""
    return [
        {
            "name": directory.name,
            "directory": str(root / directory.folder),
            "pattern": directory.pattern,
            "expired_time_interval_seconds": int(directory.expiry.total_seconds()),
        }
        for directory in _DIRECTORIES
    ]


def fill_directories(root: Path) -> None:
    """Create the directories below a folder, with their files."""
    now = datetime.now(UTC)
    for directory in _DIRECTORIES:
        folder = root / directory.folder
        for files, used_at in ((directory.new_files, now), (directory.old_files, now - _AGE_OF_OLD_FILES)):
            for file in files:
                _make_file(folder, file, used_at)


def _make_file(folder: Path, file: str, used_at: datetime) -> None:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(_FILE_BYTES))
    while path != folder:
        os.utime(path, times=(used_at.timestamp(), used_at.timestamp()))
        path = path.parent
