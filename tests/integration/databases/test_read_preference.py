"""Which reads go to secondaries, where a Connection asks for that: those that no write is based on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from pymongo import MongoClient
from pymongo.read_preferences import SecondaryPreferred

from dev.local_stack.mongod import REPLICA_SET, Mongod
from include.databases.cache_store import CacheStore
from include.databases.queue_store import QueueStore
from include.databases.selection import Selection
from include.planning.dataset_state import Priority
from include.planning.plan import Plan, plan_dataset
from include.planning.processing_graph import Release
from tests.builders import REVISION, up_to_date
from tests.integration.actions.test_collect_metrics import Document, Watch
from tests.integration.conftest import Stores

SOME_DAYS = Selection(updated_from=datetime(2026, 1, 1, tzinfo=UTC))


class Watched:
    """Stores whose candidates and counts come from secondaries, and the commands that they send."""

    def __init__(self, client: MongoClient[Document], watch: Watch, stores: Stores, release: Release) -> None:
        secondary = SecondaryPreferred()
        self.release = release
        self.watch = watch
        self.cache = CacheStore(client[stores.databases.cache.name], secondary)
        self.queue = QueueStore(client[stores.databases.queue.name], release, secondary)

    def modes(self, command: str) -> set[str]:
        """The read preferences of the commands with this name."""
        sent = self.watch.of(command)
        assert sent, f"no {command} among {self.watch.names}"
        return {each.get("$readPreference", {}).get("mode", "primary") for each in sent}


@pytest.fixture
def watched(stores: Stores, release: Release, mongod: Mongod) -> Iterator[Watched]:
    # A client that is connected to one member alone would read everything from that.
    with MongoClient[Document](
        mongod.host, mongod.port, replicaSet=REPLICA_SET, event_listeners=[watch := Watch()]
    ) as client:
        yield Watched(client, watch, stores, release)


@pytest.mark.parametrize(
    ("command", "read"),
    [
        pytest.param("count", lambda w: w.cache.entry_count(), id="cache.entry_count"),
        pytest.param("find", lambda w: w.cache.shards(2), id="cache.shards"),
        pytest.param("aggregate", lambda w: w.cache.sample_names(10), id="cache.sample_names"),
        pytest.param("aggregate", lambda w: list(w.cache.dataset_names()), id="cache.dataset_names"),
        pytest.param(
            "aggregate", lambda w: list(w.cache.selected_names(SOME_DAYS)), id="cache.selected_names"
        ),
        pytest.param(
            "aggregate", lambda w: list(w.cache.converted_datasets(SOME_DAYS)), id="cache.converted_datasets"
        ),
        pytest.param("aggregate", lambda w: w.cache.collect_metrics(), id="cache.collect_metrics"),
        pytest.param("aggregate", lambda w: w.queue.collect_metrics(), id="queue.collect_metrics"),
    ],
)
def test_candidates_and_counts_are_read_from_secondaries(
    watched: Watched, command: str, read: Callable[[Watched], object]
) -> None:
    read(watched)

    assert watched.modes(command) == {"secondaryPreferred"}


@pytest.mark.parametrize(
    ("command", "read"),
    [
        pytest.param("find", lambda w: w.cache.read(["user/data"]), id="cache.read"),
        pytest.param("find", lambda w: w.cache.lists(["user/data"]), id="cache.lists"),
        pytest.param("find", lambda w: list(w.cache.columns(["user/data"])), id="cache.columns"),
        pytest.param("find", lambda w: w.cache.remove(["user/data"]), id="cache.remove"),
        pytest.param("find", lambda w: w.queue.pending_jobs(["user/data"]), id="queue.pending_jobs"),
        pytest.param("find", lambda w: w.queue.remove(["user/data"]), id="queue.remove"),
        pytest.param(
            "distinct", lambda w: w.queue.with_pending_jobs(["user/data"]), id="queue.with_pending_jobs"
        ),
        pytest.param("find", lambda w: w.queue.apply([plan_of(w.release)], Priority.LOW), id="queue.apply"),
    ],
)
def test_what_a_write_is_based_on_is_read_from_the_primary(
    watched: Watched, command: str, read: Callable[[Watched], object]
) -> None:
    read(watched)

    assert watched.modes(command) <= {
        "primary",
        "primaryPreferred",
    }  # this is how a direct connection says it


def plan_of(release: Release) -> Plan:
    return plan_dataset(release, up_to_date(release), (), REVISION + "0")
