"""The Hub's listings in our own database, each in a collection of its own, which also describes it.

So a shard that reads the listing of its run never meets a half or another one, whatever other runs do
meanwhile; and a listing that is dropped is gone with all that was known of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import uuid4

from pymongo import ReplaceOne, ReturnDocument
from pymongo.database import Database

from include.errors import ServiceError
from include.hub.answers import ListedDataset, ListingPage

Document = dict[str, Any]

#: No run trusts a listing for longer.
KEPT_FOR = timedelta(days=1)

_PREFIX = "hubListing."
#: The document that describes the listing; the others have the name of a dataset in this place.
ABOUT = {"_id": 0}


@dataclass(frozen=True, slots=True)
class HubListing:
    """A listing of the Hub, as it is written down.

    :param id: its collection.
    :param endpoint: the Hub's address.
    :param release: the release of datasets-server by whose rules it proves revisions.
    :param begun_at: when its first page was asked for (UTC): it is as old as that.
    :param place: where to go on, if it is not complete; None is the beginning.
    :param requests: how many it took so far.
    :param listed: the number of its datasets, once it is complete.
    :param trusted: whether a run has found it worthy of trust.
    """

    id: str
    endpoint: str
    release: str
    begun_at: datetime
    place: str | None = None
    requests: int = 0
    listed: int | None = None
    trusted: bool = False

    @property
    def age(self) -> timedelta:
        """How old it is."""
        return datetime.now(UTC) - self.begun_at

    @classmethod
    def of(cls, collection: str, about: Document) -> Self:
        """Read it from the document that describes it."""
        fields = {**about, "id": collection, "begun_at": about["begun_at"].replace(tzinfo=UTC)}
        del fields["_id"]
        return cls(**fields)


class ListingStore:
    """Keeps the listings of the Hub.

    Two tasks may go on with the same listing at once: what each writes is what the Hub says, and all pages
    before a place are there when the place is written down.

    :param database: the database ``datasets_server_maintenance``.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._database = database

    def begin(self, endpoint: str, release: str) -> HubListing:
        """Begin a new listing."""
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as MongoDB keeps it
        name = f"{_PREFIX}{now:%Y%m%dT%H%M%S}-{uuid4().hex[:8]}"
        about = {**ABOUT, "endpoint": endpoint, "release": release, "begun_at": now}
        self._database[name].insert_one(about)
        return HubListing.of(name, about)

    def all(self) -> list[HubListing]:
        """Give the listings, the youngest first."""
        found = (self.get(name) for name in self._collections())
        return sorted(
            (listing for listing in found if listing), key=lambda listing: listing.begun_at, reverse=True
        )

    def get(self, listing_id: str) -> HubListing | None:
        """Give a listing, None if it is gone."""
        about = self._database[listing_id].find_one(ABOUT)
        return HubListing.of(listing_id, about) if about else None

    def add(self, listing: HubListing, page: ListingPage, requests: int) -> HubListing:
        """Write down the next page of a listing, which it took so many requests to get.

        The last page makes the listing complete. If this is cut short, the same page may be added again.

        :return: the listing as it then is.
        :raises ServiceError: if another run has dropped the listing.
        """
        collection = self._database[listing.id]
        if page.datasets:
            # The Hub may give a dataset twice, when the listing changes under its pages.
            collection.bulk_write([_write(dataset) for dataset in page.datasets], ordered=False)
        known: Document = {"place": page.next_place}
        if page.next_place is None:
            known["listed"] = collection.count_documents({}) - 1
        return self._update(listing, {"$set": known, "$inc": {"requests": requests}})

    def trust(self, listing: HubListing) -> HubListing:
        """Write down that a listing is worthy of trust.

        :raises ServiceError: if another run has dropped the listing.
        """
        return self._update(listing, {"$set": {"trusted": True}})

    def _update(self, listing: HubListing, change: Document) -> HubListing:
        about = self._database[listing.id].find_one_and_update(
            ABOUT, change, return_document=ReturnDocument.AFTER
        )
        if about is None:
            self.drop(listing)  # what was written since is a part, and nothing says so
            raise ServiceError("Another run has dropped this listing of the Hub: it has to begin anew.")
        return HubListing.of(listing.id, about)

    def count_among(self, listing: HubListing, names: Sequence[str]) -> int:
        """Tell how many of some datasets a listing has."""
        return self._database[listing.id].count_documents({"_id": {"$in": list(names)}})

    def drop(self, listing: HubListing) -> None:
        """Remove a listing."""
        self._database.drop_collection(listing.id)

    def drop_old(self) -> None:
        """Remove what is older than ``KEPT_FOR``, but of each Hub the last listing that was trusted."""
        listings = self.all()
        last_trusted = {listing.endpoint: listing.id for listing in reversed(listings) if listing.trusted}
        young = {listing.id for listing in listings if listing.age < KEPT_FOR}
        for name in {listing.id for listing in listings} - young - set(last_trusted.values()):
            self._database.drop_collection(name)

    def _collections(self) -> list[str]:
        return self._database.list_collection_names(filter={"name": {"$regex": f"^{re.escape(_PREFIX)}"}})


def _write(dataset: ListedDataset) -> ReplaceOne[Document]:
    return ReplaceOne({"_id": dataset.name}, {"revision": dataset.revision}, upsert=True)
