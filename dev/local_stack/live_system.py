"""What runs beside maintenance: workers that take jobs and finish them, and webhooks for new revisions.

They write to the databases what datasets-server writes, each write on its own and acknowledged by a majority:
the jobs, the cache entries, and the counts of both. Computing an artifact takes its time, but no CPU.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import chain
from multiprocessing.synchronize import Barrier, Event
from types import TracebackType
from typing import Any, Self

from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database

from dev.local_stack.documents import (
    CACHE,
    CACHE_TOTALS,
    JOB_TOTALS,
    JOBS,
    WORKER_SIZES,
    new_job,
    utc_now,
)
from dev.local_stack.hub_server import set_revisions
from include.databases.queue_store import worker_size
from include.planning.dataset_state import JobStatus, Priority
from include.planning.processing_graph import Release, load_release

Document = dict[str, Any]

_SECONDS_WITHOUT_A_JOB = 0.05
#: How long after the change of a dataset its webhook arrives, at most.
_WEBHOOK_DELAY_SECONDS = 0.1
_WEBHOOKS_AT_ONCE = 4

_all_at_work: Barrier
_stopping: Event


@dataclass(frozen=True, slots=True)
class LiveSystem:
    """Where the databases and the Hub are, and how much is going on.

    :param cache: the name of the cache database; ``queue`` is that of the queue.
    :param seconds_a_job: how long a worker computes an artifact, on average.
    """

    mongo_uri: str
    cache: str
    queue: str
    hub_url: str
    release: str
    workers: int = 8
    seconds_a_job: float = 0.2
    webhooks_a_second: float = 5.0


@dataclass(slots=True)
class Activity:
    """What was done. Times are seconds of the monotonic clock, which all processes share.

    :param moves: of counters: when each ended, and how long it took.
    :param finished: jobs: when each ended, and its unicity id.
    :param webhooks: when each ended, its dataset, and the unicity id of the first job of the new revision.
    """

    moves: list[tuple[float, float]] = field(default_factory=list)
    finished: list[tuple[float, str]] = field(default_factory=list)
    webhooks: list[tuple[float, str, str]] = field(default_factory=list)

    @classmethod
    def total(cls, parts: Sequence[Activity]) -> Self:
        """Return what several processes did together."""
        return cls(
            sorted(chain.from_iterable(part.moves for part in parts)),
            sorted(chain.from_iterable(part.finished for part in parts)),
            sorted(chain.from_iterable(part.webhooks for part in parts)),
        )

    def between(self, start: float, end: float) -> Activity:
        """Return what was done between two times."""
        return Activity(
            [move for move in self.moves if start <= move[0] < end],
            [job for job in self.finished if start <= job[0] < end],
            [webhook for webhook in self.webhooks if start <= webhook[0] < end],
        )


class LiveProcesses(AbstractContextManager["LiveProcesses"]):
    """The workers and the webhooks, in a process each; ``with`` starts and stops them."""

    def __init__(self, system: LiveSystem) -> None:
        self._system = system
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        processes = self._system.workers + (self._system.webhooks_a_second > 0)
        spawn = multiprocessing.get_context("spawn")
        self._stopping = spawn.Event()
        barrier = spawn.Barrier(processes + 1)
        pool = self._resources.enter_context(spawn.Pool(processes, _remember, (barrier, self._stopping)))
        tasks = [(self._system, number) for number in range(processes)]
        self._running = pool.starmap_async(
            _live, tasks, chunksize=1, error_callback=lambda _: barrier.abort()
        )
        barrier.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def stop(self) -> Activity:
        """Let everybody finish what is begun, and return what was done."""
        self._stopping.set()
        return Activity.total(self._running.get(timeout=60))


def _remember(barrier: Barrier, stopping: Event) -> None:
    global _all_at_work, _stopping
    _all_at_work, _stopping = barrier, stopping


def _live(system: LiveSystem, number: int) -> Activity:
    """Be the worker of this number, or the webhooks if there is no such worker."""
    with MongoClient[Document](system.mongo_uri, w="majority") as client:
        databases = _Databases(client[system.cache], client[system.queue], load_release(system.release))
        client.admin.command("ping")
        if number < system.workers:
            worker = _Worker(databases, system.seconds_a_job)
            _all_at_work.wait()
            worker.work()
        else:
            webhooks = _Webhooks(databases, system.hub_url, system.webhooks_a_second)
            _all_at_work.wait()
            webhooks.work()
    return databases.activity


class _Databases:
    """Writes as datasets-server does, and measures the moves of the counters."""

    def __init__(self, cache: Database[Document], queue: Database[Document], release: Release) -> None:
        self.release = release
        self.entries = cache[CACHE]
        self.jobs = queue[JOBS]
        self.activity = Activity()
        self._cache_totals = cache[CACHE_TOTALS]
        self._job_totals = queue[JOB_TOTALS]
        self._worker_sizes = queue[WORKER_SIZES]
        self._of_release = {"dataset_status": "normal"} if release.queue_knows_blocked_datasets else {}

    def count_jobs(self, job_type: str, status: JobStatus, by: int) -> None:
        key = {"job_type": job_type, "status": status.value, **self._of_release}
        self._move(self._job_totals, key, "total", by)

    def count_size(self, size: str, by: int) -> None:
        self._move(self._worker_sizes, {"worker_size": size}, "jobs_count", by)

    def count_entry(self, entry: Document, by: int) -> None:
        key = {name: entry[name] for name in ("kind", "http_status", "error_code")}
        self._move(self._cache_totals, key, "total", by)

    def _move(self, collection: Collection[Document], key: Document, count: str, by: int) -> None:
        start = time.monotonic()
        collection.update_one(key, {"$inc": {count: by}}, upsert=True)
        end = time.monotonic()
        self.activity.moves.append((end, end - start))


class _Worker:
    """Takes one job after the other: the oldest one of the highest priority."""

    def __init__(self, databases: _Databases, seconds_a_job: float) -> None:
        self._databases = databases
        self._seconds_a_job = seconds_a_job
        self._random = random.Random()  # noqa: S311 (no secret)

    def work(self) -> None:
        while not _stopping.is_set():
            job = self._start_job()
            if job is None:
                time.sleep(_SECONDS_WITHOUT_A_JOB)
            else:
                time.sleep(self._random.uniform(0.5, 1.5) * self._seconds_a_job)
                self._finish(job)

    def _start_job(self) -> Document | None:
        now = utc_now()
        change = {"status": JobStatus.STARTED.value, "started_at": now, "last_heartbeat": now}
        for priority in Priority:
            job = self._databases.jobs.find_one_and_update(
                {"priority": priority.value, "status": JobStatus.WAITING.value},
                {"$set": change},
                sort=[("created_at", 1)],
            )
            if job is not None:
                self._databases.count_jobs(job["type"], JobStatus.WAITING, -1)
                self._databases.count_jobs(job["type"], JobStatus.STARTED, 1)
                return job
        return None

    def _finish(self, job: Document) -> None:
        self._store_entry(job)
        self._databases.jobs.delete_one({"_id": job["_id"]})
        self._databases.count_jobs(job["type"], JobStatus.STARTED, -1)
        self._databases.count_size(worker_size(job["difficulty"]), -1)
        self._databases.activity.finished.append((time.monotonic(), job["unicity_id"]))

    def _store_entry(self, job: Document) -> None:
        """Store the artifact; where there was one before, its content stays."""
        artifact = {
            "kind": job["type"],
            "dataset": job["dataset"],
            "config": job.get("config"),
            "split": job.get("split"),
        }
        result = {
            "http_status": 200,
            "error_code": None,
            "dataset_git_revision": job["revision"],
            "job_runner_version": self._databases.release.step(job["type"]).job_runner_version,
            "progress": 1.0,
            "failed_runs": 0,
            "details": None,
            "updated_at": utc_now(),
        }
        before = self._databases.entries.find_one_and_update(
            artifact,
            {"$set": result, "$setOnInsert": {"content": {}}},
            {"kind": 1, "http_status": 1, "error_code": 1},
            upsert=True,
        )
        if before is not None:
            self._databases.count_entry(before, -1)
        self._databases.count_entry(artifact | result, 1)


class _Webhooks:
    """Gives datasets new revisions, on the Hub and then, as the webhook does, in the queue."""

    def __init__(self, databases: _Databases, hub_url: str, a_second: float) -> None:
        self._databases = databases
        self._hub_url = hub_url
        self._seconds_between = 1 / a_second
        self._random = random.Random()  # noqa: S311 (no secret)
        # Each once: two changes of a dataset at nearly the same time would be another story.
        self._names: list[str] = databases.entries.distinct("dataset")
        self._random.shuffle(self._names)

    def work(self) -> None:
        next_at = time.monotonic()
        with ThreadPoolExecutor(_WEBHOOKS_AT_ONCE) as threads:
            running = []
            while self._names and not _stopping.wait(max(0.0, next_at - time.monotonic())):
                next_at += self._seconds_between
                running.append(threads.submit(self._change, self._names.pop()))
            for webhook in running:
                webhook.result()

    def _change(self, name: str) -> None:
        revision = f"{self._random.getrandbits(160):040x}"
        set_revisions(self._hub_url, {name: revision})
        time.sleep(self._random.uniform(0, _WEBHOOK_DELAY_SECONDS))
        self._update(name, revision)

    def _update(self, name: str, revision: str) -> None:
        """Delete the waiting jobs of other revisions, and create the first job of this one."""
        others = {"dataset": name, "status": JobStatus.WAITING.value, "revision": {"$ne": revision}}
        types: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        while (job := self._databases.jobs.find_one_and_delete(others)) is not None:
            types[job["type"]] -= 1
            sizes[worker_size(job["difficulty"])] -= 1
        first = self._databases.release.steps[0]
        job = new_job(first, name, revision, created_at=utc_now(), priority=Priority.NORMAL)
        if self._databases.jobs.find_one({"unicity_id": job["unicity_id"]}, {"_id": 1}) is None:
            self._databases.jobs.insert_one(job)
            types[job["type"]] += 1
            sizes[worker_size(job["difficulty"])] += 1
        for job_type, by in types.items():
            self._databases.count_jobs(job_type, JobStatus.WAITING, by)
        for size, by in sizes.items():
            self._databases.count_size(size, by)
        self._databases.activity.webhooks.append((time.monotonic(), name, job["unicity_id"]))
