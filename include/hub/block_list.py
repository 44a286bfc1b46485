"""The block list: datasets that are not supported, whatever the Hub says about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from include.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class BlockList:
    """Blocked datasets: names, or ``namespace/pattern`` with shell wildcards."""

    patterns: tuple[str, ...] = ()

    @classmethod
    def parse(cls, patterns: Iterable[str]) -> BlockList:
        """Return the block list of some patterns, without the spaces around them.

        :raises ConfigurationError: for a wildcard before the slash, a second slash, or an empty part.
        """
        checked = tuple(pattern.strip() for pattern in patterns)
        for pattern in checked:
            namespace, *rest = pattern.split("/")
            if len(rest) > 1 or "" in (namespace, *rest) or any(sign in namespace for sign in "*?["):
                raise ConfigurationError(
                    f"The block list holds {pattern!r}: write a name, or namespace/pattern with"
                    " wildcards (*, ?, [...]) after the slash only."
                )
        return cls(checked)

    def blocks(self, dataset: str) -> bool:
        """Return whether a dataset is on the list."""
        return any(fnmatchcase(dataset, pattern) for pattern in self.patterns)
