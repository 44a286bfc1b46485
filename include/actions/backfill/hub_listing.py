"""Listing the Hub, and when to trust a listing.

A listing proves of most datasets that there is nothing to do for them. It takes a request for each thousand,
in place of one for each.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from include.batches import Progress
from include.databases.cache_store import CacheStore
from include.databases.listing_store import HubListing, ListingStore
from include.errors import ConfigurationError
from include.hub.client import Hub, LostPlaceError

#: For how long an attempt that was cut short is continued, and a whole listing used again.
CONTINUED_FOR = timedelta(hours=2)
REUSED_FOR = timedelta(hours=1)
#: To ask about so many datasets is no slower than to list a Hub that has hundreds of thousands.
FEW_DATASETS = 1_000
#: How many cache entries a sample has: enough to tell a half from two thirds, and read in a moment.
SAMPLE_SIZE = 1_000

logger = logging.getLogger(__name__)


class UntrustedListingError(ConfigurationError):
    """A listing of the Hub is not to be trusted. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class HubLister:
    """Lists the Hub for a run.

    :param min_share: a listing is not trusted if it has less than this part, from 0 to 1, of as many
        datasets as the last one that was trusted had, or of a sample of the cached datasets.
    """

    hub: Hub
    listings: ListingStore
    cache: CacheStore
    min_share: float = 0.5

    def recent(self) -> HubListing | None:
        """Give a trusted listing of another run, if there is one that is young enough to be used again."""
        found = (each for each in self._listings() if each.trusted and each.age < REUSED_FOR)
        return next(found, None)

    def whole(self) -> HubListing:
        """List the Hub, from the page where an attempt was cut short, if one was, and judge the listing.

        :raises ServiceError: if the Hub stops to answer on the way; the next call goes on there.
        :raises UntrustedListingError: if the listing is too small; it is then dropped.
        """
        self.listings.drop_old()
        listing = self._unfinished()
        if listing is None:
            return self._trusted(self._read(self._begin()))
        logger.info("Going on with the listing of %s, after %s requests.", listing.begun_at, listing.requests)
        try:
            return self._trusted(self._read(listing))
        except LostPlaceError as error:
            logger.warning("%s: it is listed from the beginning.", error)
            self.listings.drop(listing)
            return self._trusted(self._read(self._begin()))

    def _unfinished(self) -> HubListing | None:
        found = (each for each in self._listings() if not each.trusted and each.age < CONTINUED_FOR)
        return next(found, None)

    def _trusted(self, listing: HubListing) -> HubListing:
        if reason := self._reason_against(listing):
            self.listings.drop(listing)
            raise UntrustedListingError(
                f"The listing of the Hub at {self.hub.endpoint} is not trusted: {reason}. If it is right, run"
                " once with a lower listing_min_share; else see what is wrong with the Hub or the token."
            )
        return self.listings.trust(listing)

    def _listings(self) -> list[HubListing]:
        mine = (self.hub.endpoint, self.hub.release.name)
        return [each for each in self.listings.all() if (each.endpoint, each.release) == mine]

    def _begin(self) -> HubListing:
        return self.listings.begin(self.hub.endpoint, self.hub.release.name)

    def _read(self, listing: HubListing) -> HubListing:
        if listing.listed is not None:
            return listing
        progress = Progress("datasets of the Hub")
        counted = self.hub.requests
        for page in self.hub.listing(listing.place):
            listing = self.listings.add(listing, page, self.hub.requests - counted)
            counted = self.hub.requests
            progress.advance(len(page.datasets))
        return listing

    def _reason_against(self, listing: HubListing) -> str | None:
        least = f"less than {self.min_share:.0%} of"
        listed, listed_last = listing.listed or 0, self._listed_last()
        if listed < self.min_share * listed_last:
            return f"it has {listed:,} datasets, {least} the {listed_last:,} that the last one had"
        names = self.cache.sample_names(SAMPLE_SIZE)
        found = self.listings.count_among(listing, names)
        if found < self.min_share * len(names):
            return f"it has {found:,} datasets, {least} the {len(names):,} in a sample of the cache"
        return None

    def _listed_last(self) -> int:
        """Give the number of datasets in the last listing of this Hub that was trusted."""
        of_this_hub = (known for known in self.listings.all() if known.endpoint == self.hub.endpoint)
        return next((known.listed or 0 for known in of_this_hub if known.trusted), 0)


def usable(listings: ListingStore, listing_id: str, max_age: timedelta) -> HubListing:
    """Give the listing of a run, as a shard may use it.

    :raises UntrustedListingError: if it is no longer there, or older than ``max_age``.
    """
    listing = listings.get(listing_id)
    if listing is None or not listing.trusted:
        raise UntrustedListingError("The listing of the Hub is no longer there: clear the task list_hub.")
    if listing.age > max_age:
        raise UntrustedListingError(
            f"The listing of the Hub, of {listing.begun_at:%Y-%m-%d %H:%M} UTC, is older than listing_max_age"
            f" ({max_age // timedelta(hours=1)} hours): clear the task list_hub."
        )
    return listing
