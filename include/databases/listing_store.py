"""The Hub's listings in our own database: one collection for each, which also describes it.

So a shard reads the listing of its own run, whatever other runs do at the same time, and dropping a listing
leaves nothing of it behind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import uuid4

from pymongo import ReplaceOne
from pymongo.database import Database

from include.errors import ServiceError
from include.hub.answers import ListedDataset, ListingPage

Document = dict[str, Any]

#: No run uses an older listing.
KEPT_FOR = timedelta(days=1)

_PREFIX = "hubListing."
#: The id of the document that describes the listing; the id of the others is the name of a dataset.
ABOUT = {"_id": 0}


@dataclass(frozen=True, slots=True)
class HubListing:
    """What our own database says about a listing of the Hub.

    :param id: its collection.
    :param endpoint: the Hub's address.
    :param release: the release of datasets-server whose rules decide which datasets are supported.
    :param begun_at: when the first page was requested (UTC), by the database's clock.
    :param age: the time between then and the moment at which this was read, by the same clock.
    :param place: where to continue a listing that is not complete; None for the first page.
    :param requests: the number of requests so far.
    :param listed: the number of datasets; None until the listing is complete.
    :param trusted: whether a run has decided to trust it.
    """

    id: str
    endpoint: str
    release: str
    begun_at: datetime
    age: timedelta = field(compare=False)
    place: str | None = None
    requests: int = 0
    listed: int | None = None
    trusted: bool = False

    @classmethod
    def of(cls, collection: str, about: Document) -> Self:
        """Read a listing from the document that describes it, with ``now`` beside its own fields."""
        fields = {name: value for name, value in about.items() if name not in ("_id", "now")}
        begun_at = about["begun_at"].replace(tzinfo=UTC)
        age = about["now"].replace(tzinfo=UTC) - begun_at
        return cls(**fields | {"id": collection, "begun_at": begun_at, "age": age})


class ListingStore:
    """Keeps the listings of the Hub.

    Two tasks may continue the same listing at the same time: both write what the Hub says, and a place is
    stored after all the pages before it.

    :param database: the database ``datasets_server_airflow``.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._database = database

    def begin(self, endpoint: str, release: str) -> HubListing:
        """Begin a listing, which has no page yet."""
        collection = self._database[f"{_PREFIX}{uuid4().hex}"]
        source = {"endpoint": {"$literal": endpoint}, "release": {"$literal": release}}
        collection.update_one(ABOUT, [{"$set": {**source, "begun_at": "$$NOW"}}], upsert=True)
        return self._existing(collection.name)

    def all(self) -> list[HubListing]:
        """Return the listings, the newest first."""
        found = (self.get(name) for name in self._collections())
        return sorted(
            (listing for listing in found if listing), key=lambda listing: listing.begun_at, reverse=True
        )

    def get(self, listing_id: str) -> HubListing | None:
        """Return a listing, or None if it is gone."""
        pipeline: list[Document] = [{"$match": ABOUT}, {"$set": {"now": "$$NOW"}}]
        about = next(iter(self._database[listing_id].aggregate(pipeline)), None)
        return HubListing.of(listing_id, about) if about else None

    def add(self, listing: HubListing, page: ListingPage, requests: int) -> HubListing:
        """Add the next page to a listing. The last page completes it. A page may be added again.

        :param requests: the number of requests that the page took.
        :return: the listing with that page.
        :raises ServiceError: if another run has dropped the listing.
        """
        collection = self._database[listing.id]
        if page.datasets:
            # A dataset may be on two pages, if the Hub changes between them.
            collection.bulk_write([_write(dataset) for dataset in page.datasets], ordered=False)
        known: Document = {"place": page.next_place}
        if page.next_place is None:
            known["listed"] = collection.count_documents({}) - 1
        return self._update(listing, {"$set": known, "$inc": {"requests": requests}})

    def trust(self, listing: HubListing) -> HubListing:
        """Mark a listing as trusted, and return it.

        :raises ServiceError: if another run has dropped the listing.
        """
        return self._update(listing, {"$set": {"trusted": True}})

    def _update(self, listing: HubListing, change: Document) -> HubListing:
        changed = self._database[listing.id].update_one(ABOUT, change)
        if not changed.matched_count:
            self.drop(listing)  # the page just written has made the collection again
        return self._existing(listing.id)

    def _existing(self, listing_id: str) -> HubListing:
        listing = self.get(listing_id)
        if listing is None:
            raise ServiceError("Another run has dropped this listing of the Hub: list it again.")
        return listing

    def count_among(self, listing: HubListing, names: Sequence[str]) -> int:
        """Return how many of some datasets are in a listing."""
        return self._database[listing.id].count_documents({"_id": {"$in": list(names)}})

    def drop(self, listing: HubListing) -> None:
        """Drop a listing."""
        self._database.drop_collection(listing.id)

    def drop_old(self) -> None:
        """Drop the listings older than ``KEPT_FOR``, except the newest trusted one of each Hub."""
        listings = self.all()
        newest_trusted = {listing.endpoint: listing.id for listing in reversed(listings) if listing.trusted}
        for listing in listings:
            if listing.age >= KEPT_FOR and listing.id not in newest_trusted.values():
                self.drop(listing)

    def _collections(self) -> list[str]:
        return self._database.list_collection_names(filter={"name": {"$regex": f"^{re.escape(_PREFIX)}"}})


def _write(dataset: ListedDataset) -> ReplaceOne[Document]:
    return ReplaceOne({"_id": dataset.name}, {"revision": dataset.revision}, upsert=True)
