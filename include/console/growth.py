"""How much the errors have grown since yesterday, by code and by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from include.databases.cache_reader import EntryTotal
from include.databases.own_reader import Counted, OwnReader

#: Growth is told from the counts as they were so long ago, ...
BEFORE = timedelta(days=1)
#: ... or, if there are none, from older ones, but not from older than these.
LONGEST_BEFORE = timedelta(days=2)


#: Growth stands out by so many errors, if they are such a share of those of yesterday.
_LEAST_ADDED = 10
_LEAST_SHARE_ADDED = 0.1


@dataclass(frozen=True, slots=True)
class Growth:
    """How many errors have a code (None: no code) or are of a step, now and yesterday.

    :param before: None if it is not known.
    """

    name: str | None
    now: int
    before: int | None

    @property
    def added(self) -> int:
        """How many there are more than yesterday; 0 if that is not known."""
        return 0 if self.before is None else self.now - self.before

    @property
    def share(self) -> float | None:
        """How many there are more, as a share of those of yesterday; None if there were none."""
        return self.added / self.before if self.before else None

    @property
    def stands_out(self) -> bool:
        """Whether there are many more than yesterday."""
        return self.added >= max(_LEAST_ADDED, _LEAST_SHARE_ADDED * (self.before or 0))


@dataclass(frozen=True, slots=True)
class ErrorGrowth:
    """The growth of the errors by code and by step, the largest first.

    :param since: the time of the counts before (UTC); None if there are none: then nothing is known.
    """

    since: datetime | None
    codes: tuple[Growth, ...]
    steps: tuple[Growth, ...]


def read_growth(totals: Sequence[EntryTotal], own: OwnReader, now: datetime) -> ErrorGrowth:
    """Compare the present counts with those in the history."""
    before = own.errors_before(now - BEFORE, oldest=now - LONGEST_BEFORE)
    errors = [total for total in totals if total.is_error]
    return ErrorGrowth(
        since=before.at if before else None,
        codes=_growth(errors, lambda total: total.error_code, _by_part(before, 1)),
        steps=_growth(errors, lambda total: total.kind, _by_part(before, 0)),
    )


def _by_part(before: Counted | None, part: int) -> Mapping[str | None, int] | None:
    if before is None:
        return None
    counts: Counter[str | None] = Counter()
    for group, count in before.by_group.items():
        counts[group[part]] += count  # type: ignore[index] # kinds and codes are texts
    return counts


def _growth(
    errors: Sequence[EntryTotal],
    name_of: Callable[[EntryTotal], str | None],
    before: Mapping[str | None, int] | None,
) -> tuple[Growth, ...]:
    now: Counter[str | None] = Counter()
    for total in errors:
        now[name_of(total)] += total.total
    names = now.keys() | (before or {}).keys()
    found = [Growth(name, now[name], None if before is None else before.get(name, 0)) for name in names]
    return tuple(sorted(found, key=lambda growth: (-growth.added, -growth.now, growth.name or "")))
