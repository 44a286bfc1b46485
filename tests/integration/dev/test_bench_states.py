"""The states in which the benchmark measures a backfill: each needs the jobs that it says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pymongo import MongoClient

from dev.bench.changes import change, finish_jobs
from dev.bench.one_process import measure
from dev.bench.scale import fill_cache, fill_queue, flat_datasets, flat_release
from dev.bench.world import CACHE, QUEUE, World, drop_databases, opened
from dev.local_stack.consistency import wrong_counts
from dev.local_stack.documents import CACHE as ENTRIES
from dev.local_stack.documents import JOBS, utc_now
from dev.local_stack.generated_cache import generate
from dev.local_stack.hub_server import HubServer
from dev.local_stack.mongod import Mongod
from include.actions.backfill.report import BackfillSummary
from include.planning.processing_graph import load_release

DATASETS = 120


@pytest.fixture
def client(mongod: Mongod) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongod.uri) as client:
        drop_databases(client)
        yield client
        drop_databases(client)


@pytest.fixture
def world(client: MongoClient[dict[str, Any]], mongod: Mongod, hub_server: HubServer) -> World:
    hub_server.load(generate(client[CACHE], client[QUEUE], DATASETS, load_release(), up_to_date=0.75))
    return World(mongod.port, mongod.uri, hub_server.url)


def run(world: World) -> BackfillSummary:
    with opened(world) as parts:
        return parts.run(parts.list_hub())


def newest_update(client: MongoClient[dict[str, Any]]) -> Any:
    return next(client[CACHE][ENTRIES].find().sort("updated_at", -1).limit(1))["updated_at"]


def test_a_run_after_all_jobs_are_finished_has_nothing_to_do(
    world: World, client: MongoClient[dict[str, Any]]
) -> None:
    assert run(world).jobs_created == client[QUEUE][JOBS].count_documents({}) > 0

    finish_jobs(world)

    assert (summary := run(world)).untouched == DATASETS, summary
    assert client[QUEUE][JOBS].count_documents({}) == 0
    assert newest_update(client) < utc_now() - timedelta(days=29)
    assert wrong_counts(client[CACHE], client[QUEUE]) == []


def test_a_run_after_a_change_has_the_jobs_of_the_changed_datasets(
    world: World, client: MongoClient[dict[str, Any]]
) -> None:
    run(world)
    finish_jobs(world)
    run(world)

    changed = change(world, 0.1)

    assert (len(changed.failed), len(changed.pushed), len(changed.queued)) == (4, 4, 4)
    assert wrong_counts(client[CACHE], client[QUEUE]) == []
    summary = run(world)
    artifacts = client[CACHE][ENTRIES].count_documents({"dataset": {"$in": list(changed.pushed)}})
    assert summary.jobs_by_reason == {"error to retry": 4, "other revision": artifacts}
    assert (summary.jobs_created, summary.jobs_deleted) == (artifacts + 4, 4)
    assert summary.untouched == DATASETS - 12
    assert newest_update(client) > utc_now() - timedelta(minutes=5)


def test_a_measured_run_does_what_an_unmeasured_one_does(
    world: World, client: MongoClient[dict[str, Any]]
) -> None:
    figures = measure(world)

    assert figures["datasets"] == DATASETS
    assert figures["entries"] == client[CACHE][ENTRIES].count_documents({})
    assert figures["jobs created"] == client[QUEUE][JOBS].count_documents({})
    assert figures["MongoDB's cache, MB"] == pytest.approx(537, abs=1)
    assert figures["times the bare read, times"] > 0
    assert figures["peak memory, MB"] > 50


def test_the_datasets_of_the_part_of_scale_are_up_to_date(
    client: MongoClient[dict[str, Any]], mongod: Mongod, hub_server: HubServer
) -> None:
    release = flat_release()
    fill_cache(client, 50)
    hub_server.state.put(*flat_datasets(50))

    world = World(mongod.port, mongod.uri, hub_server.url)

    with opened(world, release=release) as parts:
        summary = parts.run(parts.list_hub())
        changed = change(world, 0.12, release)
        summary_after_change = parts.run(parts.list_hub())

    assert (summary.untouched, summary.jobs_created, summary.hub_requests) == (50, 0, 0)
    jobs = len(changed.failed) + len(release.steps) * len(changed.pushed)
    assert (len(changed.pushed), summary_after_change.jobs_created) == (2, jobs)


def test_the_queue_of_the_part_of_scale_has_jobs_of_all_types(client: MongoClient[dict[str, Any]]) -> None:
    fill_queue(client, 2_600)

    jobs = client[QUEUE][JOBS]
    assert jobs.count_documents({}) == 2_600
    assert jobs.count_documents({"status": "started"}) == 260
    assert sorted(jobs.distinct("type")) == sorted(step.name for step in load_release().steps)
