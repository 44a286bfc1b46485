"""The cleaning of a directory: find the paths that match, judge them, and delete the expired ones.

A cleaning deletes through no symbolic link. It holds every folder that it works in open and names the entries
relative to it, so that nothing that other programs do at the same time can lead it elsewhere.
"""

from __future__ import annotations

import calendar
import errno
import fnmatch
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from include.actions.clean_directory.clock import file_system_time
from include.actions.clean_directory.deletion import Deletion
from include.actions.clean_directory.folders import TOO_DEEP, opened, opened_directory
from include.actions.clean_directory.judging import Judge, judged_status
from include.actions.clean_directory.protection import check_allowed
from include.actions.clean_directory.report import CleaningSummary
from include.actions.clean_directory.rule import DirectoryCleaning, JudgeBy
from include.batches import Progress
from include.errors import ConfigurationError, ServiceError
from include.summaries import add_to_sample

logger = logging.getLogger(__name__)

_CONFIGURATION_ERRORS = frozenset(
    {errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EPERM, errno.EROFS}
)


def clean(
    cleaning: DirectoryCleaning,
    *,
    now: datetime | None = None,
    accessed_from: datetime | None = None,
    accessed_to: datetime | None = None,
    dry_run: bool = False,
    roots: Sequence[str] | None = None,
    protected: Sequence[str] = (),
) -> CleaningSummary:
    """Delete the paths that match and have expired; create the directory if it is missing.

    A path that cannot be deleted is counted. All times have a zone.

    :param now: measure ages from this time; by default from that of the file system of the directory.
    :param accessed_from: delete only paths last accessed at this time or later.
    :param accessed_to: delete only paths last accessed before this time.
    :param dry_run: count, but delete and create nothing.
    :param roots: check the directory by :func:`check_allowed` with these roots; None for no such check.
    :param protected: the protected paths of that check.
    :raises ConfigurationError: if the directory must not be cleaned, or cannot be opened.
    :raises ServiceError: if reading the directory fails.
    """
    summary, progress = CleaningSummary(), Progress("paths")
    directory = cleaning.real_directory()
    if roots is not None:
        check_allowed(directory, roots, protected)
    try:
        with opened_directory(directory, create=not dry_run) as folder:
            time = _time_of(folder, directory, summary) if now is None else _nanoseconds(now)
            start, end = _due_interval(time, cleaning, accessed_from, accessed_to)
            judge = Judge(start, end, JudgeBy(cleaning.judge_by), progress)
            walk = _Walk(judge, Deletion(summary, progress, dry_run), summary)
            walk.clean(folder, directory, cleaning.pattern.split("/"))
    except FileNotFoundError:
        pass  # a dry run creates no directory
    except OSError as error:
        raise _explained(error, directory) from error
    return summary


def time_of(cleaning: DirectoryCleaning) -> datetime:
    """Return the time of the file system of a directory, or that of this machine if it has none.

    :raises ServiceError, ConfigurationError: as :func:`clean`.
    """
    directory = cleaning.real_directory()
    try:
        with opened_directory(directory, create=False) as folder:
            nanoseconds = _time_of(folder, directory, CleaningSummary())
    except FileNotFoundError:
        return datetime.now(UTC)
    except OSError as error:
        raise _explained(error, directory) from error
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=nanoseconds // 1_000)


def _time_of(folder: int, directory: str, summary: CleaningSummary) -> int:
    try:
        return file_system_time(folder)
    except OSError as error:
        warning = (
            f"{directory}: ages are measured by the clock of this machine, because no file can be created"
            f" there to read the clock of the file system: {error.strerror}."
        )
    logger.warning(warning)
    summary.warnings.append(warning)
    return _nanoseconds(datetime.now(UTC))


def _due_interval(
    now: int, cleaning: DirectoryCleaning, accessed_from: datetime | None, accessed_to: datetime | None
) -> tuple[int | None, int]:
    """Return the earliest last access that is due, and the first that is not due any more."""
    start = None if accessed_from is None else _nanoseconds(accessed_from)
    end = now - cleaning.expired_time_interval_seconds * 10**9 + 1
    return start, end if accessed_to is None else min(end, _nanoseconds(accessed_to))


def _nanoseconds(time: datetime) -> int:
    return calendar.timegm(time.utctimetuple()) * 10**9 + time.microsecond * 1_000


def _explained(error: OSError, directory: str) -> Exception:
    if error.errno not in _CONFIGURATION_ERRORS:
        return ServiceError(f"The directory {directory!r} cannot be read: {error.strerror}.")
    return ConfigurationError(
        f"The directory {directory!r} cannot be opened: {error.strerror}. It must be a folder that the"
        " workers have mounted and may read and write."
    )


@dataclass(frozen=True, slots=True)
class _Walk:
    """Goes through the paths that match a pattern, and deletes those that are due."""

    judge: Judge
    deletion: Deletion
    summary: CleaningSummary

    def clean(self, folder: int, path: str, parts: Sequence[str]) -> None:
        """Clean the paths that match the parts of a pattern in an open folder."""
        with os.scandir(folder) as entries:
            for entry in entries:
                if _matches(entry.name, parts[0]):
                    self._visit(entry, f"{path}/{entry.name}", folder, parts[1:])

    def _visit(self, entry: os.DirEntry[str], path: str, parent: int, parts: Sequence[str]) -> None:
        try:
            if parts:
                with opened(entry.name, parent) as folder:
                    self.clean(folder, path, parts)
            else:
                self._clean_match(entry, path, parent)
        except (FileNotFoundError, NotADirectoryError):
            pass  # it is gone, or is no folder in which the pattern could go on
        except OSError as error:
            self.deletion.count_failure(path, error.strerror)

    def _clean_match(self, entry: os.DirEntry[str], path: str, parent: int) -> None:
        status = judged_status(entry)
        self.summary.matched += 1
        if status is None:
            return
        accessed = self.judge.last_access(entry, status, parent)
        if accessed is None:
            self.deletion.count_failure(path, TOO_DEEP)
        elif self.judge.is_due(accessed):
            self.summary.due_paths += 1
            if self.deletion.delete(entry, path, parent):
                last = datetime.fromtimestamp(accessed // 10**9, UTC)
                add_to_sample(self.summary.deleted_sample, repr(path), f"last accessed {last:%F %T}")


def _matches(name: str, part: str) -> bool:
    hidden = name.startswith(".") and not part.startswith(".")
    return not hidden and fnmatch.fnmatchcase(name, part)
