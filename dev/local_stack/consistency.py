"""What must hold in the databases whoever has written at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pymongo.collection import Collection
from pymongo.database import Database

from dev.local_stack.documents import CACHE, CACHE_TOTALS, JOB_TOTALS, JOBS, WORKER_SIZES
from dev.local_stack.live_system import Activity
from include.databases.queue_store import worker_size

Document = dict[str, Any]


def wrong_counts(cache: Database[Document], queue: Database[Document]) -> list[str]:
    """Return the counts that differ from what counting anew gives, in words."""
    sizes: Counter[tuple[Any, ...]] = Counter()
    for (difficulty,), number in _counted(queue[JOBS], "difficulty").items():
        sizes[worker_size(difficulty),] += number
    return [
        f"{name} has {stored.get(key, 0)} for {key}, it should be {counted.get(key, 0)}"
        for name, stored, counted in (
            (
                CACHE_TOTALS,
                _stored(cache[CACHE_TOTALS], "total", "kind", "http_status", "error_code"),
                _counted(cache[CACHE], "kind", "http_status", "error_code"),
            ),
            (
                JOB_TOTALS,
                _stored(queue[JOB_TOTALS], "total", "job_type", "status"),
                _counted(queue[JOBS], "type", "status"),
            ),
            (WORKER_SIZES, _stored(queue[WORKER_SIZES], "jobs_count", "worker_size"), sizes),
        )
        for key in sorted(stored.keys() | counted.keys(), key=repr)
        if stored.get(key, 0) != counted.get(key, 0)
    ]


def _stored(collection: Collection[Document], count: str, *fields: str) -> Mapping[tuple[Any, ...], int]:
    return {tuple(document[field] for field in fields): document[count] for document in collection.find()}


def _counted(collection: Collection[Document], *fields: str) -> Mapping[tuple[Any, ...], int]:
    groups = collection.aggregate(
        [{"$group": {"_id": {field: f"${field}" for field in fields}, "number": {"$sum": 1}}}]
    )
    return {tuple(group["_id"].get(field) for field in fields): group["number"] for group in groups}


def doubled_jobs(queue: Database[Document]) -> list[tuple[Any, ...]]:
    """Return the artifacts that have several pending jobs of the same revision."""
    artifacts = _counted(queue[JOBS], "type", "dataset", "revision", "config", "split")
    return [artifact for artifact, number in artifacts.items() if number > 1]


def lost_webhooks(queue: Database[Document], activity: Activity) -> list[str]:
    """Return the first jobs of the newest revisions that are neither pending nor done."""
    newest = {dataset: unicity_id for _, dataset, unicity_id in activity.webhooks}
    done = {unicity_id for _, unicity_id in activity.finished}
    pending = set(queue[JOBS].distinct("unicity_id", {"unicity_id": {"$in": list(newest.values())}}))
    return sorted(set(newest.values()) - done - pending)
