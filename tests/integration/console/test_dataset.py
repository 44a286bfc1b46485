"""One dataset as the console shows it, on a real MongoDB and the Hub's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from dev.local_stack.documents import CACHE, JOBS, as_error, new_job
from dev.local_stack.hub_server import Fault, HubDataset, HubServer, RateLimit
from include.actions.backfill.proofs import fingerprint
from include.console import dataset as console
from include.console.dataset import DatasetView, Outcome, ask_hub, no_waiting, read_dataset
from include.console.matrix import State
from include.databases import dataset_reader
from include.databases.dataset_reader import DatasetReader
from include.databases.proof_store import Proof
from include.errors import ServiceError
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.planning.dataset_state import JobStatus
from include.planning.plan import Reason, plan_dataset
from include.planning.processing_graph import Level, Release
from tests.builders import DATASET, NOON, OTHER_REVISION, REVISION, insert_up_to_date
from tests.integration.conftest import Stores
from tests.releases import releases_that

DATA = HubDataset(DATASET, REVISION, tags=("modality:text",))


@pytest.fixture
def view_of(stores: Stores, shared_hub: HubServer, release: Release) -> Any:
    databases = stores.databases
    reader = DatasetReader(databases.cache, databases.queue, databases.maintenance, release)

    def read(name: str = DATASET, blocked: Sequence[str] = ()) -> DatasetView:
        hub = Hub(shared_hub.url, "token", release, BlockList.parse(tuple(blocked)), sleep=no_waiting)
        return read_dataset(reader, partial(ask_hub, hub), release, name)

    return read


def change(stores: Stores, kind: str, **fields: object) -> None:
    changed = stores.databases.cache[CACHE].update_many({"kind": kind}, {"$set": fields})
    assert changed.modified_count


def add_job(stores: Stores, release: Release, kind: str, **fields: Any) -> None:
    fields = {"revision": REVISION, "created_at": NOON, **fields}
    stores.databases.queue[JOBS].insert_one(new_job(release.step(kind), DATASET, **fields))


def test_an_up_to_date_dataset_has_nothing_to_do(
    stores: Stores, shared_hub: HubServer, release: Release, view_of: Any
) -> None:
    insert_up_to_date(stores.databases.cache, release)
    shared_hub.state.put(DATA)

    view = view_of()

    assert (view.hub.supported, view.hub.revision, view.compared_with) == (True, REVISION, REVISION)
    assert view.hub.info.tags == {"modality:text"}
    assert view.backfill.outcome is Outcome.NOTHING
    assert set(view.artifacts.totals) == {State.UP_TO_DATE}
    assert not view.troubles
    assert not view.jobs
    assert view.problem == ""


def test_only_one_large_dataset_is_read_at_a_time(
    stores: Stores, release: Release, view_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_up_to_date(stores.databases.cache, release)
    monkeypatch.setattr(console, "_LONGEST_WAIT_SECONDS", 0.01)

    with console._large:
        assert view_of().artifacts
        monkeypatch.setattr(console, "LARGE", 1)
        with pytest.raises(ServiceError, match="Another large dataset is being read"):
            view_of()
    assert view_of().weight == view_of().size.entries > 0


def test_what_a_backfill_would_do_is_what_the_plan_says(
    stores: Stores, shared_hub: HubServer, release: Release, view_of: Any
) -> None:
    insert_up_to_date(stores.databases.cache, release, splits={"a": ["train"], "b": ["train", "test"]})
    shared_hub.state.put(DATA)
    change(stores, "split-first-rows", dataset_git_revision=OTHER_REVISION)
    change(stores, "dataset-info", job_runner_version=0)
    add_job(stores, release, "split-first-rows", config="a", split="train")
    add_job(stores, release, "dataset-size")
    add_job(stores, release, "dataset-hub-cache", status=JobStatus.STARTED, revision=OTHER_REVISION)

    view = view_of()

    [cached], [jobs] = stores.cache.read([DATASET]).values(), stores.queue.pending_jobs([DATASET]).values()
    plan = plan_dataset(release, cached, jobs, REVISION)  # type: ignore[arg-type]
    assert view.backfill.outcome is Outcome.JOBS
    assert view.backfill.created == {"split-first-rows": 2, "dataset-info": 1}
    assert view.backfill.created.total() == len(plan.new_jobs)
    assert view.backfill.reasons == {Reason.OTHER_REVISION: 2, Reason.OBSOLETE: 1}
    assert view.backfill.deleted == {"dataset-size": 1}
    assert {each.trouble.what: each.backfill for each in view.troubles} == {
        "split-first-rows": "computes 2 of them: the others have pending jobs",
        "dataset-info": "computes it",
    }
    assert [(each.job.type, each.is_deleted) for each in view.jobs] == [
        ("dataset-hub-cache", False),
        ("split-first-rows", False),
        ("dataset-size", True),
    ]
    assert sum(view.artifacts.matrices[Level.SPLIT].window().rows[0].has_job) == 1


def test_an_error_comes_with_its_message(
    stores: Stores, shared_hub: HubServer, release: Release, view_of: Any
) -> None:
    insert_up_to_date(stores.databases.cache, release)
    shared_hub.state.put(DATA)
    fields: dict[str, Any] = {}
    as_error(fields, "CreateCommitError", 1)
    change(stores, "config-parquet-and-info", **fields)

    [trouble] = view_of().troubles

    assert trouble.trouble.state is State.ERROR_TO_RETRY
    assert trouble.trouble.what == "CreateCommitError"
    assert trouble.trouble.example == ("config-parquet-and-info", "config", None)
    assert trouble.message.text == "The job failed with CreateCommitError."
    assert trouble.backfill == "retries it"


@pytest.mark.parametrize("code", ["CreateCommitError", "Odd"])
def test_an_error_that_stays_says_why(
    stores: Stores, shared_hub: HubServer, release: Release, view_of: Any, code: str
) -> None:
    insert_up_to_date(stores.databases.cache, release)
    shared_hub.state.put(DATA)
    fields: dict[str, Any] = {}
    maximum = release.max_failed_runs.get(code)
    as_error(fields, code, maximum or 0)
    change(stores, "config-parquet-and-info", **fields)

    [trouble] = view_of().troubles

    why = f"none of {maximum} retries is left" if maximum else "this error is not retried"
    assert (trouble.trouble.state, trouble.backfill) == (State.ERROR, f"nothing: {why}")


def test_a_backfill_does_nothing_about_a_dataset_that_is_not_cached(
    shared_hub: HubServer, view_of: Any
) -> None:
    shared_hub.state.put(DATA)

    assert {each.backfill for each in view_of().troubles} == {"nothing: the dataset is not in the cache"}


def test_a_pending_job_is_why_a_backfill_does_nothing(
    stores: Stores, shared_hub: HubServer, release: Release, view_of: Any
) -> None:
    insert_up_to_date(stores.databases.cache, release)
    shared_hub.state.put(DATA)
    change(stores, "dataset-info", job_runner_version=0)
    add_job(stores, release, "dataset-info")

    [trouble] = view_of().troubles

    assert (trouble.trouble.state, trouble.backfill) == (State.OBSOLETE, "nothing: a job is pending")


@pytest.mark.parametrize(
    ("dataset", "blocked", "why"),
    [
        (None, (), "it is not found on the Hub"),
        (replace(DATA, disabled=True), (), "it is disabled on the Hub"),
        (replace(DATA, card_data={"viewer": False}), (), "its card turns the viewer off"),
        (DATA, (DATASET,), "it is on the block list"),
    ],
)
def test_an_unsupported_dataset_would_be_removed(
    stores: Stores,
    shared_hub: HubServer,
    release: Release,
    view_of: Any,
    dataset: HubDataset | None,
    blocked: Sequence[str],
    why: str,
) -> None:
    insert_up_to_date(stores.databases.cache, release)
    if dataset is not None:
        shared_hub.state.put(dataset)

    view = view_of(blocked=blocked)

    assert (view.hub.supported, view.hub.text) == (False, why)
    assert (view.backfill.outcome, view.backfill.why) == (Outcome.REMOVAL, f"The Hub says that {why}.")
    assert not view.backfill.created
    assert view.compared_with == REVISION


@pytest.mark.parametrize("fault", ["server_error", "unauthorized", "garbage"])
def test_a_hub_that_fails_leaves_the_rest_of_the_view(
    stores: Stores, shared_hub: HubServer, release: Release, view_of: Any, fault: Fault
) -> None:
    insert_up_to_date(stores.databases.cache, release)
    shared_hub.state.put(replace(DATA, fault=fault))

    view = view_of()

    assert view.hub.supported is None
    assert "the Hub did not answer" in view.hub.text
    assert view.backfill.outcome is Outcome.UNKNOWN
    assert set(view.artifacts.totals) == {State.UP_TO_DATE}


def test_a_view_waits_neither_for_the_rate_limit_nor_long_for_an_answer(
    stores: Stores, shared_hub: HubServer, release: Release, view_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_up_to_date(stores.databases.cache, release)
    shared_hub.state.rate_limit = RateLimit(0, 300)
    assert "rate limit" in view_of().hub.text

    shared_hub.state.rate_limit = None
    shared_hub.state.put(replace(DATA, fault="timeout"))
    shared_hub.state.hang_seconds = 3
    monkeypatch.setattr(console, "HUB_SECONDS", 0.2)
    assert "no complete answer within 0.2 s" in view_of().hub.text


@pytest.mark.parametrize("release_name", releases_that(lambda release: release.rebuilds_incoherent_caches))
def test_an_incoherent_dataset_would_be_rebuilt(
    stores: Stores, shared_hub: HubServer, release: Release, view_of: Any
) -> None:
    insert_up_to_date(stores.databases.cache, release, splits={"a": ["train"]})
    shared_hub.state.put(DATA)
    change(stores, "split-first-rows", split="gone")

    view = view_of()

    assert view.backfill.outcome is Outcome.REBUILD
    assert view.backfill.why == (
        "It has an entry of a split that is not listed: split-first-rows of a / gone."
    )
    assert set(view.backfill.reasons) == {Reason.EMPTY}
    assert [entry.split for entry in view.artifacts.unexpected] == ["gone"]


def test_a_rebuild_that_was_interrupted_goes_on(
    stores: Stores, shared_hub: HubServer, release: Release, view_of: Any
) -> None:
    shared_hub.state.put(DATA)
    stores.maintenance.start_rebuilds([DATASET])

    view = view_of()

    assert (view.backfill.outcome, view.backfill.why) == (Outcome.REBUILD, "Its rebuild was interrupted.")


def test_a_dataset_that_is_not_cached_is_none_of_a_backfill(
    stores: Stores, shared_hub: HubServer, release: Release, view_of: Any
) -> None:
    add_job(stores, release, "dataset-config-names")
    shared_hub.state.put(DATA)

    view = view_of()

    assert view.backfill.outcome is Outcome.NOT_CACHED
    assert view.hub.supported


def test_the_hub_is_not_asked_about_what_nothing_here_knows(shared_hub: HubServer, view_of: Any) -> None:
    shared_hub.state.put(DATA)
    asked = shared_hub.state.requests

    view = view_of()

    assert view.backfill.outcome is Outcome.NOT_CACHED
    assert view.hub.supported is None
    assert "nothing here knows this dataset" in view.hub.text
    assert shared_hub.state.requests == asked


def test_a_name_that_the_hub_cannot_have_is_no_error(stores: Stores, release: Release, view_of: Any) -> None:
    name = "<script>alert(1)</script>"
    insert_up_to_date(stores.databases.cache, release, name)

    view = view_of(name)

    assert view.hub.supported is None
    assert view.backfill.outcome is Outcome.UNKNOWN


def test_a_dataset_with_too_many_entries_is_not_read(
    stores: Stores, shared_hub: HubServer, release: Release, view_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_reader, "MAX_ENTRIES", 10)
    insert_up_to_date(stores.databases.cache, release)
    shared_hub.state.put(DATA)

    view = view_of()

    assert view.artifacts is None
    assert "too many to be read here" in view.problem
    assert (view.backfill.outcome, view.backfill.why) == (Outcome.UNKNOWN, view.problem)
    assert view.hub.supported


def test_a_malformed_entry_is_said(
    stores: Stores, shared_hub: HubServer, release: Release, view_of: Any
) -> None:
    insert_up_to_date(stores.databases.cache, release)
    shared_hub.state.put(DATA)
    change(stores, "dataset-info", failed_runs="many")

    view = view_of()

    assert view.artifacts is None
    assert "failed_runs" in view.problem


def test_its_removal_is_shown(stores: Stores, shared_hub: HubServer, view_of: Any) -> None:
    stores.maintenance.removal_ledger().begin("run", {DATASET: "it is not found on the Hub"}, limit=1)

    removal = view_of().removal

    assert (removal.reason, removal.finished) == ("it is not found on the Hub", False)
    assert datetime.now(UTC) - removal.begun_at < timedelta(minutes=1)


def test_its_restore_is_shown_until_it_is_removed_again(
    stores: Stores, shared_hub: HubServer, view_of: Any
) -> None:
    ledger, restores = stores.maintenance.removal_ledger(), stores.maintenance.restores()
    ledger.begin("run", {DATASET: "it is not found on the Hub"}, limit=1)
    removed = view_of()
    restores.note(DATASET, "restore-datasets one")
    restored = view_of()
    ledger.begin("another run", {DATASET: "it is not found on the Hub"}, limit=1)
    removed_again = view_of()

    assert (removed.is_removed, restored.is_removed, removed_again.is_removed) == (True, False, True)
    assert restored.restore.run == "restore-datasets one"
    assert removed_again.restore is None


def test_a_restore_is_shown_even_if_the_removal_is_too_long_ago(
    stores: Stores, shared_hub: HubServer, view_of: Any
) -> None:
    stores.maintenance.restores().note(DATASET, "restore-datasets one")

    view = view_of()

    assert (view.removal, view.is_removed) == (None, False)
    assert view.restore.run == "restore-datasets one"


class TestRecord:
    @pytest.fixture(autouse=True)
    def proven(self, stores: Stores, shared_hub: HubServer, release: Release) -> None:
        insert_up_to_date(stores.databases.cache, release)
        shared_hub.state.put(DATA)
        entries = stores.databases.cache[CACHE].count_documents({})
        proofs = stores.maintenance.proofs(stores.databases.cache.name)
        proofs.keep({DATASET: Proof(REVISION, entries, entries)}, fingerprint(release))
        proofs.note_look(NOON.replace(tzinfo=UTC) + timedelta(days=1))

    def test_it_holds_if_nothing_has_changed(self, view_of: Any) -> None:
        assert view_of().record.holds

    def test_it_does_not_hold_with_another_number_of_entries(self, stores: Stores, view_of: Any) -> None:
        stores.databases.cache[CACHE].delete_one({})

        record = view_of().record

        assert (record.holds, record.why_not) == (False, f"It has {record.entries - 1} entries now.")

    def test_it_does_not_hold_at_another_revision(self, shared_hub: HubServer, view_of: Any) -> None:
        shared_hub.state.put(replace(DATA, sha=OTHER_REVISION))

        assert view_of().record.why_not == f"The Hub has revision {OTHER_REVISION} now."

    def test_it_does_not_hold_if_an_entry_was_updated(self, stores: Stores, view_of: Any) -> None:
        change(stores, "dataset-info", updated_at=NOON + timedelta(days=2))

        assert view_of().record.why_not == "An entry may have been updated since."

    def test_it_does_not_hold_while_jobs_are_pending(
        self, stores: Stores, release: Release, view_of: Any
    ) -> None:
        add_job(stores, release, "dataset-info")

        assert view_of().record.why_not == "It has pending jobs."

    def test_another_dataset_has_none(self, view_of: Any) -> None:
        assert view_of("user/other").record is None
