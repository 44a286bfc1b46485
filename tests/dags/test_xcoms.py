"""What one task of a backfill passes to the next, as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from datasets_server.xcoms import ListingReference, Shard
from include.databases.listing_store import HubListing

LISTING = HubListing(
    "hubListing.1", "https://hub", "2024-03", datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=1), listed=7
)


@pytest.mark.parametrize(
    ("reference", "fields"),
    [
        (ListingReference.to(LISTING, 3), {"id": "hubListing.1", "listed": 7, "requests": 3, "warnings": []}),
        (
            ListingReference.to(None, 1, ["old"]),
            {"id": None, "listed": None, "requests": 1, "warnings": ["old"]},
        ),
    ],
)
def test_the_reference_to_a_listing_passes_through_json(
    reference: ListingReference, fields: dict[str, object]
) -> None:
    assert reference.as_json() == fields
    assert ListingReference.from_json(json.loads(json.dumps(fields))) == reference


def test_a_shard_passes_through_json() -> None:
    shard = Shard("a", None, selected=True, read_everything=False)

    assert shard.as_json() == {
        "first": "a",
        "end": None,
        "selected": True,
        "read_everything": False,
    }
    assert Shard.from_json(json.loads(json.dumps(shard.as_json()))) == shard
    assert shard.names == ("a", None)
