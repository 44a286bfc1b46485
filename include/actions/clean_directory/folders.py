"""Folders that are held open, so that no symbolic link can lead what is done in them elsewhere."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

#: A folder that lies more than this many folders below a match is left: each level holds two files open.
MAX_DEPTH = 200
TOO_DEEP = f"folders are nested more than {MAX_DEPTH} deep"

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened(name: str, parent: int | None = None) -> Iterator[int]:
    """Open a folder, named relative to an open one, and yield its file descriptor.

    :raises OSError: if it is a symbolic link (``ENOTDIR``), or cannot be opened.
    """
    folder = _open(name, parent)
    try:
        yield folder
    finally:
        os.close(folder)


def _open(name: str, parent: int | None) -> int:
    try:
        # Looking into a folder must not renew it. Only its owner and root may ask for that.
        return os.open(name, _FLAGS | os.O_NOATIME, dir_fd=parent)
    except PermissionError:
        return os.open(name, _FLAGS, dir_fd=parent)


def removed(name: str, parent: int) -> bool:
    """Remove a folder if it is empty, and return whether it was.

    :raises OSError: if it cannot be removed for another reason.
    """
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True
