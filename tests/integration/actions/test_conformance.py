"""The cases recorded from the job that runs in production: a state before a backfill, and the state after it.

``tests/data/conformance_RELEASE.jsonl.gz`` holds those of a release. Each runs through the real stores on a
real MongoDB, and the real client of the Hub over HTTP.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dev.local_stack.hub_server import HubDataset, HubServer, HubState, HubUser
from include.actions.backfill.pipeline import Backfill, BackfillOptions
from include.actions.backfill.removal import Remover
from include.actions.backfill.report import BackfillSummary, RemovalSummary
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import MaintenanceStore
from include.databases.queue_store import QueueStore
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.planning.processing_graph import Release, load_release, release_names
from include.storage.folder_storage import FolderStorage
from tests.conftest import Databases

Case = dict[str, Any]

DATA = Path(__file__).parents[2] / "data"
JOB_TIMES = ("created_at", "started_at", "last_heartbeat")
#: Of each release there are at least as many.
CASES = 250


def recorded_cases(path: Path) -> list[Case]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


RECORDED = {
    path.name.removeprefix("conformance_").removesuffix(".jsonl.gz"): recorded_cases(path)
    for path in sorted(DATA.glob("conformance_*.jsonl.gz"))
}


@pytest.fixture(scope="module")
def hub_server() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.mark.parametrize("release_name", release_names())
def test_a_release_has_recorded_cases(release_name: str) -> None:
    found = len(RECORDED.get(release_name, ()))

    assert found >= CASES, f"tests/data/conformance_{release_name}.jsonl.gz has {found} cases"


def test_all_recorded_cases_are_of_a_release() -> None:
    assert [name for name in RECORDED if name not in release_names()] == []


@pytest.mark.parametrize(
    ("release_name", "case"),
    [
        pytest.param(name, case, id=f"{name}: {case['id']}")
        for name in release_names()
        for case in RECORDED.get(name, ())
    ],
)
def test_backfill_leaves_the_recorded_state(
    release_name: str, case: Case, databases: Databases, hub_server: HubServer, tmp_path: Path
) -> None:
    release = load_release(release_name)
    entries, jobs = fill(databases, release, case)
    answer(hub_server.state, case)
    cache, queue = CacheStore(databases.cache), QueueStore(databases.queue, release)
    maintenance = MaintenanceStore(databases.maintenance)
    remover = Remover(cache, queue, [FolderStorage(tmp_path)])
    blocked = BlockList.parse(case["blocked_datasets"])
    hub = Hub(hub_server.url, "hf_token", release, blocked)

    backfill = Backfill(
        "run", release, cache, queue, maintenance, hub, remover, BackfillOptions(trust_listing=False)
    )
    summary = backfill.run([case["dataset"]])
    removal = remover.remove(candidate.dataset for candidate in maintenance.removal_candidates("run"))

    expect = case["expect"]
    assert outcome(summary, removal) == expect["outcome"]
    kept_entries = [entry["_id"] for entry in databases.cache.cachedResponsesBlue.find()]
    assert kept_entries == [entries[place] for place in expect["kept_entries"]]
    found = list(databases.queue.jobsBlue.find().sort("_id"))
    known = set(jobs)
    assert [job["_id"] for job in found if job["_id"] in known] == [
        jobs[place] for place in expect["kept_jobs"]
    ]
    assert [without_id_and_time(job) for job in found if job["_id"] not in known] == expect["new_jobs"]
    assert totals(databases) == expect["job_totals"]
    assert worker_sizes(databases) == expect["worker_sizes"]
    if expect["outcome"] == "deleted":
        assert removal.waiting_jobs == expect["deleted_waiting_jobs"]
        assert removal.cache_entries == expect["deleted_cache_entries"]
    else:
        assert summary.jobs_created == expect.get("created_jobs", 0)
        assert summary.jobs_deleted == expect.get("deleted_waiting_jobs", 0)


def fill(databases: Databases, release: Release, case: Case) -> tuple[list[Any], list[Any]]:
    """Insert the state before the backfill, and return the ids of its entries and of its jobs."""
    entries = [
        {**entry, "updated_at": datetime.fromisoformat(entry["updated_at"])} for entry in case["entries"]
    ]
    jobs = [
        job | {field: datetime.fromisoformat(job[field]) for field in JOB_TIMES if field in job}
        for job in case["jobs"]
    ]
    entry_ids = databases.cache.cachedResponsesBlue.insert_many(entries).inserted_ids if entries else []
    job_ids = databases.queue.jobsBlue.insert_many(jobs).inserted_ids if jobs else []
    dataset_status = {"dataset_status": "normal"} if release.queue_knows_blocked_datasets else {}
    for job in jobs:
        total = {"job_type": job["type"], "status": job["status"], **dataset_status}
        databases.queue.jobTotalMetric.update_one(total, {"$inc": {"total": 1}}, upsert=True)
    return entry_ids, job_ids


def answer(state: HubState, case: Case) -> None:
    """Make the Hub answer as the case says."""
    status, name = case["hub"]["status"], case["dataset"]
    state.datasets.clear()
    state.users.clear()
    if status == "not_found":
        return
    state.put(
        HubDataset(
            name,
            case["hub"]["sha"],
            card_data=case["hub"]["card"] if status != "viewer_false" else {"viewer": False},
            private=status in ("private", "private_pro"),
            disabled=status == "disabled_flag",
            tags=("nsfw",) if status == "nfaa" else (),
            fault={"disabled": "disabled_403", "server_error": "server_error"}.get(status),  # type: ignore[arg-type]
        )
    )
    user = name.split("/")[0]
    state.users[user] = HubUser(user, is_pro=status == "private_pro")


def outcome(summary: BackfillSummary, removal: RemovalSummary) -> str:
    counts = {
        "untouched": summary.untouched,
        "backfilled": summary.backfilled,
        "deleted": removal.removed,
        "error": summary.failed,
    }
    [(name, one)] = [(name, number) for name, number in counts.items() if number]
    assert one == 1
    return name


def without_id_and_time(job: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in job.items() if field not in ("_id", "created_at")}


def totals(databases: Databases) -> list[list[Any]]:
    found = databases.queue.jobTotalMetric.find({"total": {"$ne": 0}})
    return sorted([metric["job_type"], metric["status"], metric["total"]] for metric in found)


def worker_sizes(databases: Databases) -> list[list[Any]]:
    found = databases.queue.workerTypeJobCounts.find({"jobs_count": {"$ne": 0}})
    return sorted([count["worker_size"], count["jobs_count"]] for count in found)
