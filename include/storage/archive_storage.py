"""Where archives are stored: files that are written once, as a stream, and are complete or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Protocol

from include.rights import Rights


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a storage: its path below the root, with slashes, and its size in bytes."""

    path: str
    size: int


class Target(Protocol):
    """What a new file is written to."""

    def write(self, data: bytes, /) -> int:
        """Write all of the data, and return the number of its bytes."""


class ArchiveStorage(Protocol):
    """A storage of archives, in a folder or in a bucket of S3.

    Each method can raise ServiceError, if the storage cannot be reached, and ConfigurationError, if it does
    not exist or denies access.
    """

    def create(self, path: str) -> AbstractContextManager[Target]:
        """Write a new file, which exists once the context ends without an error, and then lasts.

        Of a file that is not written to its end, a reader finds nothing.

        :raises DatasetError: if there is no room for the file.
        """

    def open(self, path: str) -> AbstractContextManager[IO[bytes]]:
        """Read a file as a stream.

        :raises DatasetError: if it does not exist.
        """

    def folders(self) -> list[str]:
        """Return the names of the folders in the root."""

    def files(self, folder: str) -> Iterator[StoredFile]:
        """Yield the files below a folder of the root, in any order, also those that are not complete."""

    def remove(self, folder: str) -> None:
        """Remove a folder of the root with all below it."""

    def rights(self) -> Rights:
        """Try to list files, and to write or remove one that nobody uses."""
