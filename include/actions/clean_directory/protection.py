"""The directories that are never cleaned, whoever asks for it."""

from __future__ import annotations

import os
import pwd

from include.errors import ConfigurationError

#: Neither these folders nor anything below them is cleaned.
_SYSTEM_TREES = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin"),
    *("/sys", "/usr", "/var/lib", "/var/log", "/var/mail", "/var/run", "/var/spool"),
)
#: The fewest parts that the path of a directory has, and those below folders of users and services.
_FEWEST_PARTS = 2
_FEWEST_PARTS_WITH_OWNER = 3
_TREES_WITH_OWNERS = frozenset({"home", "opt", "var"})


def refuse_harmful(given: str, directory: str) -> None:
    """Refuse a directory whose loss would do harm.

    :param given: the directory as it was configured.
    :param directory: the same directory, normalized or resolved.
    :raises ConfigurationError: with the reason.
    """
    reason = _harm(directory)
    if reason is not None:
        resolved = "" if directory == given else f", which is {directory!r},"
        raise ConfigurationError(
            f"directory {given!r}{resolved} is not cleaned: {reason}."
            " Name one that holds only temporary files."
        )


def _harm(directory: str) -> str | None:
    """Return why the loss of a directory would do harm, or None."""
    directory = "/" + directory.lstrip("/")  # normpath keeps two slashes at the start
    parts = directory.strip("/").split("/")
    fewest = _FEWEST_PARTS_WITH_OWNER if parts[0] in _TREES_WITH_OWNERS else _FEWEST_PARTS
    if any(is_in(directory, tree) for tree in _SYSTEM_TREES):
        return "it belongs to the system"
    if len(parts) < fewest:
        return f"its path has fewer than {fewest} parts, so other programs may need it"
    if any(is_in(os.path.normpath(user.pw_dir), directory) for user in pwd.getpwall()):
        return "it is or contains the home of a user"
    return None


def is_in(path: str, tree: str) -> bool:
    """Return whether a normalized path is a folder or lies below it."""
    return path == tree or path.startswith(f"{tree}/")
