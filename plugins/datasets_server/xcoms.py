"""What the tasks of a backfill pass to each other through XCom, as JSON objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from include.databases.name_ranges import NameRange

if TYPE_CHECKING:
    from include.databases.listing_store import HubListing


@dataclass(frozen=True, slots=True)
class ListingReference:
    """The listing of the Hub that a run uses.

    :param id: the listing in our own database; None if the run asks the Hub about each dataset.
    :param listed: the number of datasets in the listing; None if there is no listing.
    :param requests: the number of requests to the Hub until now.
    :param warnings: what a person should know about the listing.
    """

    id: str | None
    listed: int | None
    requests: int
    warnings: tuple[str, ...] = ()

    @classmethod
    def to(cls, listing: HubListing | None, requests: int, warnings: Sequence[str] = ()) -> Self:
        """Return the reference to a listing, or to none."""
        listing_id, listed = (listing.id, listing.listed) if listing else (None, None)
        return cls(listing_id, listed, requests, tuple(warnings))

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read what :meth:`as_json` returned."""
        return cls(**{**fields, "warnings": tuple(fields["warnings"])})

    def as_json(self) -> dict[str, Any]:
        """Return the fields as an object that JSON can hold."""
        return {**asdict(self), "warnings": list(self.warnings)}


@dataclass(frozen=True, slots=True)
class Shard:
    """The datasets that one mapped task works on.

    :param first: the first name; None for no bound.
    :param end: the name after the last one; None for no bound.
    :param selected: take only the names that the run has stored, not all cached datasets.
    :param read_everything: read what has not changed too.
    """

    first: str | None
    end: str | None
    selected: bool
    read_everything: bool

    @property
    def names(self) -> NameRange:
        """The range of names."""
        return self.first, self.end

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read what :meth:`as_json` returned."""
        return cls(**fields)

    def as_json(self) -> dict[str, Any]:
        """Return the fields as an object that JSON can hold."""
        return asdict(self)
