"""Listing the Hub for a run, and when to trust a listing.

For most datasets, the listing proves that there is nothing to do. It takes one request for each thousand
datasets instead of one for each dataset.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from include.batches import Progress
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.errors import ConfigurationError
from include.hub.answers import LostPlaceError

if TYPE_CHECKING:
    from include.databases.cache_store import CacheStore
    from include.databases.listing_store import HubListing, ListingStore
    from include.hub.client import Hub

#: For how long an unfinished listing can be continued, and a trusted one used again.
CONTINUED_FOR = timedelta(hours=2)
REUSED_FOR = timedelta(hours=1)
#: Asking about this many datasets is no slower than listing a Hub that has hundreds of thousands.
FEW_DATASETS = 1_000
#: The number of cache entries in a sample: enough to tell a half from two thirds, and read in a moment.
SAMPLE_SIZE = 1_000

logger = logging.getLogger(__name__)


class UntrustedListingError(ConfigurationError):
    """A listing of the Hub cannot be trusted. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class HubLister:
    """Lists the Hub for a run.

    :param min_share: the minimum size of a listing, as a share (0 to 1) of the previous trusted listing and
        of a sample of the cached datasets. A smaller listing is not trusted.
    :param right: hears of each page.
    """

    hub: Hub
    listings: ListingStore
    cache: CacheStore
    min_share: float = 0.5
    right: RightToWrite = UNRESTRICTED

    def recent(self) -> HubListing | None:
        """Return the trusted listing of another run, if one is recent enough to be used again."""
        return self._newest(REUSED_FOR, trusted=True)

    def whole(self) -> HubListing:
        """List the whole Hub, and return the listing if it can be trusted.

        :raises ServiceError: if the Hub fails on the way; the next call continues at that page.
        :raises UntrustedListingError: if the listing is too small. It is then dropped.
        """
        self.listings.drop_old()
        return self._trusted(self._continued() or self._begun())

    def _continued(self) -> HubListing | None:
        """Finish the listing that an earlier attempt left unfinished, if there is one and the Hub lets us."""
        unfinished = self._newest(CONTINUED_FOR, trusted=False)
        if unfinished is None:
            return None
        logger.info(
            "Continuing the listing begun at %s, after %s requests.", unfinished.begun_at, unfinished.requests
        )
        try:
            return self._finished(unfinished)
        except LostPlaceError as error:
            logger.warning("%s: listing the Hub from the beginning.", error)
            self.listings.drop(unfinished)
            return None

    def _begun(self) -> HubListing:
        return self._finished(self.listings.begin(self.hub.endpoint, self.hub.release.name))

    def _finished(self, listing: HubListing) -> HubListing:
        """Read the pages that a listing lacks."""
        if listing.listed is not None:
            return listing
        progress = Progress("datasets of the Hub")
        counted = self.hub.requests
        for page in self.hub.listing(listing.place):
            listing = self.listings.add(listing, page, self.hub.requests - counted)
            counted = self.hub.requests
            self.right.progress()
            progress.advance(len(page.datasets))
        return listing

    def _trusted(self, listing: HubListing) -> HubListing:
        shortage = self._shortage_against_previous(listing) or self._shortage_against_cache(listing)
        if shortage is None:
            return self.listings.trust(listing)
        self.listings.drop(listing)
        raise UntrustedListingError(
            f"The listing of the Hub at {self.hub.endpoint} is not trusted: {shortage}. If the Hub has really"
            " shrunk, run once with a lower listing_min_share; otherwise check the Hub and the token."
        )

    def _shortage_against_previous(self, listing: HubListing) -> str | None:
        """Return in which way a listing is too small, if it is, compared with the previous trusted one.

        The previous listing may be of another release: the rules of support leave no dataset out.
        """
        of_this_hub = (known for known in self.listings.all() if known.endpoint == self.hub.endpoint)
        previous = next((known.listed or 0 for known in of_this_hub if known.trusted), 0)
        return self._shortage(listing.listed or 0, previous, "of the previous listing")

    def _shortage_against_cache(self, listing: HubListing) -> str | None:
        """Return in which way a listing is too small, if it is, compared with a sample of the cache."""
        names = self.cache.sample_names(SAMPLE_SIZE)
        found = self.listings.count_among(listing, names)
        return self._shortage(found, len(names), "in a sample of the cache")

    def _shortage(self, found: int, of: int, what: str) -> str | None:
        if found >= self.min_share * of:
            return None
        return f"it has {found:,} datasets, less than {self.min_share:.0%} of the {of:,} {what}"

    def _newest(self, max_age: timedelta, *, trusted: bool) -> HubListing | None:
        """Return the newest listing of this Hub, by the rules of this release, unless it is too old."""
        source = (self.hub.endpoint, self.hub.release.name)
        for known in self.listings.all():
            if (known.endpoint, known.release) == source and known.trusted == trusted and known.age < max_age:
                return known
        return None


def usable(listings: ListingStore, listing_id: str, max_age: timedelta) -> HubListing:
    """Return the listing of a run, for one of its shards.

    :raises UntrustedListingError: if it is gone, or older than ``max_age``.
    """
    listing = listings.get(listing_id)
    if listing is None or not listing.trusted:
        raise UntrustedListingError("The listing of the Hub is no longer there: clear the task find_work.")
    if listing.age > max_age:
        raise UntrustedListingError(
            f"The listing of the Hub, begun at {listing.begun_at:%Y-%m-%d %H:%M} UTC, is older than"
            f" listing_max_age ({max_age // timedelta(hours=1)} hours): clear the task find_work."
        )
    return listing
