"""The cleaning of the folders in which workers leave temporary files: what is old is deleted.

A cleaning never follows a symbolic link. It holds every folder that it works in open, and names what it
judges and deletes relative to that, so nothing that others do meanwhile can lead it elsewhere.
"""

from __future__ import annotations

import calendar
import errno
import fnmatch
import json
import os
import pwd
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from include.batches import Progress
from include.errors import ConfigurationError, ServiceError
from include.summaries import Summary, add_to_sample

DEFAULT_PATTERN = "*/datasets/*"
DEFAULT_EXPIRY_SECONDS = 10_800

#: A folder nested deeper than this is left and counted as an error: each level holds two files open.
MAX_DEPTH = 200

#: How often a folder is emptied before it is left, because others go on to fill it.
ATTEMPTS_TO_EMPTY = 3

_TO_BE_MENDED = frozenset(
    {errno.EACCES, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EPERM, errno.EROFS}
)
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: Neither these folders nor anything below them is cleaned.
_SYSTEM_TREES = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin"),
    *("/sys", "/usr", "/var/lib", "/var/log", "/var/mail", "/var/run", "/var/spool"),
)
#: A directory has at least two parts; below these folders, whose own belong to users and services, three.
_PARTS_OF_DIRECTORY = 2
_TREES_WITH_OWNERS = frozenset({"home", "opt", "var"})


class JudgeBy(StrEnum):
    """What tells how old a folder is: its own last access, or the newest of what it holds.

    With ``contents``, listing a folder does not renew it: only an empty folder counts by itself.
    """

    PATH = "path"
    CONTENTS = "contents"


@dataclass(frozen=True, slots=True)
class DirectoryCleaning:
    """Which paths of a directory are deleted, and when.

    ``pattern`` is a shell wildcard for each level below the directory (``*/datasets/*``). As in a shell,
    ``*`` does not match a leading dot, and never a slash.

    :raises ConfigurationError: for a value that is none, or a directory whose loss would do harm.
    """

    name: str
    directory: str
    pattern: str = DEFAULT_PATTERN
    expired_time_interval_seconds: int = DEFAULT_EXPIRY_SECONDS
    judge_by: str = JudgeBy.PATH.value

    def __post_init__(self) -> None:
        texts: dict[str, Any] = {"name": self.name, "directory": self.directory, "pattern": self.pattern}
        for name, value in texts.items():
            if not isinstance(value, str) or not value.strip() or "\0" in value:
                raise ConfigurationError(f"{name} must be a text that is not empty, not {value!r}.")
        if type(self.expired_time_interval_seconds) is not int or self.expired_time_interval_seconds < 0:
            raise ConfigurationError(
                "expired_time_interval_seconds must be a whole number of 0 or more,"
                f" not {self.expired_time_interval_seconds!r}."
            )
        if self.judge_by not in list(JudgeBy):
            raise ConfigurationError(f"judge_by must be {' or '.join(JudgeBy)}, not {self.judge_by!r}.")
        if {"", ".", ".."}.intersection(self.pattern.split("/")):
            raise ConfigurationError(
                "pattern must be relative to the directory, and none of its parts empty, . or ..,"
                f" not {self.pattern!r}."
            )
        if not self.directory.startswith("/"):
            raise ConfigurationError(f"directory must be absolute, not {self.directory!r}.")
        _refuse_unsafe(self.directory, os.path.normpath(self.directory))

    def real_directory(self) -> str:
        """Resolve the symbolic links on the way to the directory.

        :raises ConfigurationError: if they lead to a directory whose loss would do harm.
        """
        real = os.path.realpath(self.directory)
        _refuse_unsafe(self.directory, real)
        return real


_REQUIRED = {field.name for field in fields(DirectoryCleaning) if field.default is MISSING}
_EXAMPLE = json.dumps([{"name": "stats-cache", "directory": "/storage/stats-cache", "pattern": "*"}])


def parse_cleanings(text: str) -> tuple[DirectoryCleaning, ...]:
    """Read a JSON list of cleanings, each an object with the fields of :class:`DirectoryCleaning`.

    What has a default may be left out.

    :raises ConfigurationError: which says what is wrong in which of them.
    """
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"It may hold a JSON list, such as {_EXAMPLE}, but: {error}.") from error
    if not isinstance(entries, list):
        raise ConfigurationError(f"It may hold a JSON list, such as {_EXAMPLE}.")
    cleanings = tuple(_parse_cleaning(number, entry) for number, entry in enumerate(entries, start=1))
    names = [cleaning.name for cleaning in cleanings]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(f"Each name may occur once; {', '.join(repeated)} occurs more often.")
    return cleanings


def _parse_cleaning(number: int, entry: object) -> DirectoryCleaning:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"Entry {number} must be an object, not {entry!r}.")
    known = {field.name for field in fields(DirectoryCleaning)}
    if missing := sorted(_REQUIRED - entry.keys()):
        raise ConfigurationError(f"Entry {number} lacks {', '.join(missing)}.")
    if unknown := sorted(entry.keys() - known):
        raise ConfigurationError(
            f"Entry {number} has no use for {', '.join(unknown)}. Its fields are {', '.join(sorted(known))}."
        )
    try:
        return DirectoryCleaning(**entry)
    except ConfigurationError as error:
        raise ConfigurationError(f"Entry {number}: {error}") from error


def _refuse_unsafe(given: str, directory: str) -> None:
    """Refuse a directory, normalized or resolved from what was given, whose loss would do harm."""
    directory = "/" + directory.lstrip("/")
    first, *others = directory.strip("/").split("/")
    least_parts = _PARTS_OF_DIRECTORY + (first in _TREES_WITH_OWNERS)
    if any(_is_in(directory, tree) for tree in _SYSTEM_TREES):
        reason = "it belongs to the system"
    elif 1 + len(others) < least_parts:
        reason = f"it has fewer than {least_parts} parts, which may be needed for other things"
    elif any(_is_in(os.path.normpath(user.pw_dir), directory) for user in pwd.getpwall()):
        reason = "it is, or holds, the home of a user"
    else:
        return
    resolved = "" if directory == given else f", which is {directory!r},"
    raise ConfigurationError(
        f"directory {given!r}{resolved} is not cleaned: {reason}. Name one that holds temporary files alone."
    )


def _is_in(path: str, tree: str) -> bool:
    return path == tree or path.startswith(f"{tree}/")


@dataclass(slots=True)
class CleaningSummary(Summary):
    """What a cleaning deleted, or in a dry run would delete.

    ``matched`` counts the paths that match the pattern; ``files`` and ``folders`` all that was deleted, also
    below them. A symbolic link counts as a file. ``bytes_freed`` leaves out a file that has another name; of
    one whose names all go, only the run that is no dry run can tell.
    """

    matched: int = 0
    files: int = 0
    folders: int = 0
    bytes_freed: int = 0
    failed: int = 0
    deleted_sample: list[str] = field(default_factory=list)
    error_sample: list[str] = field(default_factory=list)


#: The counts of a summary, in the order in which people read them.
_COUNTS = ("matched", "files", "folders", "bytes_freed", "failed")


def cleaning_report(
    summaries: Mapping[str, CleaningSummary],
    seconds: float,
    *,
    dry_run: bool,
    not_cleaned: Sequence[str] = (),
) -> dict[str, Any]:
    """Sum up a run, as an object that JSON can hold. In a dry run, it is what would be done.

    :param summaries: what was done, by the name of the cleaning.
    :param not_cleaned: the names of those of which there is no summary.
    """
    total = CleaningSummary.total(summary.as_json() for summary in summaries.values())
    return {
        "dry_run": dry_run,
        "duration_seconds": round(seconds, 1),
        "directories": {name: _counts(summary) for name, summary in summaries.items()},
        "total": _counts(total),
        "not_cleaned": list(not_cleaned),
        "deleted_sample": total.deleted_sample,
        "error_sample": total.error_sample,
    }


def _counts(summary: CleaningSummary) -> dict[str, int]:
    return {name: getattr(summary, name) for name in _COUNTS}


def clean(
    cleaning: DirectoryCleaning,
    *,
    now: datetime | None = None,
    accessed_from: datetime | None = None,
    accessed_to: datetime | None = None,
    dry_run: bool = False,
) -> CleaningSummary:
    """Delete the paths that match and are old; create the directory if it is missing.

    What cannot be deleted is counted. With ``accessed_from`` (inclusive) or ``accessed_to`` (exclusive), only
    the paths last accessed between them are deleted, if they are old. All times have a zone.

    :raises ConfigurationError: if the directory is one that is not cleaned, or cannot be opened.
    :raises ServiceError: if reading the directory fails.
    """
    newest = _nanoseconds(now or datetime.now(UTC)) - cleaning.expired_time_interval_seconds * 10**9
    end = newest + 1 if accessed_to is None else min(newest + 1, _nanoseconds(accessed_to))
    start = None if accessed_from is None else _nanoseconds(accessed_from)
    cleaner = _Cleaner(start, end, JudgeBy(cleaning.judge_by), dry_run)
    directory = cleaning.real_directory()
    try:
        if not dry_run:
            os.makedirs(directory, exist_ok=True)  # noqa: PTH103 - the names of this module are texts
        with _opened(directory) as folder:
            cleaner.clean(folder, directory, cleaning.pattern.split("/"))
    except FileNotFoundError:
        return cleaner.summary  # a dry run creates nothing
    except OSError as error:
        if error.errno not in _TO_BE_MENDED:
            raise ServiceError(f"The directory {directory!r} cannot be read: {error.strerror}.") from error
        raise ConfigurationError(
            f"The directory {directory!r} cannot be opened: {error.strerror}. It must be a folder that the"
            " workers have mounted and may read and write."
        ) from error
    return cleaner.summary


def _nanoseconds(time: datetime) -> int:
    return calendar.timegm(time.utctimetuple()) * 10**9 + time.microsecond * 1_000


@contextmanager
def _opened(name: str, parent: int | None = None) -> Iterator[int]:
    """Open a folder in an open one, but no symbolic link."""
    try:
        # Looking at a folder is no use of it. To hide it is the right of its owner (and of root).
        folder = os.open(name, _OPEN_FOLDER | os.O_NOATIME, dir_fd=parent)
    except PermissionError:
        folder = os.open(name, _OPEN_FOLDER, dir_fd=parent)
    try:
        yield folder
    finally:
        os.close(folder)


def _matches(name: str, part: str) -> bool:
    hidden = name.startswith(".") and not part.startswith(".")
    return not hidden and fnmatch.fnmatchcase(name, part)


def _refuse_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise OSError(errno.EMFILE, f"folders are nested more than {MAX_DEPTH} deep")


@dataclass(slots=True)
class _Cleaner:
    """One cleaning: deletes what was last accessed from ``start`` to before ``end`` (ns since 1970).

    Entries are read as they come, and deleted before the next is read: a folder is never in memory.
    """

    start: int | None
    end: int
    judge_by: JudgeBy
    dry_run: bool
    summary: CleaningSummary = field(default_factory=CleaningSummary)
    progress: Progress = field(default_factory=lambda: Progress("paths"))

    def clean(self, folder: int, path: str, parts: Sequence[str]) -> None:
        """Clean what matches the parts of a pattern in an open folder."""
        with os.scandir(folder) as entries:
            for entry in entries:
                if _matches(entry.name, parts[0]):
                    self._visit(folder, entry.name, f"{path}/{entry.name}", parts[1:])

    def _visit(self, folder: int, name: str, path: str, parts: Sequence[str]) -> None:
        try:
            if parts:
                with _opened(name, folder) as opened:
                    self.clean(opened, path, parts)
            else:
                self._clean_match(folder, name, path)
        except (FileNotFoundError, NotADirectoryError):
            pass  # it has vanished, or is no folder that the pattern could go on in
        except OSError as error:
            self._count_error(path, error)

    def _clean_match(self, folder: int, name: str, path: str) -> None:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        self.summary.matched += 1
        accessed = status.st_atime_ns
        if self.judge_by == JudgeBy.CONTENTS:
            accessed = self._last_access_below(folder, name, status)
        is_due = accessed < self.end and (self.start is None or accessed >= self.start)
        if is_due and self._delete(folder, name, path, status):
            last = datetime.fromtimestamp(accessed // 10**9, UTC)
            add_to_sample(self.summary.deleted_sample, repr(path), f"last accessed {last:%Y-%m-%d %H:%M:%S}")

    def _last_access_below(self, folder: int, name: str, status: os.stat_result, depth: int = 0) -> int:
        """Find the last access of a file or an empty folder, or the newest of what a folder holds.

        The search ends at one that is too new for anything to be deleted.
        """
        self.progress.advance(1)
        if not stat.S_ISDIR(status.st_mode):
            return status.st_atime_ns
        _refuse_depth(depth)
        newest = None
        with _opened(name, folder) as opened, os.scandir(opened) as entries:
            for entry in entries:
                with suppress(FileNotFoundError, NotADirectoryError):  # it has vanished
                    found = entry.stat(follow_symlinks=False)
                    accessed = self._last_access_below(opened, entry.name, found, depth + 1)
                    newest = accessed if newest is None else max(newest, accessed)
                    if newest >= self.end:
                        break
        return status.st_atime_ns if newest is None else newest

    def _delete(
        self, folder: int, name: str, path: str, judged: os.stat_result | None = None, depth: int = 0
    ) -> bool:
        """Delete a path and all below it, and tell whether it is gone."""
        try:
            status = judged or os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                self._delete_file(folder, name, status)
            elif not self._delete_folder(folder, name, path, status, depth):
                return False
        except (FileNotFoundError, NotADirectoryError):
            pass  # it has vanished, or something else is there now
        except OSError as error:
            self._count_error(path, error)
            return False
        self.progress.advance(1)
        return True

    def _delete_file(self, folder: int, name: str, status: os.stat_result) -> None:
        if not self.dry_run:
            os.unlink(name, dir_fd=folder)
        self.summary.files += 1
        if status.st_nlink == 1:
            self.summary.bytes_freed += status.st_size

    def _delete_folder(self, folder: int, name: str, path: str, judged: os.stat_result, depth: int) -> bool:
        _refuse_depth(depth)
        if judged.st_dev != os.fstat(folder).st_dev:
            raise OSError(errno.EXDEV, "another file system is mounted there")
        with _opened(name, folder) as opened:
            if not os.path.samestat(judged, os.fstat(opened)):
                raise FileNotFoundError  # the folder that was judged
            for _ in range(ATTEMPTS_TO_EMPTY):
                if not self._empty(opened, path, depth):
                    return False
                if self.dry_run or _removed(folder, name):
                    self.summary.folders += 1
                    return True
        raise OSError(errno.ENOTEMPTY, "others go on to fill the folder")

    def _empty(self, folder: int, path: str, depth: int) -> bool:
        emptied = True
        with os.scandir(folder) as entries:
            for entry in entries:
                gone = self._delete(folder, entry.name, f"{path}/{entry.name}", depth=depth + 1)
                emptied = emptied and gone
        return emptied

    def _count_error(self, path: str, error: OSError) -> None:
        self.summary.failed += 1
        add_to_sample(self.summary.error_sample, repr(path), error.strerror)


def _removed(folder: int, name: str) -> bool:
    """Remove an empty folder, and tell whether it was empty."""
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True
