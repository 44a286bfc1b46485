"""The rule of a cleaning: which paths below a directory expire, and when."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum

from include.actions.clean_directory.protection import refuse_harmful
from include.errors import ConfigurationError

DEFAULT_PATTERN = "*/datasets/*"
DEFAULT_EXPIRY_SECONDS = 10_800


class JudgeBy(StrEnum):
    """Which last access counts for a folder: its own, or the newest among its contents.

    With ``contents``, listing a folder does not renew it: only an empty folder counts itself.
    """

    PATH = "path"
    CONTENTS = "contents"


@dataclass(frozen=True, slots=True)
class DirectoryCleaning:
    """Which paths below a directory are deleted, and when.

    ``pattern`` has a shell wildcard for each level below the directory (``*/datasets/*``). As in a shell,
    ``*`` matches neither a slash nor a leading dot.

    :raises ConfigurationError: for an invalid value, or a directory whose loss would do harm.
    """

    name: str
    directory: str
    pattern: str = DEFAULT_PATTERN
    expired_time_interval_seconds: int = DEFAULT_EXPIRY_SECONDS
    judge_by: str = JudgeBy.PATH.value

    def __post_init__(self) -> None:
        _check_text("name", self.name)
        _check_text("directory", self.directory)
        _check_text("pattern", self.pattern)
        if type(self.expired_time_interval_seconds) is not int or self.expired_time_interval_seconds < 0:
            raise ConfigurationError(
                "expired_time_interval_seconds must be a whole number of 0 or more,"
                f" not {self.expired_time_interval_seconds!r}."
            )
        if self.judge_by not in list(JudgeBy):
            raise ConfigurationError(f"judge_by must be {' or '.join(JudgeBy)}, not {self.judge_by!r}.")
        if {"", ".", ".."}.intersection(self.pattern.split("/")):
            raise ConfigurationError(
                "pattern must be relative to the directory and have no empty part, no . and no ..,"
                f" not {self.pattern!r}."
            )
        if not self.directory.startswith("/"):
            raise ConfigurationError(f"directory must be absolute, not {self.directory!r}.")
        refuse_harmful(self.directory, os.path.normpath(self.directory))

    def real_directory(self) -> str:
        """Resolve the symbolic links in the path of the directory.

        :raises ConfigurationError: if they lead to a directory whose loss would do harm.
        """
        real = os.path.realpath(self.directory)
        refuse_harmful(self.directory, real)
        return real


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ConfigurationError(f"{name} must be a text that is not empty, not {value!r}.")


_FIELDS = {field.name for field in fields(DirectoryCleaning)}
_REQUIRED = {field.name for field in fields(DirectoryCleaning) if field.default is MISSING}
_EXAMPLE = json.dumps([{"name": "stats-cache", "directory": "/storage/stats-cache", "pattern": "*"}])


def parse_cleanings(text: str) -> tuple[DirectoryCleaning, ...]:
    """Read a JSON list of cleanings, each an object with the fields of :class:`DirectoryCleaning`.

    A field with a default is optional.

    :raises ConfigurationError: which says what is wrong, and in which entry.
    """
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"It may hold a JSON list, such as {_EXAMPLE}, but: {error}.") from error
    if not isinstance(entries, list):
        raise ConfigurationError(f"It may hold a JSON list, such as {_EXAMPLE}.")
    cleanings = tuple(_parse_cleaning(number, entry) for number, entry in enumerate(entries, start=1))
    counts = Counter(cleaning.name for cleaning in cleanings)
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise ConfigurationError(f"Each entry must have another name, but several have {_listed(repeated)}.")
    return cleanings


def parse_roots(text: str) -> tuple[str, ...]:
    """Read a JSON list of absolute paths: the folders that may be cleaned, with all below them.

    :raises ConfigurationError: which says what is valid.
    """
    example = json.dumps(["/storage"])
    try:
        roots = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"It may hold a JSON list, such as {example}, but: {error}.") from error
    if not isinstance(roots, list) or not all(str(root).startswith("/") for root in roots):
        raise ConfigurationError(f"It may hold a JSON list of absolute paths, such as {example}.")
    return tuple(roots)


def _parse_cleaning(number: int, entry: object) -> DirectoryCleaning:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"Entry {number} must be an object, not {entry!r}.")
    if missing := _REQUIRED - entry.keys():
        raise ConfigurationError(f"Entry {number} lacks {_listed(missing)}.")
    if unknown := entry.keys() - _FIELDS:
        raise ConfigurationError(
            f"Entry {number} has an unknown field: {_listed(unknown)}. Valid fields are {_listed(_FIELDS)}."
        )
    try:
        return DirectoryCleaning(**entry)
    except ConfigurationError as error:
        raise ConfigurationError(f"Entry {number}: {error}") from error


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
