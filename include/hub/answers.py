"""What the Hub answers, as values: whether a dataset is supported, and the pages of the listing."""

from __future__ import annotations

from dataclasses import dataclass, field

from include.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Supported:
    """The dataset is supported, at this revision (a git sha)."""

    revision: str


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The dataset is not supported, for this reason: it has to be removed.

    ``not_found`` says that the Hub does not know it at all. ``answer`` is what the Hub answered, for people:
    the status and the text, which may be cut off.
    """

    reason: str
    not_found: bool = False
    answer: str | None = field(default=None, compare=False)


Support = Supported | Unsupported


@dataclass(frozen=True, slots=True)
class ListedDataset:
    """A dataset in the Hub's listing.

    ``revision`` is None if the listing alone does not prove that the dataset is supported.
    """

    name: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class ListingPage:
    """A page of the Hub's listing. ``next_place`` leads to the next page; it is None on the last one."""

    datasets: list[ListedDataset]
    next_place: str | None


class LostPlaceError(ServiceError):
    """The Hub no longer knows a place in its listing: list it from the beginning."""
