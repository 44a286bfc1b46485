"""The collection of metrics on a real MongoDB with the indexes of datasets-server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from dev.local_stack.documents import (
    BLOCKAGES,
    CACHE,
    CACHE_TOTALS,
    JOB_TOTALS,
    JOBS,
    WORKER_SIZES,
    create_indexes,
)
from dev.local_stack.mongod import Mongod
from include.actions.collect_metrics import metrics_report
from include.databases.cache_store import CacheStore
from include.databases.counts import Counts
from include.databases.maintenance_store import MaintenanceStore
from include.databases.queue_store import QueueStore
from include.planning.processing_graph import DEFAULT_RELEASE, Release
from tests.conftest import Databases
from tests.integration.conftest import Stores
from tests.releases import releases_that

Document = dict[str, Any]
WITH_BLOCKAGES = releases_that(lambda release: release.queue_knows_blocked_datasets)
WITHOUT_BLOCKAGES = releases_that(lambda release: not release.queue_knows_blocked_datasets)
LONG_AGO = datetime(2024, 3, 1)  # noqa: DTZ001 - as MongoDB gives it back

_numbers = count(1)


def entry(kind: str, http_status: int, error_code: str | None = None, **fields: Any) -> Document:
    name = f"user/dataset-{next(_numbers)}"
    key = {"kind": kind, "dataset": name, "config": None, "split": None}
    return {**key, "http_status": http_status, "error_code": error_code, "content": "x" * 1_000, **fields}


def entry_without_code(kind: str, http_status: int) -> Document:
    document = entry(kind, http_status)
    del document["error_code"]
    return document


def job(type_: str, status: str, difficulty: object, dataset: str = "user/dataset") -> Document:
    return {
        "type": type_,
        "dataset": dataset,
        "status": status,
        "difficulty": difficulty,
        "unicity_id": str(next(_numbers)),
    }


def stored(databases: Databases, collection: str, count_field: str = "total") -> dict[tuple, int]:
    """The counts by group, once the rest of each document is seen to be as it must be."""
    database = databases.cache if collection == CACHE_TOTALS else databases.queue
    fields = {
        CACHE_TOTALS: ["kind", "http_status", "error_code"],
        JOB_TOTALS: ["job_type", "status"],
        WORKER_SIZES: ["worker_size"],
    }[collection]
    found = {}
    for document in database[collection].find():
        group = [name for name in (*fields, "dataset_status") if name in document]
        # Nothing writes a created_at; one that is there stays as it is.
        assert document.pop("created_at", LONG_AGO) == LONG_AGO
        assert document.keys() == {"_id", *group, count_field}
        assert set(fields) <= set(group)
        assert type(document[count_field]) is int
        found[tuple(document[name] for name in group)] = document[count_field]
    return found


def in_release(release: Release, counts: Mapping[tuple, int]) -> dict[tuple, int]:
    """Counts of jobs of no blocked dataset, as a release writes them."""
    status = ("normal",) if release.queue_knows_blocked_datasets else ()
    return {(*group, *status): count for group, count in counts.items()}


class TestCacheMetrics:
    def test_count_the_entries_by_kind_status_and_error_code(self, stores: Stores) -> None:
        stores.databases.cache[CACHE].insert_many(
            [
                entry("dataset-info", 200),
                entry("dataset-info", 200),
                entry("dataset-info", 500, "UnexpectedError"),
                entry("dataset-info", 404, "UnexpectedError"),
                entry("dataset-size", 500, "UnexpectedError"),
                entry("dataset-size", 500, "CreateCommitError"),
            ]
        )

        [counts] = stores.cache.collect_metrics()

        expected = {
            ("dataset-info", 200, None): 2,
            ("dataset-info", 500, "UnexpectedError"): 1,
            ("dataset-info", 404, "UnexpectedError"): 1,
            ("dataset-size", 500, "UnexpectedError"): 1,
            ("dataset-size", 500, "CreateCommitError"): 1,
        }
        assert stored(stores.databases, CACHE_TOTALS) == counts.by_group == expected
        assert (counts.total, counts.gone) == (6, ())

    def test_an_absent_error_code_is_null(self, stores: Stores) -> None:
        stores.databases.cache[CACHE].insert_many([entry("a", 200), entry_without_code("a", 200)])
        totals = stores.databases.cache[CACHE_TOTALS]
        totals.insert_one({"kind": "a", "http_status": 200, "total": 7, "created_at": LONG_AGO})

        stores.cache.collect_metrics()

        assert stored(stores.databases, CACHE_TOTALS) == {("a", 200, None): 2}

    def test_replace_old_counts_and_delete_those_of_absent_groups(self, stores: Stores) -> None:
        totals = stores.databases.cache[CACHE_TOTALS]
        for kind, code, total in (
            ("a", None, 7),
            ("a", "Gone", 3),
            ("gone", None, -2),
            ("gone too", None, 0),
        ):
            key = {"kind": kind, "http_status": 200, "error_code": code}
            totals.insert_one({**key, "total": total, "created_at": LONG_AGO})
        stores.databases.cache[CACHE].insert_many([entry("a", 200), entry("b", 200)])
        id_before = totals.find_one({"kind": "a", "error_code": None}, ["_id"])

        [counts] = stores.cache.collect_metrics()

        assert stored(stores.databases, CACHE_TOTALS) == {("a", 200, None): 1, ("b", 200, None): 1}
        assert totals.find_one({"kind": "a"}, ["_id"]) == id_before
        assert set(counts.gone) == {("a", 200, "Gone"), ("gone", 200, None), ("gone too", 200, None)}

    def test_are_the_same_when_collected_again(self, stores: Stores) -> None:
        stores.databases.cache[CACHE].insert_many([entry("a", 200), entry("a", 500, "Error")])
        stores.cache.collect_metrics()
        before = stored(stores.databases, CACHE_TOTALS)

        [counts] = stores.cache.collect_metrics()

        assert stored(stores.databases, CACHE_TOTALS) == before
        assert counts.gone == ()

    def test_do_not_exist_for_an_empty_cache(self, stores: Stores) -> None:
        stores.databases.cache[CACHE_TOTALS].insert_one(
            {"kind": "a", "http_status": 200, "error_code": None, "total": 1, "created_at": LONG_AGO}
        )

        [counts] = stores.cache.collect_metrics()

        assert stored(stores.databases, CACHE_TOTALS) == counts.by_group == {}

    def test_a_dry_run_counts_and_writes_nothing(self, stores: Stores) -> None:
        stores.databases.cache[CACHE].insert_one(entry("a", 200))
        totals = stores.databases.cache[CACHE_TOTALS]
        totals.insert_one(
            {"kind": "gone", "http_status": 200, "error_code": None, "total": 1, "created_at": LONG_AGO}
        )
        before = list(totals.find())

        [counts] = stores.cache.collect_metrics(dry_run=True)

        assert counts.by_group == {("a", 200, None): 1}
        assert counts.gone == (("gone", 200, None),)
        assert list(totals.find()) == before

    def test_a_group_that_comes_back_during_the_collection_is_not_deleted(
        self, stores: Stores, mongod: Mongod
    ) -> None:
        """A worker that writes an entry moves its count, which may be after the entries were counted."""
        totals = stores.databases.cache[CACHE_TOTALS]
        key = {"kind": "a", "http_status": 200, "error_code": None}
        totals.insert_one({**key, "total": 0, "created_at": LONG_AGO})
        after_counting = Watch("aggregate", lambda: totals.update_one(key, {"$inc": {"total": 1}}))

        with MongoClient[Document](mongod.uri, event_listeners=[after_counting]) as client:
            CacheStore(client[stores.databases.cache.name]).collect_metrics()

        document = totals.find_one(key)
        assert document is not None
        assert document["total"] == 1

    def test_are_read_from_the_index_alone(self, release: Release, mongod: Mongod) -> None:
        with MongoClient[Document](mongod.uri, event_listeners=[watch := Watch()]) as client:
            # Databases of its own: an index that has ever held an array, as of bad entries, covers nothing.
            cache, queue = client["test_index_cache"], client["test_index_queue"]
            create_indexes(cache, queue, release)
            entries = [entry(f"kind-{number % 3}", 200) for number in range(100)]
            cache[CACHE].insert_many([*entries, entry_without_code("kind-0", 200)])

            CacheStore(cache).collect_metrics()

            [command] = watch.of("aggregate")
            plan = explain(client, cache.name, command)
            for database in (cache, queue):
                client.drop_database(database)
        assert plan["totalDocsExamined"] == 0
        assert plan["totalKeysExamined"] == 101

    def test_are_counted_without_the_index_too(
        self, databases: Databases, caplog: pytest.LogCaptureFixture
    ) -> None:
        databases.cache[CACHE].insert_many([entry("a", 200), entry("a", 500, "Error")])
        databases.cache[CACHE].drop_indexes()

        [counts] = CacheStore(databases.cache).collect_metrics()

        assert counts.by_group == {("a", 200, None): 1, ("a", 500, "Error"): 1}
        assert "has no index (kind, http_status, error_code)" in caplog.text

    def test_no_reader_misses_a_count(self, stores: Stores, mongod: Mongod) -> None:
        """After each write, all groups are there that are there both before and after."""
        codes = [f"Error{number}" for number in range(50)]
        stores.databases.cache[CACHE].insert_many([entry("a", 500, code) for code in codes])
        stores.cache.collect_metrics()
        stores.databases.cache[CACHE].delete_many({"error_code": {"$in": codes[:10]}})
        totals = stores.databases.cache[CACHE_TOTALS]
        missing: list[set[str]] = []

        def read() -> None:
            missing.append(set(codes[10:]) - set(totals.distinct("error_code")))

        with MongoClient[Document](
            mongod.uri, event_listeners=[watch := Watch("update", read, "delete")]
        ) as client:
            CacheStore(client[stores.databases.cache.name]).collect_metrics()

        assert missing == [set(), set()]
        assert watch.names == ["find", "find", "aggregate", "update", "delete"]
        assert set(totals.distinct("error_code")) == set(codes[10:])


class TestQueueMetrics:
    def test_count_the_jobs_by_type_and_status(self, stores: Stores, release: Release) -> None:
        stores.databases.queue[JOBS].insert_many(
            [
                job("dataset-info", "waiting", 20),
                job("dataset-info", "waiting", 30),
                job("dataset-info", "started", 20),
                job("dataset-size", "waiting", 20),
            ]
        )

        totals, _ = stores.queue.collect_metrics()

        expected = in_release(
            release,
            {
                ("dataset-info", "waiting"): 2,
                ("dataset-info", "started"): 1,
                ("dataset-size", "waiting"): 1,
            },
        )
        assert stored(stores.databases, JOB_TOTALS) == totals.by_group == expected

    def test_count_jobs_of_any_status_by_worker_size(self, stores: Stores) -> None:
        difficulties = [0, 1, 40, 41, 70, 71, 72, 100, 101, None, "50"]
        stores.databases.queue[JOBS].insert_many(
            [
                job("a", "started" if number % 2 else "waiting", difficulty)
                for number, difficulty in enumerate(difficulties)
            ]
        )

        totals, sizes = stores.queue.collect_metrics()

        expected = {("light",): 2, ("medium",): 2, ("heavy",): 3}
        assert stored(stores.databases, WORKER_SIZES, "jobs_count") == sizes.by_group == expected
        assert totals.total == len(difficulties)

    def test_are_zero_for_each_worker_size_of_an_empty_queue(self, stores: Stores) -> None:
        stores.databases.queue[WORKER_SIZES].insert_one(
            {"worker_size": "heavy", "jobs_count": 5, "created_at": LONG_AGO}
        )

        stores.queue.collect_metrics()

        assert stored(stores.databases, JOB_TOTALS) == {}
        assert stored(stores.databases, WORKER_SIZES, "jobs_count") == {
            ("light",): 0,
            ("medium",): 0,
            ("heavy",): 0,
        }

    def test_replace_old_counts_and_delete_those_of_absent_groups(
        self, stores: Stores, release: Release
    ) -> None:
        jobs = stores.databases.queue[JOBS]
        jobs.insert_many([job("a", "waiting", 20), job("b", "waiting", 80)])
        stores.queue.collect_metrics()
        jobs.delete_many({"type": "b"})
        jobs.insert_one(job("a", "waiting", 50))

        totals, sizes = stores.queue.collect_metrics()

        assert stored(stores.databases, JOB_TOTALS) == in_release(release, {("a", "waiting"): 2})
        assert list(in_release(release, {("b", "waiting"): 1})) == list(totals.gone)
        assert sizes.by_group == {("light",): 1, ("medium",): 1, ("heavy",): 0}
        assert stored(stores.databases, WORKER_SIZES, "jobs_count") == sizes.by_group

    def test_a_dry_run_counts_and_writes_nothing(self, stores: Stores) -> None:
        stores.databases.queue[JOBS].insert_one(job("a", "waiting", 20))

        totals, sizes = stores.queue.collect_metrics(dry_run=True)

        assert (totals.total, sizes.total) == (1, 1)
        assert stored(stores.databases, JOB_TOTALS) == {}
        assert stored(stores.databases, WORKER_SIZES, "jobs_count") == {}

    def test_read_each_job_once(self, stores: Stores, mongod: Mongod, release: Release) -> None:
        stores.databases.queue[JOBS].insert_many([job(f"type-{n % 3}", "waiting", n) for n in range(100)])
        name = stores.databases.queue.name

        with MongoClient[Document](mongod.uri, event_listeners=[watch := Watch()]) as client:
            QueueStore(client[name], release).collect_metrics()

        [command] = watch.of("aggregate")
        assert explain(stores.databases.queue.client, name, command)["totalDocsExamined"] == 100
        reads = ["find"] if release.queue_knows_blocked_datasets else []
        assert watch.names == ["find", "find", "find", *reads, "aggregate", "update", "update"]


class TestBlockedDatasets:
    @pytest.fixture(autouse=True)
    def jobs(self, stores: Stores) -> None:
        stores.databases.queue[JOBS].insert_many(
            [
                job("a", "waiting", 20, dataset="free"),
                job("a", "waiting", 20, dataset="$blocked"),
                job("a", "waiting", 80, dataset="$blocked"),
                job("a", "started", 80, dataset="user/blocked"),
            ]
        )
        stores.databases.queue[BLOCKAGES].insert_many(
            [
                {"dataset": name, "blocked_at": datetime.now(UTC)}
                for name in ("$blocked", "user/blocked", "other")
            ]
        )

    @pytest.mark.parametrize("release_name", WITH_BLOCKAGES)
    def test_are_counted_apart_and_not_by_worker_size(self, stores: Stores) -> None:
        stores.queue.collect_metrics()

        assert stored(stores.databases, JOB_TOTALS) == {
            ("a", "waiting", "normal"): 1,
            ("a", "waiting", "blocked"): 2,
            ("a", "started", "blocked"): 1,
        }
        assert stored(stores.databases, WORKER_SIZES, "jobs_count") == {
            ("light",): 1,
            ("medium",): 0,
            ("heavy",): 0,
        }

    @pytest.mark.parametrize("release_name", WITH_BLOCKAGES)
    def test_are_normal_once_the_blockage_ends(self, stores: Stores) -> None:
        stores.queue.collect_metrics()
        stores.databases.queue[BLOCKAGES].delete_many({})

        stores.queue.collect_metrics()

        assert stored(stores.databases, JOB_TOTALS) == {
            ("a", "waiting", "normal"): 3,
            ("a", "started", "normal"): 1,
        }

    @pytest.mark.parametrize("release_name", WITH_BLOCKAGES)
    def test_totals_of_the_release_before_are_deleted(self, stores: Stores) -> None:
        stores.databases.queue[JOB_TOTALS].insert_one(
            {"job_type": "a", "status": "waiting", "total": 3, "created_at": LONG_AGO}
        )

        totals, _ = stores.queue.collect_metrics()

        assert totals.gone == (("a", "waiting", None),)
        assert stored(stores.databases, JOB_TOTALS) == totals.by_group

    @pytest.mark.parametrize("release_name", WITHOUT_BLOCKAGES)
    def test_are_unknown_to_a_release_without_blockages(self, stores: Stores) -> None:
        stores.queue.collect_metrics()

        assert stored(stores.databases, JOB_TOTALS) == {("a", "waiting"): 3, ("a", "started"): 1}
        assert stored(stores.databases, WORKER_SIZES, "jobs_count") == {
            ("light",): 2,
            ("medium",): 0,
            ("heavy",): 2,
        }


@pytest.mark.parametrize("release_name", [DEFAULT_RELEASE])
class TestHistory:
    COUNTS = Counts("cache.entries", ("kind", "http_status", "error_code"), {("a", 200, None): 2})
    ALWAYS = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))

    @pytest.fixture(autouse=True)
    def no_history(self, stores: Stores) -> Iterator[None]:
        yield
        stores.databases.maintenance.drop_collection("metricsHistory")

    def test_is_one_document_for_each_collection(self, stores: Stores) -> None:
        for _ in range(2):
            stores.maintenance.add_metrics("collect-cache-metrics", [self.COUNTS], timedelta(days=90))
        stores.maintenance.add_metrics("collect-queue-metrics", [], timedelta(days=90))

        first, second = stores.maintenance.metrics_history("collect-cache-metrics", *self.ALWAYS)

        assert first["collected_at"] <= second["collected_at"]
        assert first["counts"] == [
            {"name": "cache.entries", "kind": "a", "http_status": 200, "error_code": None, "count": 2}
        ]

    def test_shows_a_group_that_is_gone_at_zero(self, stores: Stores) -> None:
        gone = Counts("queue.jobs", ("job_type", "status"), {}, (("a", "waiting"),))

        stores.maintenance.add_metrics("collect-queue-metrics", [gone], timedelta(days=90))

        [document] = stores.maintenance.metrics_history("collect-queue-metrics", *self.ALWAYS)
        assert document["counts"] == [
            {"name": "queue.jobs", "job_type": "a", "status": "waiting", "count": 0}
        ]

    def test_keeps_what_is_younger_than_the_given_days(self, stores: Stores) -> None:
        history = stores.databases.maintenance["metricsHistory"]
        ages = {"collect-cache-metrics": (8, 6, 1), "collect-queue-metrics": (8,)}
        now = datetime.now(UTC)
        history.insert_many(
            [
                {"action": action, "collected_at": now - timedelta(days=days), "counts": [], "age": days}
                for action, all_days in ages.items()
                for days in all_days
            ]
        )

        stores.maintenance.add_metrics("collect-cache-metrics", [self.COUNTS], timedelta(days=7))

        kept = [(document["action"], document.get("age", 0)) for document in history.find()]
        assert sorted(kept) == [
            ("collect-cache-metrics", 0),
            ("collect-cache-metrics", 1),
            ("collect-cache-metrics", 6),
            ("collect-queue-metrics", 8),
        ]

    @pytest.mark.parametrize("days", [7, 90, 365])
    def test_is_no_longer_deleted_by_the_index_of_an_earlier_version(self, stores: Stores, days: int) -> None:
        history = stores.databases.maintenance["metricsHistory"]
        history.create_index("collected_at", expireAfterSeconds=90 * 86_400)
        history.insert_one({"action": "collect-cache-metrics", "collected_at": datetime.now(UTC)})

        for _ in range(2):
            stores.maintenance.add_metrics("collect-cache-metrics", [self.COUNTS], timedelta(days=days))

        indexes = history.index_information().values()
        assert [index for index in indexes if "expireAfterSeconds" in index] == []
        assert history.count_documents({}) == 3

    def test_needs_no_more_than_the_role_read_write(self, tmp_path: Path) -> None:
        with Mongod(tmp_path, cache_gigabytes=0.25, auth=("root", "root")) as server:
            with MongoClient[Document](server.uri) as root:
                roles = [{"role": "readWrite", "db": "own"}]
                root.admin.command("createUser", "writer", pwd="writer", roles=roles)
                root["own"]["metricsHistory"].create_index("collected_at", expireAfterSeconds=90 * 86_400)
            with MongoClient[Document](
                server.host, server.port, username="writer", password="writer", directConnection=True
            ) as client:
                for days in (90, 7):
                    MaintenanceStore(client["own"]).add_metrics(
                        "collect-cache-metrics", [self.COUNTS], timedelta(days=days)
                    )

                assert client["own"]["metricsHistory"].count_documents({}) == 2


def test_the_report_shows_the_largest_groups() -> None:
    counts = Counts("queue.jobs", ("job_type", "status"), {(f"type-{n}", "waiting"): n for n in range(1_000)})

    report = metrics_report([counts], 1.234, dry_run=False)

    assert report["counted"] == {"queue.jobs": 499_500}
    assert report["groups_written"] == {"queue.jobs": 1_000}
    assert report["groups_deleted"] == {"queue.jobs": 0}
    assert report["duration_seconds"] == 1.2
    assert len(report["largest_groups"]) == 20
    assert report["largest_groups"][0] == "queue.jobs, type-999, waiting: 999"


class Watch(CommandListener):
    """Sees the commands of a client, and calls ``do`` after each of the named ones."""

    def __init__(self, command: str = "", do: Callable[[], object] | None = None, *more: str) -> None:
        self._commands = (command, *more)
        self._do = do
        self.commands: list[Document] = []

    @property
    def names(self) -> list[str]:
        """The names of the commands that belong to a store."""
        return [next(iter(command)) for command in self.commands]

    def of(self, name: str) -> list[Document]:
        return [command for command in self.commands if name in command]

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name not in ("hello", "ping", "endSessions"):
            self.commands.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if self._do and event.command_name in self._commands:
            self._do()

    def failed(self, event: CommandFailedEvent) -> None: ...


def explain(client: MongoClient[Document], database: str, command: Document) -> Document:
    """Run a command as it was sent, and tell what it examined."""
    fields = {
        field: value
        for field, value in command.items()
        if field in ("aggregate", "pipeline", "hint", "cursor")
    }
    plan = client[database].command("explain", fields, verbosity="executionStats")
    [stage] = plan.get("stages", [{"$cursor": plan}])[:1]
    stats: Document = stage["$cursor"]["executionStats"]
    return stats
