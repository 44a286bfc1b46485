"""How an artifact is named in one line of text, which a person pastes into a form."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

from include.errors import ConfigurationError
from include.planning.plan import ArtifactKey

_EXAMPLE = '["org/name", "split-first-rows", "config", "split"]'
_SHOWN_CHARACTERS = 100


class ArtifactName(NamedTuple):
    """The name of an artifact, with its dataset.

    Its text is a JSON array, because each part may hold any character. It is in ASCII, so that a person who
    copies it loses nothing. It ends where the rest is null.
    """

    dataset: str
    step: str
    config: str | None = None
    split: str | None = None

    def __str__(self) -> str:
        parts = list(self)
        while parts[-1] is None:
            parts.pop()
        return json.dumps(parts)

    @classmethod
    def parse(cls, text: str) -> ArtifactName:
        """Return the name that a text stands for.

        :raises ConfigurationError: if it stands for none.
        """
        try:
            parts = json.loads(text)
            json.dumps(parts, ensure_ascii=False).encode()  # JSON may hold halves of characters.
        except (ValueError, RecursionError):
            parts = None
        if not _are_parts(parts):
            raise ConfigurationError(
                f"{text[:_SHOWN_CHARACTERS]!r} names no artifact. Write a JSON array of its dataset, step,"
                f" config and split, such as {_EXAMPLE}. Leave out what it does not have."
            )
        return cls(*parts)


def by_dataset(names: Iterable[ArtifactName]) -> Mapping[str, Set[ArtifactKey]]:
    """Return the artifacts of each dataset. The datasets are in the order of their first names."""
    artifacts: dict[str, set[ArtifactKey]] = defaultdict(set)
    for name in names:
        artifacts[name.dataset].add((name.step, name.config, name.split))
    return dict(artifacts)


def _are_parts(parts: object) -> bool:
    if not isinstance(parts, list) or not 2 <= len(parts) <= len(ArtifactName._fields):
        return False
    dataset, step, *place = parts
    return (
        isinstance(dataset, str)
        and isinstance(step, str)
        and all(part is None or isinstance(part, str) for part in place)
    )
