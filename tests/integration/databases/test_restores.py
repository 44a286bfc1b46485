"""The record of the restores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.databases.restores import Restores
from include.planning.processing_graph import DEFAULT_RELEASE
from tests.integration.conftest import Stores


@pytest.fixture
def release_name() -> str:
    return DEFAULT_RELEASE


@pytest.fixture
def restores(stores: Stores) -> Restores:
    return stores.maintenance.restores()


def runs(restores: Restores, names: str) -> list[str | None]:
    return [found.run if found else None for found in map(restores.of, names)]


def test_a_restore_has_its_time_and_its_run(restores: Restores) -> None:
    restores.note("a", "restore-datasets $one")

    found = restores.of("a")

    assert found is not None
    assert found.run == "restore-datasets $one"
    assert abs(datetime.now(UTC) - found.at) < timedelta(minutes=1)
    assert restores.of("b") is None


def test_the_first_restore_stays_whatever_runs_come_after_it(restores: Restores) -> None:
    restores.note("a", "first")
    first = restores.of("a")

    restores.note("a", "second")

    assert restores.of("a") == first


def test_a_removal_that_begins_forgets_it_within_the_limit_and_even_within_a_day(
    stores: Stores, restores: Restores
) -> None:
    ledger = stores.maintenance.removal_ledger()
    ledger.begin("run", {"a": "it is gone"}, 2)
    ledger.finish(["a"])
    for name in "abc":
        restores.note(name, "restore")

    ledger.begin("another run", dict.fromkeys("abc", "it is gone"), 2)

    assert runs(restores, "abc") == [None, None, "restore"]


def test_a_removal_that_is_finished_after_it_forgets_it(stores: Stores, restores: Restores) -> None:
    ledger = stores.maintenance.removal_ledger()
    ledger.begin("run", dict.fromkeys("abc", "it is gone"), 5)
    for name in "abc":
        restores.note(name, "restore")

    ledger.finish(["a"])
    ledger.spare(["b"])

    assert ledger.unfinished() == {"c": "it is gone"}
    assert runs(restores, "abc") == [None, "restore", "restore"]


def test_a_rebuild_forgets_it_even_if_it_was_counted_before(stores: Stores, restores: Restores) -> None:
    stores.maintenance.removal_ledger().count_rebuilds("run", {"a": "it is incoherent"}, 5)
    for name in "ab":
        restores.note(name, "restore")

    stores.maintenance.start_rebuilds(["a"])

    assert runs(restores, "ab") == [None, "restore"]


def test_it_counts_neither_as_a_removal_nor_as_unfinished(stores: Stores, restores: Restores) -> None:
    restores.note("a", "restore")

    ledger = stores.maintenance.removal_ledger()
    assert (ledger.begun_in_a_day(), ledger.unfinished(), ledger.of("a")) == (0, {}, None)


def test_it_expires_after_90_days(stores: Stores, restores: Restores) -> None:
    stores.maintenance.create_indexes()

    indexes = stores.databases.maintenance["restores"].index_information()

    assert indexes["at_1"]["expireAfterSeconds"] == 90 * 24 * 60 * 60
