"""A cache, a queue and a history of them, as the console reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dev.local_stack.documents import CACHE_TOTALS, JOB_TOTALS, WORKER_SIZES
from include.console.now import Now, Settings, read_now
from include.console.over_time import OverTime, read_over_time
from include.databases.cache_reader import CacheReader
from include.databases.counts import Counts
from include.databases.maintenance_store import METRICS_HISTORY, MaintenanceStore
from include.databases.own_reader import OwnReader
from include.databases.queue_reader import QueueReader
from include.planning.processing_graph import Release
from tests.integration.conftest import Stores

#: By step, HTTP status and error code.
Entries = Mapping[Any, int]
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class World:
    """The databases of one test, at this moment."""

    stores: Stores
    release: Release
    now: datetime

    @property
    def maintenance(self) -> MaintenanceStore:
        return self.stores.maintenance

    def count_entries(self, entries: Entries, hours_ago: float | None = None) -> None:
        """Let the cache have these counts now, or have had them in the history."""
        if hours_ago is not None:
            counts = Counts("cache.entries", ("kind", "http_status", "error_code"), entries)
            self._add_history("collect-cache-metrics", [counts], hours_ago)
            return
        totals = self.stores.databases.cache[CACHE_TOTALS]
        totals.delete_many({})
        totals.insert_many(
            {"kind": kind, "http_status": status, "error_code": code, "total": total}
            for (kind, status, code), total in entries.items()
        )

    def count_jobs(self, waiting: int, hours_ago: float | None = None) -> None:
        """Let the queue have so many waiting jobs of its first step now, or have had them in the history."""
        step = self.release.steps[0].name
        blocked = ("normal",) if self.release.queue_knows_blocked_datasets else ()
        fields = ("job_type", "status", "dataset_status")[: 2 + len(blocked)]
        jobs = Counts("queue.jobs", fields, {(step, "waiting", *blocked): waiting})
        sizes = Counts("queue.jobs_by_worker_size", ("worker_size",), {("light",): waiting})
        if hours_ago is not None:
            self._add_history("collect-queue-metrics", [jobs, sizes], hours_ago)
            return
        queue = self.stores.databases.queue
        queue[JOB_TOTALS].insert_many({**labels, "total": total} for labels, total in jobs.labelled())
        queue[WORKER_SIZES].insert_many({**labels, "jobs_count": n} for labels, n in sizes.labelled())

    def _add_history(self, action: str, counts: list[Counts], hours_ago: float) -> None:
        """Add counts to the history as an action does, but as if it had run earlier."""
        self.maintenance.add_metrics(action, counts, timedelta(days=365))
        history = self.stores.databases.maintenance[METRICS_HISTORY]
        history.update_one(
            {"action": action, "collected_at": {"$gt": self.now - timedelta(seconds=1)}},
            {"$set": {"collected_at": self.now - hours_ago * HOUR}},
        )

    def report(
        self,
        action: str = "backfill",
        hours_ago: float = 0,
        *,
        run_id: str = "manual__1",
        succeeded: bool = True,
        covers_everything: bool = True,
        **figures: Any,
    ) -> None:
        """Let a run have ended."""
        report = {"dry_run": False, **figures}
        self.maintenance.run_reports().add(
            action, run_id, None, report, succeeded=succeeded, covers_everything=covers_everything
        )
        change = {"$set": {"ended_at": self.now - hours_ago * HOUR}}
        self.stores.databases.maintenance["runReports"].update_one({"run_id": run_id}, change)

    def read_now(self, settings: Settings | None = None) -> Now:
        """Read the page Now."""
        databases = self.stores.databases
        return read_now(
            CacheReader(databases.cache),
            QueueReader(databases.queue),
            OwnReader(databases.maintenance),
            self.release,
            self.now,
            settings or Settings(),
        )

    def read_over_time(self, span: str) -> OverTime:
        """Read the page Over time."""
        databases = self.stores.databases
        return read_over_time(CacheReader(databases.cache), OwnReader(databases.maintenance), self.now, span)


@pytest.fixture
def world(stores: Stores, release: Release) -> World:
    now = datetime.now(UTC)
    return World(stores, release, now.replace(microsecond=now.microsecond // 1_000 * 1_000))
