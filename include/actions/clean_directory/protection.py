"""The directories that must not be cleaned: system folders, homes, protected ones, and those of others."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Sequence

from include.errors import ConfigurationError

#: Neither these folders nor anything below them is cleaned.
_SYSTEM_TREES = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin"),
    *("/sys", "/usr", "/var/lib", "/var/log", "/var/mail", "/var/run", "/var/spool"),
)
#: The minimum number of parts in the path of a directory, in general and below folders of users and services.
_FEWEST_PARTS = 2
_FEWEST_PARTS_WITH_OWNER = 3
_TREES_WITH_OWNERS = frozenset({"home", "opt", "var"})

_ROOT = 0  # the user


def refuse_harmful(given: str, directory: str) -> None:
    """Refuse a directory whose loss would do harm.

    :param given: the directory as it was configured.
    :param directory: the same directory, normalized or resolved.
    :raises ConfigurationError: with the reason.
    """
    _refuse(given, directory, _harm(directory))


def check_allowed(directory: str, roots: Sequence[str], protected: Iterable[str]) -> None:
    """Refuse a directory that is in no allowed root, touches a protected path, or belongs to another user.

    Symbolic links are resolved in all paths. The directory need not exist.

    The user who runs the task must own the directory, or be in its group, which may write to it: this is how
    Kubernetes shares a volume. Root may own it too, because root decides what others can delete there. If
    root runs the task, any user may own it: root does not own the folders of the workers, so only ``roots``
    limits what is cleaned.

    :param directory: absolute.
    :param roots: the absolute paths of folders that may be cleaned, with all below them.
    :param protected: the absolute paths that must be kept, with everything below them and the folders above.
    :raises ConfigurationError: with the reason, or for a path that is not absolute.
    """
    real = _resolved(directory)
    reason = _is_outside(real, roots) or _is_protected(real, protected) or _belongs_to_another(real)
    _refuse(directory, real, reason)


def _refuse(given: str, directory: str, reason: str | None) -> None:
    if reason is not None:
        resolved = "" if directory == given else f", which is {directory!r},"
        raise ConfigurationError(
            f"directory {given!r}{resolved} is not cleaned: {reason}."
            " Name one that holds only temporary files."
        )


def _harm(directory: str) -> str | None:
    directory = "/" + directory.lstrip("/")  # normpath keeps two slashes at the start
    parts = directory.strip("/").split("/")
    fewest = _FEWEST_PARTS_WITH_OWNER if parts[0] in _TREES_WITH_OWNERS else _FEWEST_PARTS
    if any(_is_in(directory, tree) for tree in _SYSTEM_TREES):
        return "it belongs to the system"
    if len(parts) < fewest:
        return f"its path has fewer than {fewest} parts, so other programs may need it"
    if any(_is_in(os.path.normpath(user.pw_dir), directory) for user in pwd.getpwall()):
        return "it is or contains the home of a user"
    return None


def _is_outside(directory: str, roots: Sequence[str]) -> str | None:
    if any(_is_in(directory, _resolved(root)) for root in roots):
        return None
    allowed = ", ".join(map(repr, roots)) or "none"
    return f"it is in none of the allowed directories ({allowed})"


def _is_protected(directory: str, protected: Iterable[str]) -> str | None:
    for path in protected:
        real = _resolved(path)
        if _is_in(directory, real):
            return f"it lies in {path!r}, which is protected"
        if _is_in(real, directory):
            return f"it contains {path!r}, which is protected"
    return None


def _belongs_to_another(directory: str) -> str | None:
    try:
        status = os.stat(directory)  # noqa: PTH116 - paths are strings here
    except OSError:
        return None  # the task creates it, or fails to open it and says why
    user = os.geteuid()
    shared = status.st_mode & stat.S_IWGRP and status.st_gid in {os.getegid(), *os.getgroups()}
    if shared or user == _ROOT or status.st_uid in {user, _ROOT}:
        return None
    return f"it belongs to the user {status.st_uid}, who does not share it with the user {user} of this task"


def _resolved(path: str) -> str:
    if not path.startswith("/"):
        raise ConfigurationError(f"The path of a directory must be absolute, not {path!r}.")
    return os.path.realpath(path)


def _is_in(path: str, tree: str) -> bool:
    return path == tree or path.startswith(f"{tree.rstrip('/')}/")
