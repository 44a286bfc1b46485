"""What happens to the databases between two runs: workers finish jobs, datasets change."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import MongoClient, UpdateOne
from pymongo.database import Database

from dev.bench.world import CACHE, QUEUE, World, opened
from dev.local_stack.documents import CACHE as ENTRIES
from dev.local_stack.documents import JOBS, STEP_INTERVAL, as_error, new_job, utc_now, write_totals
from dev.local_stack.hub_server import set_revisions
from include.planning.processing_graph import Release, load_release

Document = dict[str, Any]

_JOBS_AT_A_TIME = 5_000


def finish_jobs(world: World) -> None:
    """Finish all jobs as workers would, but as long ago as all other jobs of the generated cache.

    The cache is then up to date, and looks as if nothing had happened to it for weeks.
    """
    release = load_release()
    with MongoClient[Document](world.mongo_uri) as client:
        since = _oldest_update(client[CACHE], release)
        writes: list[UpdateOne] = []
        for job in client[QUEUE][JOBS].find():
            writes.append(_entry_of(job, release, since))
            if len(writes) == _JOBS_AT_A_TIME:
                client[CACHE][ENTRIES].bulk_write(writes, ordered=False)
                writes = []
        if writes:
            client[CACHE][ENTRIES].bulk_write(writes, ordered=False)
        client[QUEUE][JOBS].delete_many({})
        write_totals(client[CACHE], client[QUEUE], release)


def _oldest_update(cache: Database[Document], release: Release) -> datetime:
    """Return when the generated cache was updated first: by the first step, for each dataset."""
    first = {"http_status": 200, "error_code": None, "kind": release.steps[0].name}
    entry = cache[ENTRIES].find_one(first, sort={"updated_at": 1})
    if entry is None:
        raise RuntimeError("The cache is empty.")
    updated_at: datetime = entry["updated_at"]
    return updated_at


def _entry_of(job: Document, release: Release, since: datetime) -> UpdateOne:
    """Return the write of the entry of a finished job; as everywhere, a step is later than its parents."""
    step = release.step(job["type"])
    artifact = {
        "kind": step.name,
        "dataset": job["dataset"],
        "config": job.get("config"),
        "split": job.get("split"),
    }
    written = {
        "http_status": 200,
        "error_code": None,
        "dataset_git_revision": job["revision"],
        "progress": 1.0,
        "job_runner_version": step.job_runner_version,
        "failed_runs": 0,
        "details": None,
        "updated_at": since + release.steps.index(step) * STEP_INTERVAL,
    }
    return UpdateOne(artifact, {"$set": written, "$setOnInsert": {"content": {}}}, upsert=True)


@dataclass(frozen=True, slots=True)
class Changed:
    """The names of the datasets that have changed, by what has happened to them.

    ``failed``: a worker has just written an entry with an error to retry, on which no other entry depends:
    one job is needed. ``pushed``: the Hub has a new revision: all artifacts need jobs. ``queued``: a job
    waits for an entry that is up to date: a run deletes it.
    """

    failed: Sequence[str]
    pushed: Sequence[str]
    queued: Sequence[str]


def change(world: World, share: float, release: Release | None = None) -> Changed:
    """Change some datasets, a third of them in each way; always the same ones of the same databases.

    :param share: of the datasets, from 0 to 1.
    :param release: by default, the default one.
    """
    with opened(world, release=release) as parts:
        cache, queue, release = parts.client[CACHE], parts.client[QUEUE], parts.release
        names = list(parts.cache.dataset_names())
        chosen = random.Random(0).sample(names, round(len(names) * share))  # noqa: S311
        changed = Changed(chosen[::3], chosen[1::3], chosen[2::3])
        for name in changed.failed:
            _fail(cache, name, release)
        set_revisions(world.hub_url, {name: _revision(number) for number, name in enumerate(changed.pushed)})
        jobs = [_job_again(cache, name, release) for name in changed.queued]
        if jobs:
            queue[JOBS].insert_many(jobs)
        write_totals(cache, queue, release)
    return changed


def _fail(cache: Database[Document], name: str, release: Release) -> None:
    parents = {parent.name for step in release.steps for parent in step.parents}
    last = [step.name for step in release.steps if step.name not in parents]
    entry = _entry(cache, {"dataset": name, "kind": {"$in": last}})
    as_error(entry, min(release.max_failed_runs), failed_runs=1)
    cache[ENTRIES].replace_one({"_id": entry["_id"]}, entry | {"updated_at": utc_now()})


def _job_again(cache: Database[Document], name: str, release: Release) -> Document:
    step = release.steps[0]
    entry = _entry(cache, {"dataset": name, "kind": step.name})
    return new_job(step, name, entry["dataset_git_revision"], created_at=utc_now())


def _entry(cache: Database[Document], query: Document) -> Document:
    entry = cache[ENTRIES].find_one(query)
    if entry is None:
        raise RuntimeError(f"The cache has no entry with {query}.")
    return entry


def _revision(number: int) -> str:
    return f"{number:040x}"
