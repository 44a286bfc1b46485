"""What the console reads of the cache as a whole, on a real MongoDB."""

from __future__ import annotations

from typing import Any

import pytest

from dev.local_stack.documents import CACHE, CACHE_TOTALS, write_totals
from include.databases import cache_reader
from include.databases.cache_reader import CacheReader, EntryTotal, RunsLeft, dataset_count
from include.planning.processing_graph import DEFAULT_RELEASE, Release
from tests.builders import insert_up_to_date
from tests.integration.conftest import Stores

CODE = "JobManagerCrashedError"

pytestmark = pytest.mark.parametrize("release_name", [DEFAULT_RELEASE])


@pytest.fixture
def reader(stores: Stores) -> CacheReader:
    return CacheReader(stores.databases.cache)


def add_errors(stores: Stores, *failed_runs: int, status: int = 500, code: str = CODE) -> None:
    stores.databases.cache[CACHE].insert_many(
        {
            "kind": "dataset-info",
            "dataset": f"user/{code}-{status}-{number}",
            "config": None,
            "split": None,
            "http_status": status,
            "error_code": code,
            "failed_runs": runs,
        }
        for number, runs in enumerate(failed_runs)
    )


def test_the_totals_are_those_of_datasets_server(
    stores: Stores, reader: CacheReader, release: Release
) -> None:
    for name in ("a", "b", "user/c"):
        insert_up_to_date(stores.databases.cache, release, name)
    add_errors(stores, 0, 1)
    write_totals(stores.databases.cache, stores.databases.queue, release)

    totals = reader.totals()

    assert EntryTotal("dataset-info", 200, None, 3) in totals
    assert [total for total in totals if total.is_error] == [EntryTotal("dataset-info", 500, CODE, 2)]
    assert sum(total.total for total in totals) == reader.entry_count() > 0
    assert dataset_count(totals) == 3


@pytest.mark.parametrize(
    "change",
    [{"kind": 1}, {"http_status": "200"}, {"error_code": 5}, {"total": "many"}, {"kind": b"\xff"}],
)
def test_a_malformed_total_is_left_out(stores: Stores, reader: CacheReader, change: dict[str, Any]) -> None:
    good = {"kind": "dataset-info", "http_status": 200, "error_code": None, "total": 1.0}
    stores.databases.cache[CACHE_TOTALS].insert_many([good, good | {"kind": "other"} | change])

    assert reader.totals() == [EntryTotal("dataset-info", 200, None, 1)]


def test_a_count_below_zero_is_none(stores: Stores, reader: CacheReader) -> None:
    stores.databases.cache[CACHE_TOTALS].insert_one({"kind": "a", "http_status": 200, "total": -3})

    assert reader.totals() == [EntryTotal("a", 200, None, 0)]


def test_errors_that_have_failed_less_often_than_the_maximum_have_runs_left(
    stores: Stores, reader: CacheReader
) -> None:
    add_errors(stores, 0, 2, 3, 4)
    add_errors(stores, 0, 0, code="OtherError")

    assert reader.runs_left(CODE, 3) == RunsLeft(entries=2, looked_at=4, is_all=True)
    assert reader.runs_left("NoSuchError", 3) == RunsLeft(entries=0, looked_at=0, is_all=True)


def test_of_many_errors_it_looks_at_some(
    stores: Stores, reader: CacheReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_reader, "ENTRIES_LOOKED_AT", 5)
    add_errors(stores, *[0] * 10)

    found = reader.runs_left(CODE, 3)

    assert found is not None
    assert (found.entries, found.looked_at, found.is_all) == (5, 5, False)


def test_errors_are_found_by_an_index(stores: Stores, reader: CacheReader, release: Release) -> None:
    insert_up_to_date(stores.databases.cache, release, "a")
    add_errors(stores, *[0] * 10)
    database = stores.databases.cache
    database.command("profile", 2)
    try:
        reader.runs_left(CODE, 3)
    finally:
        database.command("profile", 0)
        [profiled] = database["system.profile"].find({"command.aggregate": CACHE})
        database.drop_collection("system.profile")

    assert profiled["docsExamined"] == 10
    assert "IXSCAN" in profiled["planSummary"]
