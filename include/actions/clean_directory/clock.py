"""The clock of a file system, which stamps the last accesses."""

from __future__ import annotations

import os
import secrets

_NEW_FILE = os.O_WRONLY | os.O_CLOEXEC
_OWNER_ALONE = 0o600


def file_system_time(folder: int) -> int:
    """Return the time of the file system of an open folder, in nanoseconds since 1970.

    It is the time of a file that was just created there. On a network file system, it is the time of the
    server instead of this machine's.

    :raises OSError: if no file can be created in the folder.
    """
    try:
        file = os.open(".", _NEW_FILE | os.O_TMPFILE, _OWNER_ALONE, dir_fd=folder)
    except OSError:  # some file systems, such as NFS, have no file without a name
        return _time_of_named_file(folder)
    return _creation_time(file)


def _time_of_named_file(folder: int) -> int:
    name = f".{secrets.token_hex(16)}"
    file = os.open(name, _NEW_FILE | os.O_CREAT | os.O_EXCL, _OWNER_ALONE, dir_fd=folder)
    try:
        return _creation_time(file)
    finally:
        os.unlink(name, dir_fd=folder)


def _creation_time(file: int) -> int:
    try:
        return os.fstat(file).st_ctime_ns
    finally:
        os.close(file)
