"""Archives in a folder."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from include.errors import ConfigurationError, DatasetError, ServiceError
from include.rights import Rights, folder_rights
from include.storage.archive_storage import StoredFile, Target

#: Of a file that is still being written. A process that is killed leaves it behind, with this ending.
INCOMPLETE = ".incomplete"

#: A smaller archive, or one of another dataset, may still be written.
_ERRORS_OF_A_DATASET = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENAMETOOLONG})
_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR})


@dataclass(frozen=True, slots=True)
class FolderArchive:
    """Archives in a folder that the workers have mounted.

    The folder is created if the one that it is in exists: if that is missing too, it is not mounted, and what
    is written there would vanish with the worker.
    """

    root: Path

    @contextmanager
    def create(self, path: str) -> Iterator[Target]:
        """Write a file, as :meth:`ArchiveStorage.create` says: under another name until it is complete."""
        file = self.root / path
        incomplete = file.with_name(file.name + INCOMPLETE)
        with self._explained_errors(f"write {file}"):
            self.root.mkdir(exist_ok=True)
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                # The contents of private datasets are nobody else's business.
                with open(incomplete, "xb", opener=_only_for_this_user) as target:
                    yield target
                    target.flush()
                    os.fsync(target.fileno())
                incomplete.rename(file)
                self._sync_folders_of(file)
            except BaseException:
                incomplete.unlink(missing_ok=True)
                raise

    def _sync_folders_of(self, file: Path) -> None:
        """Let the names of a file and of its folders outlast a loss of power."""
        for folder in file.parents:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if folder == self.root:
                return

    @contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        """Read a file, as :meth:`ArchiveStorage.open` says."""
        file = self.root / path
        with self._explained_errors(f"read {file}"):
            try:
                source = file.open("rb")
            except FileNotFoundError as error:
                raise DatasetError(f"its archive {file} does not exist") from error
            with source:
                yield source

    def folders(self) -> list[str]:
        """Return the names of the folders, as :meth:`ArchiveStorage.folders` says."""
        with self._explained_errors(f"list {self.root}"):
            if not self.root.exists() and self.root.parent.exists():
                return []
            return [path.name for path in self.root.iterdir() if path.is_dir()]

    def files(self, folder: str) -> Iterator[StoredFile]:
        """Yield the files, as :meth:`ArchiveStorage.files` says."""
        with self._explained_errors(f"list {self.root / folder}"):
            for parent, _, names in os.walk(self.root / folder):
                for name in names:
                    file = Path(parent, name)
                    try:
                        size = file.stat().st_size
                    except FileNotFoundError:  # It has become complete, or was removed.
                        continue
                    yield StoredFile(file.relative_to(self.root).as_posix(), size)

    def remove(self, folder: str) -> None:
        """Remove a folder, as :meth:`ArchiveStorage.remove` says."""
        # A file that is not found is one that another task has removed, which also removes the others.
        with self._explained_errors(f"remove {self.root / folder}"), suppress(FileNotFoundError):
            shutil.rmtree(self.root / folder)

    def rights(self) -> Rights:
        """Try the folder, as :meth:`ArchiveStorage.rights` says, or the one in which it will be created."""
        place = self.root if self.root.exists() else self.root.parent
        if not place.is_dir():
            raise ConfigurationError(f"There is no folder {place}: mount it where the workers run.")
        return folder_rights(place)

    @contextmanager
    def _explained_errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _ERRORS_OF_A_DATASET:
                raise DatasetError(f"it was not possible to {action}: {error}") from error
            if error.errno in _REFUSALS:
                raise ConfigurationError(
                    f"The folder of the archive does not let this task {action}: {error}. Mount"
                    f" {self.root.parent} where the workers run, with the right to write."
                ) from error
            raise ServiceError(f"The folder of the archive fails to {action}: {error}") from error


def _only_for_this_user(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
