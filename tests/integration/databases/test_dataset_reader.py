"""What the page of a dataset reads, on a real MongoDB with the indexes of datasets-server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS

from dev.local_stack.documents import BLOCKAGES, CACHE, JOBS, new_job
from include.databases import dataset_reader
from include.databases.bounded import MAX_TIME_MS
from include.databases.dataset_reader import DatasetReader, Size
from include.databases.error_messages import ErrorMessage
from include.databases.proof_store import Proof
from include.errors import DatasetError
from include.planning.processing_graph import Release
from tests.builders import DATASET, NOON, REVISION, insert_up_to_date
from tests.integration.conftest import Stores
from tests.integration.databases.test_cache_store import NAMES_OF_EVERY_SORT, entry
from tests.integration.profiling import profiled

Document = dict[str, Any]


@pytest.fixture
def reader(stores: Stores, release: Release) -> DatasetReader:
    databases = stores.databases
    return DatasetReader(databases.cache, databases.queue, databases.maintenance, release)


def insert(stores: Stores, *entries: Document) -> None:
    stores.databases.cache[CACHE].insert_many(entries)


class TestNames:
    @pytest.mark.parametrize("prefix", ["", "s", "squad", "user/", "USER/", "user/\U0001f917", "none"])
    def test_those_that_begin_with_the_text_in_their_order(
        self, stores: Stores, reader: DatasetReader, prefix: str
    ) -> None:
        for kind in ("dataset-info", "dataset-size"):
            insert(stores, *(entry(name, kind) for name in NAMES_OF_EVERY_SORT))

        by_utf8 = sorted(NAMES_OF_EVERY_SORT, key=str.encode)
        assert reader.names(prefix, 100) == [name for name in by_utf8 if name.startswith(prefix)]
        assert reader.names(prefix, 3) == [name for name in by_utf8 if name.startswith(prefix)][:3]

    def test_one_key_of_the_index_is_read_for_each_name_however_many_entries_it_has(
        self, stores: Stores, reader: DatasetReader
    ) -> None:
        for name in ("a/1", "a/2", "b"):
            insert(stores, *(entry(name, config=f"{number}") for number in range(500)))

        with profiled(stores.databases.cache) as commands:
            assert reader.names("a/") == ["a/1", "a/2"]

        assert sum(command["keysExamined"] for command in commands) <= 3
        assert sum(command["docsExamined"] for command in commands) == 0


class TestSize:
    def test_the_entries_and_the_pending_jobs_of_one_dataset(
        self, stores: Stores, reader: DatasetReader, release: Release
    ) -> None:
        insert(stores, entry(), entry(kind="dataset-size"), entry("user/dataset2"))
        job = new_job(release.step("dataset-info"), DATASET, REVISION, created_at=NOON)
        stores.databases.queue[JOBS].insert_one(job)

        assert reader.size(DATASET) == Size(2, 1)
        assert reader.size("none") == Size(0, 0)

    def test_counting_ends_when_there_are_too_many(
        self, stores: Stores, reader: DatasetReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dataset_reader, "MAX_ENTRIES", 10)
        insert(stores, *(entry(config=f"{number}") for number in range(500)))

        with profiled(stores.databases.cache) as commands:
            size = reader.size(DATASET)

        assert size == Size(11, 0)
        assert size.has_too_many
        assert sum(command["keysExamined"] for command in commands) <= 12


class TestState:
    def test_the_entries_and_the_jobs(self, stores: Stores, reader: DatasetReader, release: Release) -> None:
        insert_up_to_date(stores.databases.cache, release)
        job = new_job(release.step("dataset-info"), DATASET, REVISION, created_at=NOON)
        stores.databases.queue[JOBS].insert_one(job)

        state = reader.state(DATASET)

        assert state.cached == stores.cache.read([DATASET])[DATASET]
        assert state.jobs == stores.queue.pending_jobs([DATASET])[DATASET]
        assert reader.state(DATASET, at_one_moment=True) == state

    def test_each_query_has_a_time_limit_and_uses_an_index(
        self, stores: Stores, reader: DatasetReader, release: Release
    ) -> None:
        insert_up_to_date(stores.databases.cache, release)

        with profiled(stores.databases.cache) as commands:
            reader.size(DATASET)
            reader.state(DATASET)
            reader.message(DATASET, ("dataset-info", None, None))
            reader.names("user")

        assert len(commands) >= 5
        assert all(0 < command["command"]["maxTimeMS"] <= MAX_TIME_MS for command in commands)
        assert not [command for command in commands if "COLLSCAN" in command["planSummary"]]

    def test_a_malformed_entry_is_an_error_of_its_dataset(
        self, stores: Stores, reader: DatasetReader
    ) -> None:
        insert(stores, entry(failed_runs="many"))

        with pytest.raises(DatasetError, match="failed_runs"):
            reader.state(DATASET)


class TestMessage:
    def test_the_message_and_its_cause_are_cut(self, stores: Stores, reader: DatasetReader) -> None:
        long = "\U0001f917" * 1_000
        content = {"error": long, "cause_exception": "OSError", "cause_message": long, "rows": ["x"] * 1_000}
        insert(stores, entry(http_status=500, content=content))

        message = reader.message(DATASET, ("dataset-info", None, None))

        assert message == ErrorMessage(long[:500], "OSError", long[:500])

    def test_the_details_have_what_the_content_has_not(self, stores: Stores, reader: DatasetReader) -> None:
        copied_from = {"kind": "config-info", "dataset": DATASET, "config": "a", "split": None}
        details = {"error": "It failed.", "copied_from_artifact": copied_from}
        insert(stores, entry(http_status=500, content={"error": ["odd"]}, details=details))

        message = reader.message(DATASET, ("dataset-info", None, None))

        assert message == ErrorMessage("It failed.", copied_from=("config-info", "a", None))

    @pytest.mark.parametrize("content", [None, [], "text", {"error": 5}, {"error": None}])
    def test_a_content_of_any_type_has_no_message(
        self, stores: Stores, reader: DatasetReader, content: object
    ) -> None:
        insert(stores, entry(http_status=500, content=content))

        assert reader.message(DATASET, ("dataset-info", None, None)) == ErrorMessage()

    def test_an_artifact_without_an_entry_has_none(self, reader: DatasetReader) -> None:
        assert reader.message(DATASET, ("dataset-info", None, None)) is None


class TestRateLimit:
    def test_since_when_the_queue_holds_a_dataset_back(
        self, stores: Stores, reader: DatasetReader, release: Release
    ) -> None:
        stores.databases.queue[BLOCKAGES].insert_one({"dataset": DATASET, "blocked_at": NOON})

        since = NOON.replace(tzinfo=UTC) if release.queue_knows_blocked_datasets else None
        assert reader.rate_limited_since(DATASET) == since
        assert reader.rate_limited_since("other") is None

    def test_rate_limited_since_a_date_that_python_cannot_hold(
        self, stores: Stores, reader: DatasetReader
    ) -> None:
        blockage = {"dataset": DATASET, "blocked_at": DatetimeMS(10**15)}
        stores.databases.queue[BLOCKAGES].insert_one(blockage)

        assert reader.rate_limited_since(DATASET) is None


class TestOwnRecords:
    def test_removal_rebuild_and_proof(self, stores: Stores, reader: DatasetReader) -> None:
        own, proofs = stores.maintenance, stores.maintenance.proofs(stores.databases.cache.name)
        own.removal_ledger().begin("a run", {DATASET: "it is gone"}, limit=5)
        own.start_rebuilds([DATASET])
        own.restores().note(DATASET, "another run")
        proofs.keep({DATASET: Proof(REVISION, 5, 5)}, "rules")
        proofs.note_look(datetime(2026, 1, 31, tzinfo=UTC))

        records = reader.own_records(DATASET, "rules")

        assert records.is_rebuilt
        assert records.removal is not None
        assert (records.removal.reason, records.removal.run) == ("it is gone", "a run")
        assert not records.removal.finished
        assert records.restore is not None
        assert records.restore.run == "another run"
        assert records.proof == Proof(REVISION, 5, 5)
        assert records.look is not None

    def test_a_dataset_that_maintenance_has_never_seen_has_none(self, reader: DatasetReader) -> None:
        records = reader.own_records("none", "rules")

        assert (records.is_rebuilt, records.removal, records.restore, records.proof) == (
            False,
            None,
            None,
            None,
        )
