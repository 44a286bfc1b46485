"""A run that leaves out what has not changed writes exactly what one that reads everything does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bson import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.errors import WriteError

from dev.local_stack.documents import (
    CACHE,
    JOBS,
    Shape,
    create_indexes,
    new_job,
    up_to_date_entries,
    utc_now,
)
from dev.local_stack.hub_server import HubDataset, HubServer
from include.actions.backfill.pipeline import Backfill, BackfillOptions
from include.actions.backfill.proofs import (
    Proofs,
    changed_since_last_look,
    fingerprint,
    look_for_changes,
    time_since_all_was_read,
)
from include.actions.backfill.removal import Remover
from include.actions.backfill.report import BackfillSummary
from include.actions.refresh_datasets import Refresher
from include.databases.cache_store import CacheStore
from include.databases.fence import LostRightError
from include.databases.maintenance_store import MaintenanceStore
from include.databases.proof_store import COLLECTION, LOOKS, Proof, ProofStore
from include.databases.queue_store import QueueStore
from include.hub.answers import ListedDataset
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.planning.dataset_state import JobStatus
from include.planning.processing_graph import Release, load_release
from include.planning.refresh import Refresh
from tests.builders import NOON, OTHER_REVISION, REVISION, put_listing
from tests.conftest import Databases
from tests.integration.actions.killed_run import Action, is_killed

Document = dict[str, Any]

NAMES = ("squad", "user/a", "user/b", "user/c")
CONFIGS = ("one", "two")
REVISIONS = (REVISION, OTHER_REVISION)
RETRYABLE, NOT_RETRYABLE = "ConnectionError", "EmptyDatasetError"
#: By how much the clocks of the workers may be off, and by how much they are off here at most.
TOLERANCE = timedelta(hours=1)
MOST_OFF = TOLERANCE - timedelta(seconds=1)


@dataclass
class World:
    """A cache, a queue and a database of our own."""

    databases: Databases
    hub_server: HubServer
    release: Release
    root: Path
    removed: dict[str, list[Document]] = field(default_factory=dict)

    @property
    def cache(self) -> CacheStore:
        return CacheStore(self.databases.cache)

    @property
    def maintenance(self) -> MaintenanceStore:
        return MaintenanceStore(self.databases.maintenance)

    @property
    def proof_store(self) -> ProofStore:
        return self.maintenance.proofs(self.databases.cache.name)

    @property
    def proofs(self) -> Proofs:
        return Proofs(self.proof_store, fingerprint(self.release))

    def list_hub(self) -> str:
        """List the Hub as it is now, and return the id of the listing."""
        for old in self.maintenance.listings().all():
            self.maintenance.listings().drop(old)
        hosted = self.hub_server.state.datasets
        listed = (ListedDataset(name, dataset.sha) for name, dataset in hosted.items())
        return put_listing(self.maintenance.listings(), *listed, release=self.release.name).id

    def backfill(self, proofs: Proofs | None = None, *, dry_run: bool = False) -> BackfillSummary:
        """Backfill everything, after a new listing of the Hub."""
        cache, queue = self.cache, QueueStore(self.databases.queue, self.release)
        return Backfill(
            "run",
            self.release,
            cache,
            queue,
            self.maintenance.with_listing(self.list_hub()),
            Hub(self.hub_server.url, "hf_token", self.release, BlockList()),
            Remover(cache, queue, ()),
            BackfillOptions(batch_size=2, dry_run=dry_run),
            proofs=proofs,
        ).run([*self.maintenance.unfinished_rebuilds(), *cache.dataset_names()])

    def look_and_backfill(self) -> BackfillSummary:
        """Backfill what has changed, as the tasks of a run do."""
        look_for_changes(self.cache, self.proof_store, TOLERANCE)
        return self.backfill(self.proofs)

    def refresh(self, name: str, step: str) -> None:
        """Let a person want a step of a dataset computed again, and a worker start on it."""
        cache, queue = self.cache, QueueStore(self.databases.queue, self.release)
        hub = Hub(self.hub_server.url, "hf_token", self.release, BlockList())
        remover = Remover(cache, queue, ())
        refresher = Refresher("refresh", self.release, cache, queue, self.maintenance, hub, remover)
        assert refresher.refresh([name], Refresh(frozenset({step})), max_jobs=1).jobs_created == 1
        self.databases.queue[JOBS].update_many({}, {"$set": {"status": JobStatus.STARTED.value}})

    def jobs(self) -> list[tuple[Any, ...]]:
        fields = ("dataset", "type", "config", "split", "revision", "status", "priority", "difficulty")
        found = self.databases.queue[JOBS].find()
        return sorted(tuple(str(job.get(name)) for name in fields) for job in found)

    def candidates(self) -> dict[str, str]:
        return {each.dataset: each.reason for each in self.maintenance.removal_candidates("run")}

    def entry_keys(self) -> list[Document]:
        fields = {"_id": 0, "kind": 1, "dataset": 1, "config": 1, "split": 1}
        return sorted(self.databases.cache[CACHE].find({}, fields), key=repr)

    def pass_time(self, by: timedelta) -> None:
        """Let everything in the databases be older."""
        milliseconds = int(by / timedelta(milliseconds=1))
        for database, collection, names in (
            (self.databases.cache, CACHE, ("updated_at",)),
            (self.databases.maintenance, LOOKS, ("begun_at", "all_read_at")),
            (self.databases.maintenance, COLLECTION, ("kept_at",)),
        ):
            for name in names:
                database[collection].update_many(
                    {name: {"$type": "date"}}, [{"$set": {name: {"$subtract": [f"${name}", milliseconds]}}}]
                )


class Event(NamedTuple):
    """Something that other programs do, in terms of what there is at that moment."""

    name: str
    which: int
    other: int
    off: timedelta
    at: datetime = NOON

    def chosen(self, among: Sequence[Any]) -> Any:
        return among[self.which % len(among)]

    def also_chosen(self, among: Sequence[Any]) -> Any:
        return among[self.other % len(among)]

    @property
    def by_their_clock(self) -> datetime:
        return self.at + self.off


def of_dataset(world: World, event: Event) -> list[Document]:
    found = world.databases.cache[CACHE].find({"dataset": event.chosen(NAMES)})
    return sorted(found, key=lambda entry: repr([entry["kind"], entry["config"], entry["split"]]))


def write_entry(world: World, event: Event, job: Document, **outcome: Any) -> None:
    """Do what a worker does at the end of a job: write its entry, and delete it."""
    key = {
        "kind": job["type"],
        "dataset": job["dataset"],
        "config": job.get("config"),
        "split": job.get("split"),
    }
    entry = {
        "http_status": 200,
        "error_code": None,
        "dataset_git_revision": job["revision"],
        "job_runner_version": world.release.step(job["type"]).job_runner_version,
        "updated_at": event.by_their_clock,
        **outcome,
    }
    entries = world.databases.cache[CACHE]
    failed = 1 if entry["http_status"] >= 500 else 0
    new = {"$set": entry, "$inc": {"failed_runs": failed}, "$setOnInsert": {"content": _content(world, job)}}
    with suppress(WriteError):  # It cannot count the failed runs of nonsense: then its job stays.
        entries.update_one(key, new, upsert=True)
        world.databases.queue[JOBS].delete_one({"_id": job["_id"]})


def _content(world: World, job: Document) -> Document:
    shape = Shape(job["dataset"], job["revision"], dict.fromkeys(CONFIGS, ("train",)))
    for entry in up_to_date_entries(world.release, shape, NOON):
        if entry["kind"] == job["type"]:
            content: Document = dict(entry["content"])
            return content
    return {}


def pending(world: World) -> list[Document]:
    fields = ("type", "dataset", "config", "split", "revision", "status")
    found = world.databases.queue[JOBS].find()
    return sorted(found, key=lambda job: repr([job.get(name) for name in fields]))


def finish_a_job(world: World, event: Event) -> None:
    if jobs := pending(world):
        write_entry(world, event, event.chosen(jobs))


def finish_all_jobs(world: World, event: Event) -> None:
    order = {step.name: number for number, step in enumerate(world.release.steps)}
    for job in sorted(pending(world), key=lambda job: order[job["type"]]):
        write_entry(world, event, job, updated_at=event.at + timedelta(milliseconds=order[job["type"]]))


def fail_a_job(world: World, event: Event) -> None:
    if jobs := pending(world):
        code = event.also_chosen((RETRYABLE, NOT_RETRYABLE))
        write_entry(world, event, event.chosen(jobs), http_status=500, error_code=code)


def fail_for_the_last_time(world: World, event: Event) -> None:
    if entries := of_dataset(world, event):
        most = world.release.max_failed_runs[RETRYABLE]
        change = {"http_status": 500, "error_code": RETRYABLE, "failed_runs": most}
        world.databases.cache[CACHE].update_one(
            {"_id": event.also_chosen(entries)["_id"]},
            {"$set": change | {"updated_at": event.by_their_clock}},
        )


def update_an_entry(world: World, event: Event) -> None:
    if entries := of_dataset(world, event):
        world.databases.cache[CACHE].update_one(
            {"_id": event.also_chosen(entries)["_id"]}, {"$set": {"updated_at": event.by_their_clock}}
        )


def delete_an_entry(world: World, event: Event) -> None:
    if entries := of_dataset(world, event):
        world.databases.cache[CACHE].delete_one({"_id": event.also_chosen(entries)["_id"]})


def insert_an_entry(world: World, event: Event) -> None:
    if entries := of_dataset(world, event):
        more = event.also_chosen(entries) | {"_id": ObjectId(), "updated_at": event.by_their_clock}
        more["kind"] = f"{more['kind']}-{event.other}"
        world.databases.cache[CACHE].insert_one(more)


def replace_an_entry(world: World, event: Event) -> None:
    delete_an_entry(world, event)
    insert_an_entry(world, event)


def list_other_configs(world: World, event: Event) -> None:
    listed = [{"config": name} for name in CONFIGS[: 1 + event.other % len(CONFIGS)]]
    world.databases.cache[CACHE].update_one(
        {"dataset": event.chosen(NAMES), "kind": "dataset-config-names"},
        {"$set": {"content.config_names": listed, "updated_at": event.by_their_clock}},
    )


def write_nonsense(world: World, event: Event) -> None:
    if entries := of_dataset(world, event):
        nonsense = event.also_chosen(({"updated_at": None}, {"failed_runs": "x"}, {"http_status": [1]}))
        world.databases.cache[CACHE].update_one(
            {"_id": event.also_chosen(entries)["_id"]},
            {"$set": {"updated_at": event.by_their_clock} | nonsense},
        )


def push(world: World, event: Event) -> None:
    """Do what a webhook does."""
    name, revision = event.chosen(NAMES), event.also_chosen(REVISIONS)
    world.databases.queue[JOBS].insert_one(
        new_job(world.release.step("dataset-config-names"), name, revision, created_at=datetime.now(UTC))
    )


def lose_a_job(world: World, event: Event) -> None:
    if jobs := pending(world):
        world.databases.queue[JOBS].delete_one({"_id": event.chosen(jobs)["_id"]})


def lose_all_jobs(world: World, _: Event) -> None:
    world.databases.queue[JOBS].delete_many({})


def remove(world: World, event: Event) -> None:
    name = event.chosen(NAMES)
    if entries := of_dataset(world, event):
        world.removed[name] = entries
        world.databases.cache[CACHE].delete_many({"dataset": name})


def restore(world: World, event: Event) -> None:
    """Do what restore-datasets does: insert the entries as they were, with their old times."""
    name = event.chosen(NAMES)
    if not of_dataset(world, event) and world.removed.get(name):
        world.databases.cache[CACHE].insert_many(world.removed.pop(name))
        world.proof_store.forget_looks()


def pass_time(world: World, event: Event) -> None:
    world.pass_time(timedelta(hours=event.which % 60))


def damage(world: World, event: Event) -> None:
    """Lose a part of the records."""
    maintenance = world.databases.maintenance
    match event.which % 4:
        case 0:
            maintenance[COLLECTION].delete_many({})
        case 1:
            maintenance[LOOKS].delete_many({})
        case 2:
            maintenance[LOOKS].update_many({}, {"$set": {"begun_at": "yesterday"}})
        case 3:
            maintenance[COLLECTION].update_many({}, {"$set": {"entries": None}})


IN_EACH_WORLD: dict[str, Callable[[World, Event], None]] = {
    each.__name__: each
    for each in (
        finish_a_job,
        finish_all_jobs,
        fail_a_job,
        fail_for_the_last_time,
        update_an_entry,
        delete_an_entry,
        insert_an_entry,
        replace_an_entry,
        list_other_configs,
        write_nonsense,
        push,
        lose_a_job,
        lose_all_jobs,
        remove,
        restore,
        pass_time,
        damage,
    )
}


def move_revision(hub: HubServer, event: Event) -> None:
    hub.state.put(HubDataset(event.chosen(NAMES), event.also_chosen(REVISIONS)))


def delete_on_hub(hub: HubServer, event: Event) -> None:
    hub.state.datasets.pop(event.chosen(NAMES), None)


ON_THE_HUB = {each.__name__: each for each in (move_revision, delete_on_hub)}
#: What happens most often comes several times.
EVENT_NAMES = (*IN_EACH_WORLD, *ON_THE_HUB, "change_release", "kill", *("pass_time", "finish_all_jobs") * 4)

EVENTS = st.builds(
    Event,
    st.sampled_from(EVENT_NAMES),
    st.integers(0, 59),
    st.integers(0, 59),
    st.timedeltas(-MOST_OFF, MOST_OFF),
)
#: What happens between two runs.
ROUNDS = st.lists(EVENTS, min_size=1, max_size=3)


@pytest.fixture(scope="module")
def both_databases(mongo_client: MongoClient[Document]) -> Callable[[Release], list[Databases]]:
    def made(release: Release) -> list[Databases]:
        pairs = []
        for which in ("proven", "whole"):
            names = (f"{which}_{what}_{release.name}" for what in ("cache", "queue", "maintenance"))
            databases = Databases(*(mongo_client[name] for name in names))
            if not databases.cache.list_collection_names():
                create_indexes(databases.cache, databases.queue, release)
            for database in (databases.cache, databases.queue, databases.maintenance):
                for name in database.list_collection_names():
                    database[name].delete_many({})
            pairs.append(databases)
        return pairs

    return made


@pytest.fixture
def worlds(
    both_databases: Callable[[Release], list[Databases]],
    release: Release,
    shared_hub: HubServer,
    tmp_path: Path,
) -> Callable[[], tuple[World, World]]:
    def made() -> tuple[World, World]:
        shared_hub.state.datasets.clear()
        shared_hub.state.put(*(HubDataset(name, REVISION) for name in NAMES))
        pair = [World(databases, shared_hub, release, tmp_path) for databases in both_databases(release)]
        for name in NAMES:
            shape = Shape(name, REVISION, dict.fromkeys(CONFIGS, ("train",)))
            for world in pair:
                world.databases.cache[CACHE].insert_many(up_to_date_entries(release, shape, NOON))
        return pair[0], pair[1]

    return made


def happen(event: Event, proven: World, whole: World) -> None:
    event = event._replace(at=utc_now())
    if event.name in IN_EACH_WORLD:
        for world in (proven, whole):
            IN_EACH_WORLD[event.name](world, event)
    elif event.name in ON_THE_HUB:
        ON_THE_HUB[event.name](proven.hub_server, event)
    elif event.name == "change_release":
        changed = event.chosen(proven.release.steps).name
        steps = tuple(
            replace(step, job_runner_version=step.job_runner_version + (step.name == changed))
            for step in proven.release.steps
        )
        proven.release = whole.release = replace(proven.release, steps=steps)
    elif event.name == "kill" and proven.release == load_release(proven.release.name):
        kill_a_run(proven, event)


def kill_a_run(world: World, event: Event) -> None:
    host, port = world.databases.cache.client.address or ("", 0)
    action = Action.on(
        world.databases,
        name="backfill",
        release=world.release.name,
        mongo_uri=f"mongodb://{host}:{port}/?directConnection=true",
        hub_url=world.hub_server.url,
        root=world.root,
        listing_id=world.list_hub(),
    )
    is_killed(action, event.which + 1, event.also_chosen(("before", "after")))


def artifacts(summary: BackfillSummary) -> tuple[int, int]:
    return summary.artifacts_up_to_date, summary.artifacts_in_need


def check(worlds: tuple[World, World], rounds: Sequence[Sequence[Event]]) -> None:
    """Let some things happen, run both, and compare what they did; again and again."""
    proven, whole = worlds
    for events in rounds:
        for event in events:
            happen(event, proven, whole)
        ours, theirs = proven.look_and_backfill(), whole.backfill()
        assert ours.error_sample == theirs.error_sample
        assert proven.jobs() == whole.jobs()
        assert proven.candidates() == whole.candidates()
        assert proven.entry_keys() == whole.entry_keys()
        if all(event.name != "kill" for event in events):  # A killed run has done a part of the work.
            assert ours == theirs
            assert artifacts(ours) == artifacts(theirs)


@given(st.lists(ROUNDS, min_size=5, max_size=10))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_run_writes_the_same_whether_or_not_it_reads_what_has_not_changed(
    worlds: Callable[[], tuple[World, World]], rounds: list[list[Event]]
) -> None:
    check(worlds(), rounds)


@pytest.mark.slow_fault
@pytest.mark.timeout(1_800)
@given(st.lists(ROUNDS, min_size=10, max_size=20))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_many_runs_write_the_same_whether_or_not_they_read_what_has_not_changed(
    worlds: Callable[[], tuple[World, World]], rounds: list[list[Event]]
) -> None:
    check(worlds(), rounds)


@pytest.fixture
def world(worlds: Callable[[], tuple[World, World]]) -> World:
    return worlds()[0]


def proven_by_record(world: World) -> int:
    return world.look_and_backfill().proven_by_record


def test_the_second_run_reads_nothing_that_has_not_changed(world: World) -> None:
    first = world.look_and_backfill()
    world.databases.cache[CACHE].update_one({"dataset": "squad"}, {"$set": {"updated_at": utc_now()}})
    second, third = world.look_and_backfill(), world.look_and_backfill()

    assert (first.proven_by_record, first.proven_by_screening) == (0, len(NAMES))
    assert (second.proven_by_record, second.backfilled) == (len(NAMES) - 1, 1)
    assert (third.proven_by_record, third.untouched) == (len(NAMES) - 1, len(NAMES))


def test_what_a_plan_has_proven_is_proven_by_record_the_next_time(world: World) -> None:
    entries = world.databases.cache[CACHE]
    more = entries.find_one({"dataset": "squad"}, {"_id": 0}) or {}
    entries.insert_one(more | {"kind": "a-former-step"})

    first, second = world.look_and_backfill(), world.look_and_backfill()

    assert (first.proven_by_screening, first.proven_by_plan) == (len(NAMES) - 1, 1)
    assert second.proven_by_record == len(NAMES)
    all_artifacts = entries.count_documents({}) - 1  # The former step has none.
    assert artifacts(first) == artifacts(second) == (all_artifacts, 0)


def test_an_error_that_is_not_retried_any_more_is_read_once(world: World) -> None:
    most = world.release.max_failed_runs[RETRYABLE]
    world.databases.cache[CACHE].update_one(
        {"dataset": "squad", "kind": "dataset-info"},
        {"$set": {"http_status": 500, "error_code": RETRYABLE, "failed_runs": most}},
    )

    assert proven_by_record(world) == 0
    assert proven_by_record(world) == len(NAMES)


def test_a_dataset_whose_jobs_are_pending_is_not_proven(world: World) -> None:
    """Where the job is lost, no entry changes."""
    world.databases.cache[CACHE].delete_one({"dataset": "squad", "kind": "dataset-info"})

    assert [world.look_and_backfill().backfilled for _ in range(2)] == [1, 0]
    lose_all_jobs(world, Event("", 0, 0, TOLERANCE))

    assert world.look_and_backfill().backfilled == 1


def test_what_depends_on_an_entry_that_a_refresh_renewed_is_not_proven(world: World) -> None:
    """A worker runs the job of the refresh, and writes the entry anew."""
    assert world.look_and_backfill().proven_by_screening == len(NAMES)
    world.refresh("squad", "dataset-config-names")
    assert world.look_and_backfill().proven_by_record == len(NAMES) - 1, "its job is pending"
    world.databases.queue[JOBS].delete_many({})
    entry = {"dataset": "squad", "kind": "dataset-config-names"}
    world.databases.cache[CACHE].update_one(entry, {"$set": {"updated_at": utc_now()}})

    summary = world.look_and_backfill()

    assert (summary.proven_by_record, summary.backfilled) == (len(NAMES) - 1, 1)
    assert summary.jobs_by_reason.keys() == {"outdated by a parent"}


def test_a_dry_run_keeps_no_record_and_reads_what_has_changed(world: World) -> None:
    world.look_and_backfill()
    world.databases.cache[CACHE].update_one({"dataset": "squad"}, {"$set": {"updated_at": utc_now()}})
    before = list(world.databases.maintenance[COLLECTION].find())
    changed = changed_since_last_look(world.cache, world.proof_store, TOLERANCE)
    proofs = Proofs(world.proof_store, fingerprint(world.release), kept=False, changed=changed)

    summary = world.backfill(proofs, dry_run=True)

    assert changed == {"squad"}
    assert (summary.proven_by_record, summary.backfilled) == (len(NAMES) - 1, 1)
    assert list(world.databases.maintenance[COLLECTION].find()) == before
    assert world.jobs() == []


def test_a_run_that_reads_everything_renews_the_records(world: World) -> None:
    world.look_and_backfill()
    look_for_changes(world.cache, world.proof_store, TOLERANCE)
    everything = Proofs(world.proof_store, fingerprint(world.release), used=False)

    assert world.backfill(everything).proven_by_screening == len(NAMES)
    assert proven_by_record(world) == len(NAMES)


def test_a_rewritten_entry_with_an_old_time_is_found_when_everything_is_read(world: World) -> None:
    """The one change that the records do not show."""
    world.look_and_backfill()
    world.databases.cache[CACHE].update_one(
        {"dataset": "squad", "kind": "dataset-info"}, {"$set": {"job_runner_version": 0}}
    )

    assert world.look_and_backfill().backfilled == 0
    assert world.backfill(Proofs(world.proof_store, fingerprint(world.release), used=False)).backfilled == 1


def test_a_run_that_has_lost_its_right_keeps_no_record(world: World) -> None:
    class Lost:
        def check(self, _: object = None) -> None:
            raise LostRightError("another run is at work")

        def progress(self) -> None: ...

    store = world.proof_store
    with pytest.raises(LostRightError):
        look_for_changes(world.cache, store, TOLERANCE, Lost())
    with pytest.raises(LostRightError):
        store.keep({"squad": Proof(REVISION, 1, 1)}, "rules", Lost())

    assert store.last_look() is None
    assert store.among(["squad"], "rules") == {}


def test_it_is_known_how_long_ago_everything_was_read(world: World) -> None:
    store = world.proof_store
    look_for_changes(world.cache, store, TOLERANCE)
    assert time_since_all_was_read(store) is None

    store.note_all_read()
    world.pass_time(timedelta(days=8))
    look_for_changes(world.cache, store, TOLERANCE)

    age = time_since_all_was_read(store)
    assert age is not None
    assert timedelta(days=8) <= age < timedelta(days=8, minutes=1)


def test_without_a_look_no_record_holds(world: World) -> None:
    world.look_and_backfill()
    world.proof_store.forget_looks()

    assert changed_since_last_look(world.cache, world.proof_store, TOLERANCE) == set(NAMES)
    assert proven_by_record(world) == 0


@pytest.mark.parametrize("change", ["version", "parent", "code"])
def test_other_rules_have_another_fingerprint(release: Release, change: str) -> None:
    first = release.steps[0]
    others = {
        "version": replace(release, steps=(replace(first, job_runner_version=99), *release.steps[1:])),
        "parent": replace(release, steps=(*release.steps[:-1], replace(release.steps[-1], parents=()))),
        "code": release.retrying([RETRYABLE], past_the_maximum=True),
    }

    assert fingerprint(others[change]) != fingerprint(release)
    assert fingerprint(release.retrying([], past_the_maximum=False)) == fingerprint(release)
