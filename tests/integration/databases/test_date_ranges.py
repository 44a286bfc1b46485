"""Ranges of dates, on a cache of 100,000 entries: the indexes answer them, and neighbours share no entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from pymongo import MongoClient, UpdateOne
from pymongo.database import Database

from dev.local_stack.generated_cache import generate
from include.databases.cache_store import CacheStore
from include.databases.selection import Selection
from include.planning.processing_graph import load_release

RELEASE = load_release()
DATASETS = 2_000
FIRST_DAY = datetime(2026, 3, 1)  # noqa: DTZ001 - as MongoDB gives them
DAYS = 50
INDEX = {"http_status": 1, "error_code": 1, "kind": 1, "updated_at": 1}

Select = Callable[[CacheStore, Selection], Iterator[str]]

SELECTIONS: dict[str, tuple[Select, Selection]] = {
    "backfill": (CacheStore.selected_names, Selection()),
    "backfill-retryable-errors": (
        CacheStore.selected_names,
        Selection(error_codes=tuple(RELEASE.max_failed_runs)),
    ),
    "post-messages": (CacheStore.converted_datasets, Selection()),
}


@pytest.fixture(scope="module")
def cache(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    """Entries that were updated over fifty days, some of them exactly at midnight, a tenth with errors."""
    cache, queue = mongo_client["test_dates_cache"], mongo_client["test_dates_queue"]
    generate(cache, queue, DATASETS, RELEASE)
    entries = cache["cachedResponsesBlue"]
    codes = sorted(RELEASE.max_failed_runs)
    updates = []
    for number, entry in enumerate(entries.find({}, {"_id": 1})):
        time = FIRST_DAY + timedelta(hours=number % (24 * DAYS))
        error = {"http_status": 500, "error_code": codes[number % len(codes)]} if number % 10 == 0 else {}
        updates.append(UpdateOne({"_id": entry["_id"]}, {"$set": {"updated_at": time, **error}}))
    entries.bulk_write(updates, ordered=False)
    yield cache
    for database in (cache, queue):
        mongo_client.drop_database(database)


def on_day(number: int, selection: Selection) -> Selection:
    start = FIRST_DAY + timedelta(days=number)
    return replace(selection, updated_from=start, updated_to=start + timedelta(days=1))


@pytest.mark.parametrize("action", SELECTIONS)
def test_the_index_answers_a_day(cache: Database[dict[str, Any]], action: str) -> None:
    select, selection = SELECTIONS[action]
    store = CacheStore(cache)
    assert store.entry_count() >= 100_000

    cache.command("profile", 2)
    names = set(select(store, on_day(7, selection)))
    cache.command("profile", 0)
    [seen] = cache["system.profile"].find({"command.aggregate": "cachedResponsesBlue"})
    cache.drop_collection("system.profile")

    assert names
    fields = ", ".join(f"{field}: 1" for field in INDEX)
    assert seen["planSummary"] == f"IXSCAN {{ {fields} }}"
    # Every entry read is one of that day, a fiftieth; beside them, the index is only hopped through.
    assert seen["docsExamined"] <= store.entry_count() / DAYS * 1.1
    assert seen["keysExamined"] <= seen["docsExamined"] + 1_000


@pytest.mark.parametrize("action", SELECTIONS)
def test_neighbouring_days_share_no_entry_and_lose_none(cache: Database[dict[str, Any]], action: str) -> None:
    select, selection = SELECTIONS[action]
    store = CacheStore(cache)
    kind = {"kind": "config-parquet", "http_status": 200} if action == "post-messages" else {}
    code = {"error_code": {"$in": list(selection.error_codes)}} if selection.error_codes else {}

    for number in (0, 7, 8, DAYS - 1):
        day = on_day(number, selection)
        of_that_day = {"updated_at": {"$gte": day.updated_from, "$lt": day.updated_to}}
        expected = cache["cachedResponsesBlue"].distinct("dataset", of_that_day | kind | code)
        assert sorted(select(store, day)) == sorted(expected)


def test_all_days_together_have_every_dataset(cache: Database[dict[str, Any]]) -> None:
    store = CacheStore(cache)

    found = {name for number in range(DAYS) for name in store.selected_names(on_day(number, Selection()))}

    assert found == set(store.dataset_names())
