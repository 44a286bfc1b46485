"""Listing the Hub for a run: continuing an unfinished listing, and when to trust one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dev.local_stack.documents import CACHE
from dev.local_stack.hub_server import HubDataset, HubServer, RateLimit
from dev.local_stack.mongod import Mongod
from include.actions.backfill.hub_listing import HubLister, UntrustedListingError, usable
from include.actions.backfill.pipeline import Backfill
from include.actions.backfill.removal import Remover
from include.actions.backfill.report import BackfillSummary
from include.databases.listing_store import ABOUT, HubListing
from include.errors import ServiceError
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.planning.processing_graph import DEFAULT_RELEASE, Release
from tests.builders import OTHER_REVISION, REVISION, insert_up_to_date
from tests.integration.actions.killed_run import Action, count_writes, kill
from tests.integration.conftest import Stores
from tests.integration.databases.test_listing_store import let_be_old

NAMES = [f"user/{number}" for number in range(7)]
PAGES = 4


@pytest.fixture
def release_name() -> str:
    return DEFAULT_RELEASE


@pytest.fixture
def hub(shared_hub: HubServer) -> HubServer:
    """A Hub with seven datasets, two a page."""
    shared_hub.state.page_size = 2
    host(shared_hub, NAMES)
    return shared_hub


def host(hub: HubServer, names: Iterable[str]) -> None:
    hub.state.datasets.clear()
    hub.state.put(*(HubDataset(name, REVISION) for name in names))


def lister(stores: Stores, hub: HubServer, release: Release, min_share: float = 0.5) -> HubLister:
    client = Hub(hub.url, "hf_token", release, BlockList(), sleep=lambda _: None)
    return HubLister(client, stores.maintenance.listings(), stores.cache, min_share)


def names_in(stores: Stores, listing: HubListing) -> list[str]:
    return sorted(stores.maintenance.with_listing(listing.id).listed_revisions(NAMES))


class TestWhole:
    def test_a_whole_listing_has_all_the_pages(
        self, stores: Stores, hub: HubServer, release: Release
    ) -> None:
        listing = lister(stores, hub, release).whole()

        assert names_in(stores, listing) == NAMES
        assert (listing.listed, listing.requests, listing.trusted) == (7, PAGES, True)
        assert hub.state.requests_by_route == {"listing": PAGES}

    def test_each_page_is_reported_as_progress(
        self, stores: Stores, hub: HubServer, release: Release
    ) -> None:
        reported = 0

        class Right:
            def check(self, session: object = None) -> None: ...

            def progress(self) -> None:
                nonlocal reported
                reported += 1

        replace(lister(stores, hub, release), right=Right()).whole()

        assert reported == PAGES

    def test_each_run_lists_the_hub_again(self, stores: Stores, hub: HubServer, release: Release) -> None:
        first = lister(stores, hub, release).whole()
        hub.state.put(HubDataset(NAMES[0], OTHER_REVISION))

        second = lister(stores, hub, release).whole()

        found = [
            stores.maintenance.with_listing(listing.id).listed_revisions(NAMES[:1])
            for listing in (first, second)
        ]
        assert found == [{NAMES[0]: REVISION}, {NAMES[0]: OTHER_REVISION}]

    def cut_short(self, stores: Stores, hub: HubServer, release: Release) -> HubListing:
        """Let the rate limit end an attempt after two pages."""
        hub.state.rate_limit = RateLimit(requests=2, window_seconds=600)
        with pytest.raises(ServiceError, match=r"rate limit of the Hub at .* does not end: 429"):
            lister(stores, hub, release).whole()
        hub.state.rate_limit = None
        hub.state.requests_by_route.clear()
        return stores.maintenance.listings().all()[0]

    def test_an_unfinished_listing_continues_at_the_page_where_it_ended(
        self, stores: Stores, hub_server: HubServer, release: Release
    ) -> None:
        hub_server.state.page_size = 2
        host(hub_server, NAMES)
        begun = self.cut_short(stores, hub_server, release)
        assert names_in(stores, begun) == NAMES[:4]

        listing = lister(stores, hub_server, release).whole()

        assert listing.id == begun.id
        assert names_in(stores, listing) == NAMES
        assert hub_server.state.requests_by_route == {"listing": PAGES - 2}
        assert listing.requests == PAGES

    @pytest.mark.parametrize("why", ["too old", "another release", "another Hub", "place lost"])
    def test_an_unfinished_listing_that_does_not_fit_is_not_continued(
        self, stores: Stores, hub: HubServer, release: Release, why: str
    ) -> None:
        listings = stores.maintenance.listings()
        begun = listings.begin(
            "http://another" if why == "another Hub" else hub.url,
            "another" if why == "another release" else release.name,
        )
        stores.databases.maintenance[begun.id].update_one(
            ABOUT, {"$set": {"place": "cursor=old", "requests": 3}}
        )
        if why == "too old":
            let_be_old(stores, begun, timedelta(hours=3))

        listing = lister(stores, hub, release).whole()

        assert listing.id != begun.id
        assert names_in(stores, listing) == NAMES
        assert listing.requests == PAGES
        assert hub.state.requests_by_route == {"listing": PAGES + 1 if why == "place lost" else PAGES}

    def test_two_runs_can_continue_the_same_listing(
        self, stores: Stores, hub: HubServer, release: Release
    ) -> None:
        listings = stores.maintenance.listings()
        client = Hub(hub.url, "hf_token", release, BlockList())
        first, second = client.listing(), client.listing()
        begun = listings.begin(hub.url, release.name)

        one = listings.add(begun, next(first), requests=1)
        other = listings.add(begun, next(second), requests=1)
        for page in first:
            one = listings.add(one, page, requests=1)
        one = listings.trust(one)
        for page in second:
            other = listings.add(other, page, requests=1)

        assert names_in(stores, one) == NAMES
        assert other == replace(one, requests=2 * PAGES)

    def test_a_killed_listing_is_continued(
        self, stores: Stores, hub: HubServer, release: Release, mongod: Mongod, tmp_path: Path
    ) -> None:
        action = Action.on(
            stores.databases,
            name="listing",
            release=release.name,
            mongo_uri=mongod.uri,
            hub_url=hub.url,
            root=tmp_path,
        )
        listings = stores.maintenance.listings()
        writes = count_writes(action)
        assert writes == 1 + 2 * PAGES + 1

        for write in range(1, writes):  # after the last write, it is done
            for listing in listings.all():
                listings.drop(listing)
            hub.state.requests_by_route.clear()
            kill(action, write, "after")

            listing = lister(stores, hub, release).whole()

            assert listings.all() == [listing]
            assert names_in(stores, listing) == NAMES
            assert hub.state.requests_by_route["listing"] <= PAGES + 1, write


class TestRecent:
    def test_a_trusted_listing_of_the_last_hour_is_used_again(
        self, stores: Stores, hub: HubServer, release: Release
    ) -> None:
        asking = lister(stores, hub, release)
        assert asking.recent() is None
        listing = asking.whole()

        assert asking.recent() == listing

        let_be_old(stores, listing, timedelta(minutes=61))
        assert asking.recent() is None

    def test_an_unfinished_listing_or_one_of_another_release_is_not_used_again(
        self, stores: Stores, hub: HubServer, release: Release
    ) -> None:
        stores.maintenance.listings().begin(hub.url, release.name)
        lister(stores, hub, replace(release, name="another")).whole()

        assert lister(stores, hub, release).recent() is None


class TestTrust:
    def test_a_listing_much_smaller_than_the_previous_one_is_not_trusted(
        self, stores: Stores, hub: HubServer, release: Release
    ) -> None:
        last = lister(stores, hub, release).whole()
        host(hub, NAMES[:3])

        with pytest.raises(UntrustedListingError) as untrusted:
            lister(stores, hub, release).whole()

        assert str(untrusted.value) == (
            f"The listing of the Hub at {hub.url} is not trusted: it has 3 datasets, less than 50% of the 7"
            " of the previous listing. If the Hub has really shrunk, run once with a lower listing_min_share;"
            " otherwise check the Hub and the token."
        )
        assert stores.maintenance.listings().all() == [last]

    def test_a_smaller_listing_is_trusted_once_a_person_accepts_its_size(
        self, stores: Stores, hub: HubServer, release: Release
    ) -> None:
        lister(stores, hub, release).whole()
        host(hub, NAMES[:3])

        lister(stores, hub, release, min_share=0.4).whole()

        assert lister(stores, hub, release).whole().listed == 3

    @pytest.mark.parametrize("listed", [[], ["user/0", *(f"other/{number}" for number in range(100))]])
    def test_a_listing_that_lacks_many_cached_datasets_is_not_trusted(
        self, stores: Stores, hub: HubServer, release: Release, listed: list[str]
    ) -> None:
        for name in NAMES[:4]:
            insert_up_to_date(stores.databases.cache, release, name)
        host(hub, listed)

        with pytest.raises(UntrustedListingError, match=r"less than 50% of the 4 in a sample of the cache"):
            lister(stores, hub, release).whole()

        assert stores.maintenance.listings().all() == []

    def test_a_listing_that_lacks_a_few_cached_datasets_is_trusted(
        self, stores: Stores, hub: HubServer, release: Release
    ) -> None:
        for name in (*NAMES[:2], "renamed/a", "private/b"):
            insert_up_to_date(stores.databases.cache, release, name)

        assert lister(stores, hub, release).whole().trusted


class TestUsable:
    def test_the_listing_of_the_run_is_usable(self, stores: Stores, hub: HubServer, release: Release) -> None:
        listing = lister(stores, hub, release).whole()
        newer = lister(stores, hub, release).whole()

        assert newer.id != listing.id
        assert usable(stores.maintenance.listings(), listing.id, timedelta(hours=12)) == listing

    def test_a_listing_that_is_gone_or_too_old_is_not_usable(
        self, stores: Stores, hub: HubServer, release: Release
    ) -> None:
        listings = stores.maintenance.listings()
        listing = lister(stores, hub, release).whole()

        let_be_old(stores, listing, timedelta(hours=13))
        with pytest.raises(UntrustedListingError, match=r"older than listing_max_age \(12 hours\)"):
            usable(listings, listing.id, timedelta(hours=12))

        listings.drop(listing)
        with pytest.raises(UntrustedListingError, match=r"is no longer there"):
            usable(listings, listing.id, timedelta(hours=12))


def test_a_full_backfill_takes_a_request_for_each_page_and_each_dataset_changed_or_removed(
    stores: Stores, hub: HubServer, release: Release, tmp_path: Path
) -> None:
    for name in NAMES:
        insert_up_to_date(stores.databases.cache, release, name)
    changed, gone = NAMES[2:4], NAMES[6]
    stores.databases.cache[CACHE].delete_many({"dataset": {"$in": changed}, "kind": "dataset-size"})
    del hub.state.datasets[gone]
    listing = lister(stores, hub, release).whole()
    backfill = Backfill(
        "run",
        release,
        stores.cache,
        stores.queue,
        stores.maintenance.with_listing(listing.id),
        Hub(hub.url, "hf_token", release, BlockList()),
        Remover(stores.cache, stores.queue, ()),
    )

    summary = backfill.run(stores.cache.dataset_names())

    counts = BackfillSummary.total([summary.as_json()])
    assert (counts.untouched, counts.backfilled, counts.unsupported) == (4, 2, 1)
    assert listing.requests == 3
    assert counts.hub_requests == 3
    assert hub.state.requests_by_route == {"listing": 3, "dataset": 3}
