"""The record of the removals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from include.databases.removal_ledger import RemovalLedger
from include.planning.processing_graph import DEFAULT_RELEASE
from tests.integration.conftest import Stores


@pytest.fixture
def release_name() -> str:
    return DEFAULT_RELEASE


@pytest.fixture
def ledger(stores: Stores) -> RemovalLedger:
    return stores.maintenance.removal_ledger()


def reasons(names: str) -> dict[str, str]:
    return dict.fromkeys(names, "it is gone")


def test_the_first_names_take_what_the_limit_lets(ledger: RemovalLedger) -> None:
    assert ledger.begin("run", reasons("cab"), 2) == ["c", "a"]
    assert ledger.begun_in_a_day() == 2


def test_nothing_is_taken_for_no_names(ledger: RemovalLedger) -> None:
    assert ledger.begin("run", {}, 2) == []


def test_a_dataset_counts_once_a_day(ledger: RemovalLedger) -> None:
    ledger.begin("run", reasons("ab"), 2)
    ledger.finish(["a"])

    assert ledger.begin("another run", reasons("abc"), 2) == ["a", "b"]
    assert ledger.begun_in_a_day() == 2


def test_a_removal_is_unfinished_until_it_is_crossed_off(ledger: RemovalLedger) -> None:
    ledger.begin("run", {"a": "it is gone", "b": "it is $private"}, 10)
    ledger.finish(["a"])

    assert ledger.unfinished() == {"b": "it is $private"}


def test_a_removal_that_begins_again_is_unfinished_again(ledger: RemovalLedger) -> None:
    ledger.begin("run", reasons("a"), 10)
    ledger.finish(["a"])

    ledger.begin("run", reasons("a"), 10)

    assert ledger.unfinished() == reasons("a")


def test_an_unfinished_removal_of_yesterday_goes_on_whatever_the_limit(
    stores: Stores, ledger: RemovalLedger
) -> None:
    ledger.begin("run", reasons("a"), 1)
    stores.databases.maintenance["removals"].update_one(
        {"_id": "a"}, [{"$set": {"begun_at": {"$subtract": ["$$NOW", 25 * 60 * 60 * 1000]}}}]
    )

    assert ledger.begin("another run", reasons("ab"), 0) == ["a"]
    assert ledger.begun_in_a_day() == 0


def test_rebuilds_count_but_are_not_unfinished(ledger: RemovalLedger) -> None:
    assert ledger.count_rebuilds("run", reasons("ab"), 1) == ["a"]
    assert ledger.begin("run", reasons("c"), 1) == []
    assert ledger.unfinished() == {}


@pytest.mark.parametrize("attempt", range(5))
def test_tasks_at_the_same_time_never_take_more_than_the_limit(ledger: RemovalLedger, attempt: int) -> None:
    barrier = Barrier(4)

    def begin(task: int) -> list[str]:
        barrier.wait()
        return ledger.begin("run", {f"{attempt}/{task}/{number}": "gone" for number in range(5)}, 7)

    with ThreadPoolExecutor(4) as threads:
        taken = [name for names in threads.map(begin, range(4)) for name in names]

    assert len(taken) == ledger.begun_in_a_day() == 7
