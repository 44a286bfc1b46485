"""Going through many datasets: in batches, reading ahead, and telling how far it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from threading import Barrier, Event

import pytest

from include.batches import Progress, batched, batched_by_weight, read_ahead


class TestBatched:
    @pytest.mark.parametrize(
        ("items", "batches"),
        [
            ("", []),
            ("a", [["a"]]),
            ("abc", [["a", "b", "c"]]),
            ("abcd", [["a", "b", "c"], ["d"]]),
            ("abcdef", [["a", "b", "c"], ["d", "e", "f"]]),
        ],
    )
    def test_cuts_into_batches(self, items: str, batches: list[list[str]]) -> None:
        assert list(batched(items, 3)) == batches

    def test_takes_no_more_items_than_it_yields(self) -> None:
        items = iter(range(10))

        assert next(batched(items, 3)) == [0, 1, 2]

        assert next(items) == 3


class TestBatchedByWeight:
    @pytest.mark.parametrize(
        ("weights", "batches"),
        [
            ({}, []),
            ({"a": 0}, [["a"]]),
            ({"a": 4, "b": 6}, [["a", "b"]]),
            ({"a": 4, "b": 7}, [["a"], ["b"]]),
            ({"a": 10, "b": 0, "c": 1}, [["a", "b"], ["c"]]),
            ({"a": 11}, [["a"]]),
            ({"a": 1, "b": 99, "c": 1, "d": 1}, [["a"], ["b"], ["c", "d"]]),
        ],
    )
    def test_only_a_batch_of_one_item_may_be_too_heavy(
        self, weights: dict[str, int], batches: list[list[str]]
    ) -> None:
        assert list(batched_by_weight(weights, 10)) == batches


class TestReadAhead:
    def test_yields_each_item_with_what_was_read_for_it(self) -> None:
        assert list(read_ahead([1, 2, 3], str)) == [(1, "1"), (2, "2"), (3, "3")]

    def test_yields_nothing_without_items(self) -> None:
        assert list(read_ahead([], str)) == []

    def test_reads_the_next_item_while_the_caller_works_on_this_one(self) -> None:
        was_read = {item: Event() for item in "abc"}
        reading = read_ahead("abc", lambda item: was_read[item].set())

        assert next(reading)[0] == "a"

        assert was_read["b"].wait(timeout=10)
        assert not was_read["c"].is_set()
        assert [item for item, _ in reading] == ["b", "c"]

    def test_takes_only_one_item_ahead(self) -> None:
        taken = []

        def items() -> Iterator[int]:
            for item in range(5):
                taken.append(item)
                yield item

        next(read_ahead(items(), str))

        assert taken == [0, 1]

    def test_several_readers_read_at_the_same_time(self) -> None:
        both_read = Barrier(2)

        def read(item: str) -> str:
            both_read.wait(timeout=10)
            return item.upper()

        assert list(read_ahead("abcd", read, readers=2)) == [("a", "A"), ("b", "B"), ("c", "C"), ("d", "D")]

    def test_an_error_comes_with_its_item(self) -> None:
        reading = read_ahead([1, 0, 2], lambda number: 1 / number)

        assert next(reading) == (1, 1.0)
        with pytest.raises(ZeroDivisionError):
            next(reading)


class TestProgress:
    def test_is_logged_every_ten_seconds(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        times = iter([100.0, 105.0, 109.9, 110.0, 115.0, 120.0])
        progress = Progress("datasets", clock=lambda: next(times))

        for _ in range(5):
            progress.advance(1_000)

        assert [record.getMessage() for record in caplog.records] == [
            "3,000 datasets done, 300 a second",
            "5,000 datasets done, 250 a second",
        ]

    def test_shows_the_total(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        times = iter([0.0, 10.0])
        progress = Progress("datasets", total=12_345, clock=lambda: next(times))

        progress.advance(2_000)

        assert [record.getMessage() for record in caplog.records] == [
            "2,000 of 12,345 datasets done, 200 a second"
        ]
