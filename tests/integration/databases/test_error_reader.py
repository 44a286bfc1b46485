"""What the page of errors reads, on a real MongoDB with the indexes of datasets-server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from dev.local_stack.documents import CACHE
from include.databases import error_reader
from include.databases.bounded import MAX_TIME_MS
from include.databases.cache_reader import EntryTotal
from include.databases.error_messages import ErrorMessage
from include.databases.error_reader import ErrorFilter, ErrorPage, ErrorReader, Place
from include.planning.artifact_name import ArtifactName
from include.planning.processing_graph import DEFAULT_RELEASE
from tests.builders import NOON
from tests.integration.conftest import Stores
from tests.integration.databases.test_cache_store import entry
from tests.integration.profiling import profiled

Document = dict[str, Any]
CODE = "StreamingRowsError"


@pytest.fixture
def release_name() -> str:
    return DEFAULT_RELEASE


@pytest.fixture
def reader(stores: Stores) -> ErrorReader:
    return ErrorReader(stores.databases.cache)


def failed(number: int, **fields: object) -> Document:
    return entry(f"user/{number}", **{"http_status": 500, "error_code": CODE, **fields})  # type: ignore[arg-type]


def insert(stores: Stores, *entries: Document) -> None:
    stores.databases.cache[CACHE].insert_many(entries)
    stores.cache.collect_metrics()


def wanted(reader: ErrorReader, code: str = CODE, **fields: Any) -> ErrorFilter:
    return ErrorFilter(code, reader.totals(code), **fields)


def datasets(page: ErrorPage) -> list[str]:
    return [found.dataset for found in page.entries]


def all_pages(reader: ErrorReader, filter_: ErrorFilter, size: int) -> list[ErrorPage]:
    pages = [reader.page(filter_, size)]
    while (after := pages[-1].next) is not None:
        pages.append(reader.page(filter_, size, after=after))
    return pages


def test_the_totals_are_those_of_errors(stores: Stores, reader: ErrorReader) -> None:
    insert(
        stores, entry("good"), failed(1), failed(2), failed(3, http_status=501), failed(4, error_code=None)
    )

    assert {(each.http_status, each.error_code, each.total) for each in reader.totals()} == {
        (500, CODE, 2),
        (501, CODE, 1),
        (500, None, 1),
    }
    assert reader.totals("none") == []


@pytest.mark.parametrize(("limit", "are_all"), [(3, True), (2, False)])
def test_the_newest_entries_that_match_are_retried_together(
    stores: Stores, reader: ErrorReader, monkeypatch: pytest.MonkeyPatch, limit: int, are_all: bool
) -> None:
    monkeypatch.setattr(error_reader, "ENTRIES_READ", limit)
    insert(
        stores,
        *(
            failed(number, kind="dataset-size", updated_at=NOON + timedelta(minutes=number))
            for number in (1, 2)
        ),
        failed(3),
        failed(4, kind="dataset-size", error_code="Another"),
    )

    found = reader.matching(wanted(reader, kind="dataset-size"))

    assert found.artifacts == [ArtifactName(f"user/{number}", "dataset-size") for number in (2, 1)]
    assert found.are_all == are_all


def test_an_entry_with_what_it_says_about_its_error(stores: Stores, reader: ErrorReader) -> None:
    content = {"error": "It failed. " * 100}
    insert(stores, failed(1, config="a", split="train", failed_runs=2, content=content))

    [found] = reader.page(wanted(reader), 10).entries

    assert (found.kind, found.dataset, found.config, found.split) == ("dataset-info", "user/1", "a", "train")
    assert (found.http_status, found.failed_runs, found.job_runner_version) == (500, 2, 2)
    assert found.updated_at == NOON.replace(tzinfo=UTC)
    assert found.message == ErrorMessage(content["error"][:200])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("different_times", [1, 3, 60])
def test_the_pages_have_each_entry_once_the_newest_first(
    stores: Stores, reader: ErrorReader, size: int, different_times: int
) -> None:
    random = Random(different_times)
    entries = [
        failed(
            number,
            _id=ObjectId(),
            kind=random.choice(["dataset-info", "dataset-size", "config-info"]),
            http_status=random.choice([500, 501]),
            updated_at=NOON + timedelta(milliseconds=random.randrange(different_times)),
        )
        for number in range(40)
    ]
    random.shuffle(entries)
    insert(stores, *entries)
    newest_first = sorted(entries, key=lambda each: (each["updated_at"], each["_id"]), reverse=True)

    pages = all_pages(reader, wanted(reader), size)

    assert [name for page in pages for name in datasets(page)] == [each["dataset"] for each in newest_first]
    assert all(len(page.entries) == size for page in pages[:-1])
    assert pages[0].previous is None
    for before, page in pairwise(pages):
        again = reader.page(wanted(reader), size, before=page.previous)
        assert datasets(again) == datasets(before)
        assert again.next == before.next
        assert again.previous == before.previous


def test_only_the_entries_of_a_step_and_of_a_version(stores: Stores, reader: ErrorReader) -> None:
    insert(
        stores,
        failed(1, kind="config-info"),
        failed(2, kind="dataset-info", job_runner_version=1),
        failed(3, kind="dataset-info", job_runner_version=2),
        failed(4, kind="dataset-info", job_runner_version=None),
        failed(5, error_code="Other"),
    )

    assert datasets(reader.page(wanted(reader, kind="config-info"), 10)) == ["user/1"]
    assert datasets(reader.page(wanted(reader, job_runner_version=1), 10)) == ["user/2"]
    assert datasets(reader.page(wanted(reader, kind="dataset-info", job_runner_version=2), 10)) == ["user/3"]
    assert len(reader.page(wanted(reader), 10).entries) == 4


def test_a_page_reads_no_more_than_it_shows_in_the_order_of_the_index(
    stores: Stores, reader: ErrorReader
) -> None:
    kinds = ["dataset-info", "dataset-size", "config-info"]
    insert(
        stores,
        *(
            failed(number, kind=kinds[number % 3], updated_at=NOON + timedelta(seconds=number))
            for number in range(900)
        ),
    )
    filter_ = wanted(reader)

    with profiled(stores.databases.cache) as commands:
        first = reader.page(filter_, 10)
        second = reader.page(filter_, 10, after=first.next)

    assert datasets(second) == [f"user/{number}" for number in range(889, 879, -1)]
    assert all(0 < command["command"]["maxTimeMS"] <= MAX_TIME_MS for command in commands)
    assert sum(command["docsExamined"] for command in commands) < 50
    assert not [
        command
        for command in commands
        if command.get("hasSortStage") and command["command"]["sort"] != {"_id": -1}
    ]


def test_a_code_that_the_counts_do_not_know_has_no_entries(stores: Stores, reader: ErrorReader) -> None:
    assert reader.page(wanted(reader, "none"), 10) == ErrorPage((), None, None)


def test_malformed_entries_are_shown_as_far_as_they_can_be_read(stores: Stores, reader: ErrorReader) -> None:
    insert(
        stores,
        failed(1, config=5, failed_runs="many", job_runner_version="x", content=None),
        failed(2, updated_at="yesterday"),
        failed(3, _id="no object id"),
        failed(4, updated_at=DatetimeMS(10**15)),
        failed(5, updated_at=DatetimeMS(-(10**15))),
    )

    [found] = reader.page(wanted(reader), 10).entries

    assert (found.dataset, found.config, found.failed_runs) == ("user/1", "5", 0)
    assert found.job_runner_version is None


def test_a_place_survives_an_address() -> None:
    place = Place(datetime(2026, 1, 31, 12, 0, 0, 123_000, tzinfo=UTC), ObjectId())

    assert Place.parse(str(place)) == place


@pytest.mark.parametrize(
    "text", ["", "x", "5", "5-", "x-" + "0" * 24, "9" * 30 + "-" + "0" * 24, "5-abcdefghijkl"]
)
def test_any_other_text_is_no_place(text: str) -> None:
    with pytest.raises(ValueError, match=r"no place|invalid literal"):
        Place.parse(text)


def test_a_total_of_a_wrong_type_is_left_out(stores: Stores, reader: ErrorReader) -> None:
    stores.databases.cache["cacheTotalMetric"].insert_many(
        [
            {"kind": "a", "http_status": 500, "error_code": CODE, "total": 5},
            {"kind": 1, "http_status": 500, "error_code": CODE, "total": 5},
            {"kind": "b", "http_status": 500, "error_code": 1, "total": 5},
        ]
    )

    assert reader.totals() == [EntryTotal("a", 500, CODE, 5)]
