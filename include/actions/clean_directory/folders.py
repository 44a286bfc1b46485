"""Folders that are held open, so no symbolic link can redirect an operation in them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

#: Folders nested more deeply below a match stay, because each level needs two open files.
MAX_DEPTH = 200
TOO_DEEP = f"folders are nested more than {MAX_DEPTH} deep"

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Opening an entry needs the right to search its folder; listing the folder needs the right to read it too.
_TO_SEARCH = _FOLDER | os.O_PATH
_TO_LIST = _FOLDER | os.O_RDONLY


@contextmanager
def opened_directory(path: str, *, create: bool) -> Iterator[int]:
    """Open a directory by its resolved path, folder after folder, and yield its file descriptor.

    This fails if a folder on the way has become a symbolic link since the path was resolved.

    :param path: absolute, with no symbolic link in it.
    :param create: create the folders that are missing.
    :raises OSError: if one of the folders is a symbolic link (``ENOTDIR``), or cannot be opened or created.
    """
    *above, directory = path.strip("/").split("/")
    with ExitStack() as stack:
        parent = os.open("/", _TO_SEARCH)
        stack.callback(os.close, parent)
        for name in above:
            if create:
                _create_missing(name, parent)
            parent = os.open(name, _TO_SEARCH, dir_fd=parent)
            stack.callback(os.close, parent)
        if create:
            _create_missing(directory, parent)
        yield stack.enter_context(opened(directory, parent))


def _create_missing(name: str, parent: int) -> None:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        with suppress(FileExistsError):  # another program is creating it, too
            os.mkdir(name, dir_fd=parent)


@contextmanager
def opened(name: str, parent: int) -> Iterator[int]:
    """Open a folder, named relative to an open one, and yield its file descriptor.

    :raises OSError: if it is a symbolic link (``ENOTDIR``), or cannot be opened.
    """
    folder = _open(name, parent)
    try:
        yield folder
    finally:
        os.close(folder)


def _open(name: str, parent: int) -> int:
    try:
        # Looking into a folder must not renew it. Only its owner and root can use this flag.
        return os.open(name, _TO_LIST | os.O_NOATIME, dir_fd=parent)
    except PermissionError:
        return os.open(name, _TO_LIST, dir_fd=parent)


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
