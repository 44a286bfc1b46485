"""The rights on a service, tested without leaving a trace."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Rights:
    """The collections, folders or prefixes that cannot be read, and those that cannot be written."""

    unreadable: tuple[str, ...] = ()
    unwritable: tuple[str, ...] = ()


def folder_rights(folder: Path) -> Rights:
    """Try to list a folder, and to create a file without a name in it."""
    here = (str(folder),)
    return Rights(() if _may_list(folder) else here, () if _may_write(folder) else here)


def _may_list(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except OSError:
        return False
    return True


def _may_write(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
