"""The block list: datasets that are not supported, whatever the Hub says about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from include.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class BlockList:
    """Blocked datasets: names, or ``namespace/pattern``, with shell wildcards.

    ``*`` is allowed only after the slash.
    """

    patterns: tuple[str, ...] = ()

    @classmethod
    def parse(cls, patterns: Iterable[str]) -> BlockList:
        """Return the block list of some patterns, without the spaces around them.

        :raises ConfigurationError: for a ``*`` in the namespace, a second slash, or an empty pattern.
        """
        checked = tuple(pattern.strip() for pattern in patterns)
        for pattern in checked:
            if not pattern or "*" in pattern.split("/")[0] or pattern.count("/") > 1:
                raise ConfigurationError(
                    f"The block list holds {pattern!r}: write a name or namespace/pattern. The wildcard * is"
                    " allowed only after the slash."
                )
        return cls(checked)

    def blocks(self, dataset: str) -> bool:
        """Return whether a dataset is on the list."""
        return any(fnmatchcase(dataset, pattern) for pattern in self.patterns)
