"""The Hub's listings in our own database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.databases.listing_store import ABOUT, HubListing, ListingStore
from include.errors import ServiceError
from include.hub.answers import ListedDataset, ListingPage
from include.planning.processing_graph import DEFAULT_RELEASE
from tests.builders import OTHER_REVISION, REVISION, put_listing
from tests.integration.conftest import Stores

A, B = ListedDataset("a", REVISION), ListedDataset("b", REVISION)


@pytest.fixture
def release_name() -> str:
    return DEFAULT_RELEASE


@pytest.fixture
def listings(stores: Stores) -> ListingStore:
    return stores.maintenance.listings()


def let_be_old(stores: Stores, listing: HubListing, age: timedelta) -> None:
    begun_at = datetime.now(UTC) - age
    stores.databases.maintenance[listing.id].update_one(ABOUT, {"$set": {"begun_at": begun_at}})


def revisions(stores: Stores, listing: HubListing) -> dict[str, str]:
    return stores.maintenance.with_listing(listing.id).listed_revisions(["a", "b"])


def test_a_listing_knows_its_progress(listings: ListingStore) -> None:
    begun = listings.begin("http://hub", DEFAULT_RELEASE)
    half = listings.add(begun, ListingPage([A], "cursor=1"), requests=1)
    whole = listings.add(half, ListingPage([B], None), requests=2)
    trusted = listings.trust(whole)

    assert (begun.place, begun.requests, begun.listed, begun.trusted) == (None, 0, None, False)
    assert (half.place, half.requests, half.listed, half.trusted) == ("cursor=1", 1, None, False)
    assert (whole.place, whole.requests, whole.listed, whole.trusted) == (None, 3, 2, False)
    assert trusted.trusted
    assert listings.all() == [trusted]
    assert timedelta(0) <= trusted.age < timedelta(seconds=60)


def test_a_page_can_be_added_again(stores: Stores, listings: ListingStore) -> None:
    listing = listings.begin("http://hub", DEFAULT_RELEASE)

    listings.add(listing, ListingPage([A, B], "cursor=1"), requests=1)
    listings.add(listing, ListingPage([A, ListedDataset("b", OTHER_REVISION)], "cursor=1"), requests=1)
    listing = listings.add(listing, ListingPage([], None), requests=1)

    assert listing.listed == 2
    assert revisions(stores, listing) == {"a": REVISION, "b": OTHER_REVISION}


def test_listings_do_not_mix(stores: Stores, listings: ListingStore) -> None:
    one = listings.begin("http://hub", DEFAULT_RELEASE)
    other = listings.begin("http://hub", DEFAULT_RELEASE)

    one = listings.add(one, ListingPage([A], None), requests=1)
    listings.drop(other)

    assert listings.all() == [one]
    assert revisions(stores, one) == {"a": REVISION}


def test_a_listing_that_is_dropped_before_its_end_never_looks_complete(
    stores: Stores, listings: ListingStore
) -> None:
    listing = listings.add(
        listings.begin("http://hub", DEFAULT_RELEASE), ListingPage([A], "cursor=1"), requests=1
    )
    listings.drop(listing)

    with pytest.raises(ServiceError, match=r"^Another run has dropped this listing"):
        listings.add(listing, ListingPage([B], None), requests=1)

    assert listings.all() == []
    assert listing.id not in stores.databases.maintenance.list_collection_names()


def test_the_store_counts_how_many_datasets_are_in_a_listing(listings: ListingStore) -> None:
    listing = put_listing(listings, A, B)

    assert listings.count_among(listing, ["a", "b", "c"]) == 2
    assert listings.count_among(listing, []) == 0


def test_old_listings_are_dropped_except_the_newest_trusted_one_of_each_hub(
    stores: Stores, listings: ListingStore
) -> None:
    before_last = put_listing(listings, A, endpoint="http://one")
    last = put_listing(listings, A, endpoint="http://one")
    unfinished = listings.begin("http://one", DEFAULT_RELEASE)
    last_of_other = put_listing(listings, A, endpoint="http://other")
    young = put_listing(listings, A, endpoint="http://other")
    for listing, hours in ((before_last, 30), (last, 29), (unfinished, 28), (last_of_other, 25), (young, 23)):
        let_be_old(stores, listing, timedelta(hours=hours))

    listings.drop_old()

    assert {listing.id for listing in listings.all()} == {last.id, young.id}
