"""Which of the cached datasets a run is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Selection:
    """Which cached datasets a run is about: those that meet every given condition.

    ``names`` are names or shell wildcards (``org/*``; a star matches a slash too); without any, every name is
    selected. The other conditions select the datasets with an entry that meets them all: it was updated from
    ``updated_from`` (inclusive) to ``updated_to`` (exclusive), in UTC, and has one of the ``error_codes``.
    """

    names: tuple[str, ...] = ()
    updated_from: datetime | None = None
    updated_to: datetime | None = None
    error_codes: tuple[str, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether every cached dataset is selected."""
        return self == Selection()

    def has_name(self, dataset: str) -> bool:
        """Return whether the name of a dataset is selected."""
        return not self.names or any(fnmatchcase(dataset, name) for name in self.names)


def has_wildcard(name: str) -> bool:
    """Return whether the name in a selection is a shell wildcard."""
    return any(character in name for character in "*?[")
