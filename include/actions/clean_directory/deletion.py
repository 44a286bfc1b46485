"""The deletion of a path and everything below it, without following a symbolic link."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from include.actions.clean_directory.folders import MAX_DEPTH, TOO_DEEP, opened, removed
from include.actions.clean_directory.report import CleaningSummary
from include.batches import Progress
from include.summaries import add_to_sample

#: How often a folder is emptied before it is left, because other programs keep filling it.
ATTEMPTS_TO_EMPTY = 3


@dataclass(frozen=True, slots=True)
class Deletion:
    """Deletes paths, or in a dry run counts them.

    It deletes each entry of a folder before it reads the next one, so a folder is never in memory as a whole.
    It counts what it deletes and what it cannot delete in ``summary``.
    """

    summary: CleaningSummary
    progress: Progress
    dry_run: bool

    def delete(self, entry: os.DirEntry[str], path: str, parent: int, depth: int = 0) -> bool:
        """Delete an entry of a folder, and return whether it is gone.

        :param path: the absolute path of the entry, for people.
        :param parent: the file descriptor of the folder.
        :param depth: how many folders lie between the entry and the path that matches.
        """
        try:
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                self._delete_file(entry.name, parent, status)
            elif not self._delete_folder(entry.name, path, parent, status, depth):
                return False
        except (FileNotFoundError, NotADirectoryError):
            pass  # it is already gone, or something else has taken its place
        except OSError as error:
            self.count_failure(path, error.strerror)
            return False
        self.progress.advance(1)
        return True

    def count_failure(self, path: str, reason: str | None) -> None:
        """Count a path that is left because something went wrong."""
        self.summary.failed += 1
        add_to_sample(self.summary.error_sample, repr(path), reason)

    def _delete_file(self, name: str, parent: int, status: os.stat_result) -> None:
        if not self.dry_run:
            os.unlink(name, dir_fd=parent)
        self.summary.files += 1
        if status.st_nlink == 1:
            self.summary.bytes_freed += status.st_size

    def _delete_folder(self, name: str, path: str, parent: int, judged: os.stat_result, depth: int) -> bool:
        reason = _reason_to_leave(judged, parent, depth)
        if reason is None:
            with opened(name, parent) as folder:
                if not os.path.samestat(judged, os.fstat(folder)):
                    return True  # the judged folder is gone, and another has taken its place
                for _ in range(ATTEMPTS_TO_EMPTY):
                    if not self._empty(folder, path, depth):
                        return False
                    if self.dry_run or removed(name, parent):
                        self.summary.folders += 1
                        return True
            reason = "other programs keep filling the folder"
        self.count_failure(path, reason)
        return False

    def _empty(self, folder: int, path: str, depth: int) -> bool:
        emptied = True
        with os.scandir(folder) as entries:
            for entry in entries:
                emptied &= self.delete(entry, f"{path}/{entry.name}", folder, depth + 1)
        return emptied


def _reason_to_leave(folder: os.stat_result, parent: int, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return TOO_DEEP
    if folder.st_dev != os.fstat(parent).st_dev:
        return "another file system is mounted there"
    return None
