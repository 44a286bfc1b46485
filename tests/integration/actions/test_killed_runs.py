"""A run that is killed at any of its writes, and then run again, ends as an undisturbed run does."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal

import pytest

from dev.local_stack.documents import (
    CACHE,
    CACHE_TOTALS,
    JOB_TOTALS,
    JOBS,
    LOCKS,
    WORKER_SIZES,
    Shape,
    new_job,
    up_to_date_entries,
    write_totals,
)
from dev.local_stack.hub_server import HubDataset, HubServer
from dev.local_stack.mongod import Mongod
from include.databases.queue_store import worker_size
from include.hub.answers import ListedDataset
from include.planning.dataset_state import JobStatus
from include.planning.processing_graph import DEFAULT_RELEASE, Release, release_names
from tests.builders import NOON, OTHER_REVISION, REVISION, contents, put_listing
from tests.integration.actions.killed_run import RUN, Action, Moment, count_writes, kill
from tests.integration.conftest import Stores

MOMENTS: tuple[Moment, ...] = ("before", "after")

#: The newest release does all that the others do, and rebuilds caches.
*OLDER, NEWEST = release_names()
RUNS = [
    *(("removal", release) for release in release_names()),
    *(pytest.param("backfill", release, marks=pytest.mark.slow_fault) for release in OLDER),
    ("backfill", NEWEST),
    *(pytest.param("refresh", release, marks=pytest.mark.slow_fault) for release in OLDER),
    ("refresh", NEWEST),
    *(pytest.param("recreation", release, marks=pytest.mark.slow_fault) for release in release_names()),
]

Contents = tuple[dict[str, list[dict[str, Any]]], list[str]]


@pytest.fixture
def hub(shared_hub: HubServer) -> HubServer:
    supported = ("squad", "user/fine", "user/incoherent", "user/moved-on")
    shared_hub.state.put(*(HubDataset(name, REVISION) for name in supported))
    return shared_hub


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of the assets; that of the archives is beside it."""
    return tmp_path / "assets"


def fill(stores: Stores, release: Release, root: Path) -> None:
    """Datasets of every sort: up to date, one entry missing, moved on, incoherent, gone from the Hub."""
    clear(stores)
    cache, queue = stores.databases.cache, stores.databases.queue
    for name, revision in (
        ("squad", REVISION),
        ("user/fine", REVISION),
        ("user/gone", REVISION),
        ("user/incoherent", REVISION),
        ("user/moved-on", OTHER_REVISION),
    ):
        cache[CACHE].insert_many(up_to_date_entries(release, Shape(name, revision, {"a": ["train"]}), NOON))
        folder = root / name / "--" / revision
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").touch()
    cache[CACHE].delete_one({"dataset": "squad", "kind": "config-info"})
    cache[CACHE].update_one(
        {"dataset": "user/incoherent", "kind": "split-first-rows"}, {"$set": {"config": "forgotten"}}
    )
    jobs = [
        new_job(release.step(step), name, revision, config, created_at=NOON, status=status)
        for name, revision in (
            ("user/gone", REVISION),
            ("user/incoherent", REVISION),
            ("user/moved-on", OTHER_REVISION),
        )
        for step, config, status in (
            ("dataset-config-names", None, JobStatus.WAITING),
            ("config-size", "a", JobStatus.STARTED),
        )
    ]
    queue[JOBS].insert_many(jobs)
    queue[LOCKS].insert_many({"_id": job["unicity_id"], "owner": "worker", "ttl": 600} for job in jobs)
    write_totals(cache, queue, release)


def clear(stores: Stores) -> None:
    for database in (stores.databases.cache, stores.databases.queue, stores.databases.maintenance):
        for collection in database.list_collection_names(
            filter={"name": {"$not": re.compile("^hubListing")}}
        ):
            database[collection].delete_many({})


def found(stores: Stores, root: Path) -> Contents:
    """All that is left, in the databases and in the storage; the jobs of each dataset in their order."""
    databases = (stores.databases.cache, stores.databases.queue, stores.databases.maintenance)
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    left = contents(*databases)
    jobs = f"{stores.databases.queue.name} {JOBS}"
    return left | {jobs: sorted(left.get(jobs, []), key=itemgetter("dataset"))}, files


@pytest.mark.parametrize(("name", "release_name"), RUNS)
def test_a_killed_run_can_be_run_again(
    name: Literal["backfill", "removal", "refresh", "recreation"],
    stores: Stores,
    release: Release,
    hub: HubServer,
    mongod: Mongod,
    root: Path,
) -> None:
    listed = ("user/fine", "squad") if name == "backfill" else ("user/fine",)
    listing = put_listing(stores.maintenance.listings(), *(ListedDataset(each, REVISION) for each in listed))
    action = Action.on(
        stores.databases,
        name=name,
        release=release.name,
        mongo_uri=mongod.uri,
        hub_url=hub.url,
        root=root,
        listing_id=listing.id,
    )

    def before() -> None:
        fill(stores, release, root)
        if name == "removal":
            names = ("squad", "user/gone", "user/incoherent", "user/moved-on")
            hub.state.datasets = {"user/fine": HubDataset("user/fine", REVISION)}
            stores.maintenance.add_removal_candidates(RUN, dict.fromkeys(names, "it is gone"))

    before()
    writes = count_writes(action)
    undisturbed = found(stores, root)
    assert_counts_are_right(stores)
    assert writes >= (10 if name == "backfill" else 7)

    differing = []
    for write in range(1, writes + 1):
        for moment in MOMENTS:
            before()
            kill(action, write, moment)
            count_writes(action)
            if found(stores, root) != undisturbed:
                differing.append((write, moment, differences(found(stores, root), undisturbed)))

    assert differing == []


@pytest.mark.parametrize("release_name", [DEFAULT_RELEASE])
@pytest.mark.parametrize("killed", [pytest.param("removal", marks=pytest.mark.slow_fault), "restore"])
def test_a_killed_removal_or_restore_ends_with_all_entries_restored(
    killed: Literal["removal", "restore"],
    stores: Stores,
    release: Release,
    hub: HubServer,
    mongod: Mongod,
    root: Path,
) -> None:
    hub.state.datasets = {"user/fine": HubDataset("user/fine", REVISION)}
    listing = put_listing(stores.maintenance.listings(), ListedDataset("user/fine", REVISION))
    removal = Action.on(
        stores.databases,
        name="removal",
        release=release.name,
        mongo_uri=mongod.uri,
        hub_url=hub.url,
        root=root,
        listing_id=listing.id,
    )
    restore = replace(removal, name="restore")

    def entries() -> list[dict[str, Any]]:
        return sorted(stores.databases.cache[CACHE].find(), key=repr)

    names = ("squad", "user/gone", "user/incoherent", "user/moved-on")

    def before() -> list[dict[str, Any]]:
        rmtree(root.with_name("archive"), ignore_errors=True)
        fill(stores, release, root)
        stores.maintenance.add_removal_candidates(RUN, dict.fromkeys(names, "it is gone"))
        return entries()

    before()
    writes = {"removal": count_writes(removal), "restore": count_writes(restore)}[killed]

    differing = []
    for write in range(1, writes + 1):
        for moment in MOMENTS:
            at_first = before()
            for action in (removal, restore):
                if action.name == killed:
                    kill(action, write, moment)
                count_writes(action)
            are_noted = all(map(stores.maintenance.restores().of, names))
            if entries() != at_first or not are_noted:
                differing.append((write, moment))
            assert_counts_are_right(stores)

    assert differing == []
    assert writes >= 10


def differences(one: Contents, other: Contents) -> list[str]:
    (ones, one_files), (others, other_files) = one, other
    collections = [
        f"{name}: {ones.get(name)} != {others.get(name)}"
        for name in sorted(ones.keys() | others.keys())
        if ones.get(name) != others.get(name)
    ]
    return collections + ([f"{one_files} != {other_files}"] if one_files != other_files else [])


def assert_counts_are_right(stores: Stores) -> None:
    """They must be what counting anew would give."""
    cache, queue = stores.databases.cache, stores.databases.queue
    entries = Counter((e["kind"], e["http_status"], e["error_code"]) for e in cache[CACHE].find())
    jobs = list(queue[JOBS].find())
    assert {
        (total["kind"], total["http_status"], total["error_code"]): total["total"]
        for total in cache[CACHE_TOTALS].find({"total": {"$ne": 0}})
    } == entries
    assert {
        (total["job_type"], total["status"]): total["total"]
        for total in queue[JOB_TOTALS].find({"total": {"$ne": 0}})
    } == Counter((job["type"], job["status"]) for job in jobs)
    assert {
        count["worker_size"]: count["jobs_count"]
        for count in queue[WORKER_SIZES].find({"jobs_count": {"$ne": 0}})
    } == Counter(worker_size(job["difficulty"]) for job in jobs)
