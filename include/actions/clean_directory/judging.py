"""How old a path is, and whether that is old enough to delete it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass

from include.actions.clean_directory.folders import MAX_DEPTH, opened
from include.actions.clean_directory.rule import JudgeBy
from include.batches import Progress


def judged_status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return the status that tells how old a path is, or None if the path always stays.

    Files and folders are judged by their own status, and a symbolic link to a file by that of the file. Other
    links stay, and so do FIFOs, sockets and devices, on which other programs wait.

    :raises FileNotFoundError: if the path is gone.
    """
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        return _status_of_linked_file(entry)
    return status if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) else None


def _status_of_linked_file(link: os.DirEntry[str]) -> os.stat_result | None:
    try:
        status = link.stat()
    except OSError:  # it leads nowhere, or into a folder that we may not search
        return None
    return status if stat.S_ISREG(status.st_mode) else None


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges paths by their last access, in nanoseconds since 1970.

    A path is due if its last access is at or after ``start`` (None: no bound) and before ``end``.
    """

    start: int | None
    end: int
    judge_by: JudgeBy
    progress: Progress

    def is_due(self, accessed: int) -> bool:
        """Return whether a path with this last access is due to be deleted."""
        return accessed < self.end and (self.start is None or accessed >= self.start)

    def last_access(self, entry: os.DirEntry[str], status: os.stat_result, parent: int) -> int | None:
        """Return the last access of an entry of an open folder, or None if its folders are nested too deeply.

        If a folder is judged by its contents, the search ends at the first that is too new for any deletion.

        :param status: the one of :func:`judged_status`.
        :raises OSError: if a folder cannot be read.
        """
        if self.judge_by == JudgeBy.CONTENTS and stat.S_ISDIR(status.st_mode):
            return self._newest_access(entry, parent, 0)
        return status.st_atime_ns

    def _newest_access(self, entry: os.DirEntry[str], parent: int, depth: int) -> int | None:
        self.progress.advance(1)
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            return status.st_atime_ns
        if depth > MAX_DEPTH:
            return None
        newest = None
        with opened(entry.name, parent) as folder, os.scandir(folder) as entries:
            for below in entries:
                with suppress(FileNotFoundError, NotADirectoryError):  # it is gone
                    accessed = self._newest_access(below, folder, depth + 1)
                    if accessed is None:
                        return None
                    newest = accessed if newest is None else max(newest, accessed)
                    if newest >= self.end:
                        break
        return status.st_atime_ns if newest is None else newest
