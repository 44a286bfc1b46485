"""Ages are measured by the clock of the file system that stamps the last accesses."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from include.actions.clean_directory import cleaning as cleaning_module
from include.actions.clean_directory.cleaning import clean
from tests.unit.actions.clean_directory.files import cleaning, paths, put, touch

DAY = timedelta(days=1)


def set_machine_clock(monkeypatch: pytest.MonkeyPatch, ahead: timedelta) -> None:
    """Let the clock of this machine, but not that of the file system, be ahead."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return super().now(tz) + ahead

    monkeypatch.setattr(cleaning_module, "datetime", Clock)


@pytest.fixture
def refuse_new_files(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the creation of any file, or only of one without a name, fail."""
    original = os.open

    def arrange(number: int, flag: int = os.O_CREAT | os.O_TMPFILE) -> None:
        def refuse(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if flags & flag & ~os.O_DIRECTORY:
                raise OSError(number, os.strerror(number))
            return original(path, flags, *args, **kwargs)

        monkeypatch.setattr(os, "open", refuse)

    return arrange


@pytest.mark.parametrize("ahead", [DAY, -DAY])
def test_a_machine_whose_clock_is_off_by_a_day_deletes_the_expired_files_alone(
    storage: Path, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    now = datetime.now(UTC)
    put(storage / "fresh", now)
    put(storage / "expired", now - timedelta(hours=2))
    set_machine_clock(monkeypatch, ahead)

    summary = clean(cleaning(storage, expired_time_interval_seconds=3_600))

    assert paths(storage) == {"fresh"}
    assert summary.warnings == []


@pytest.mark.parametrize("dry_run", [False, True])
def test_reading_the_clock_leaves_no_trace(storage: Path, dry_run: bool) -> None:
    put(storage / "fresh", datetime.now(UTC))
    before = touch(storage, datetime(2024, 1, 1, tzinfo=UTC)).stat()

    summary = clean(cleaning(storage, expired_time_interval_seconds=3_600), dry_run=dry_run)

    assert summary.matched == 1
    assert paths(storage) == {"fresh"}
    assert storage.stat().st_mtime_ns == before.st_mtime_ns


def test_a_file_system_without_unnamed_files_tells_its_time_by_a_named_one(
    storage: Path, monkeypatch: pytest.MonkeyPatch, refuse_new_files: Callable[..., None]
) -> None:
    put(storage / "fresh", datetime.now(UTC))
    set_machine_clock(monkeypatch, DAY)
    refuse_new_files(errno.EOPNOTSUPP, os.O_TMPFILE)

    summary = clean(cleaning(storage, expired_time_interval_seconds=3_600))

    assert paths(storage) == {"fresh"}
    assert (summary.matched, summary.warnings) == (1, [])


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_where_no_file_can_be_created_ages_are_measured_by_the_clock_of_the_machine_with_a_warning(
    storage: Path,
    monkeypatch: pytest.MonkeyPatch,
    refuse_new_files: Callable[[int], None],
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    put(storage / "expired", datetime.now(UTC) - timedelta(hours=2))
    put(storage / "fresh", datetime.now(UTC))
    refuse_new_files(number)

    with caplog.at_level(logging.WARNING):
        summary = clean(cleaning(storage, expired_time_interval_seconds=3_600), dry_run=True)

    assert summary.files == 1
    assert summary.warnings == [
        f"{storage}: ages are measured by the clock of this machine, because no file can be created there to"
        f" read the clock of the file system: {os.strerror(number)}."
    ]
    assert caplog.messages == summary.warnings


def test_a_given_time_is_used_and_no_clock_is_read(
    storage: Path, refuse_new_files: Callable[[int], None]
) -> None:
    put(storage / "file", datetime.now(UTC))
    refuse_new_files(errno.EROFS)

    summary = clean(cleaning(storage), now=datetime.now(UTC) + DAY)

    assert paths(storage) == set()
    assert summary.warnings == []
