"""What the console of `make run` shows: a morning after the actions have run, with something to look at.

A code whose errors grow, a dataset with an artifact in each state, an old job, two datasets that the Hub has
lost, and the history of the days before. The counts at the end of the history are those of the databases.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.database import Database

from datasets_server.actions import BACKFILL, COLLECT_CACHE_METRICS, COLLECT_QUEUE_METRICS
from dev.local_stack.documents import CACHE, JOBS, Document, as_error, new_job, utc_now
from dev.local_stack.hub_server import HubState
from include.databases.cache_store import CacheStore
from include.databases.counts import Counts
from include.databases.maintenance_store import MaintenanceStore
from include.databases.queue_store import QueueStore
from include.databases.run_reports import COLLECTION as RUN_REPORTS
from include.planning.dataset_state import JobStatus, Priority
from include.planning.processing_graph import Release

#: It has an artifact in each state.
SHOWCASE = "kinetics/Annotated-Images"
#: The Hub has lost them since the backfill.
LOST = ("museum-archive/chat_logs", "city-data/captions")
GROWING_CODE = "StreamingRowsError"
DAYS = 5
#: What the growing errors say: most of them have one cause.
_MESSAGES = (
    "Cannot read the first rows: the file data/part-00000.parquet is answered with 403 Forbidden.",
    "Cannot read the first rows: the file data/part-00000.parquet is answered with 403 Forbidden.",
    "Cannot read the first rows: the column 'image' of row 17 is no image.",
)
_TOO_BIG = "The split has 12.9 GB. Statistics are made of at most 5 GB."

_NAMESPACES_WITH_ERRORS = ("allenai", "biomed-nlp", "jurists", "news-desk", "robotics.eu", "vision-lab")
_GROWS_FOR = timedelta(hours=20)
_EVERY: Mapping[str, timedelta] = {
    COLLECT_CACHE_METRICS.id: timedelta(hours=3),
    COLLECT_QUEUE_METRICS.id: timedelta(minutes=10),
}


def happen(databases: Mapping[str, Database[Document]], hub: HubState, release: Release) -> None:
    """Let it happen, and write the history of the days before.

    :param databases: ``cache``, ``queue`` and ``own``.
    """
    cache, queue, own = databases["cache"], databases["queue"], databases["own"]
    _let_errors_grow(cache)
    _show_each_state(cache, queue, release)
    at_work = {"started_at": utc_now() - timedelta(minutes=4), "last_heartbeat": utc_now()}
    queue[JOBS].update_many({"status": JobStatus.STARTED.value}, {"$set": at_work})
    for name in LOST:
        hub.datasets.pop(name, None)
    counted = {
        COLLECT_CACHE_METRICS.id: CacheStore(cache).collect_metrics(),
        COLLECT_QUEUE_METRICS.id: QueueStore(queue, release).collect_metrics(),
    }
    write_history(own, counted, datetime.now(UTC))


def _let_errors_grow(cache: Database[Document]) -> None:
    """Let the first rows of the up-to-date datasets of some namespaces fail since yesterday."""
    names = {"$regex": f"^({'|'.join(_NAMESPACES_WITH_ERRORS)})/".replace(".", r"\.")}
    query = {"dataset": names, "kind": "split-first-rows", "http_status": 200}
    entries = list(cache[CACHE].find(query).sort([("dataset", 1), ("config", 1)]))
    for number, entry in enumerate(entries):
        as_error(entry, GROWING_CODE, failed_runs=number % 3, message=_MESSAGES[number % len(_MESSAGES)])
        entry["updated_at"] = utc_now() - _GROWS_FOR * (1 - number / len(entries))
        cache[CACHE].replace_one({"_id": entry["_id"]}, entry)


def _show_each_state(cache: Database[Document], queue: Database[Document], release: Release) -> None:
    entries = {
        (entry["kind"], entry["config"], entry["split"]): entry
        for entry in cache[CACHE].find({"dataset": SHOWCASE})
    }
    by_kind: dict[str, list[Document]] = {}
    for entry in entries.values():
        by_kind.setdefault(entry["kind"], []).append(entry)
    most = release.max_failed_runs[GROWING_CODE]
    as_error(by_kind["split-first-rows"][0], GROWING_CODE, failed_runs=1, message=_MESSAGES[0])
    as_error(by_kind["split-first-rows"][-1], GROWING_CODE, failed_runs=most, message=_MESSAGES[-1])
    as_error(
        by_kind["split-descriptive-statistics"][0], "DatasetTooBigError", failed_runs=0, message=_TOO_BIG
    )
    by_kind["config-size"][0]["job_runner_version"] -= 1
    by_kind["config-info"][-1]["dataset_git_revision"] = "0" * 40
    by_kind["config-parquet-metadata"][0]["updated_at"] -= timedelta(days=1)
    for entry in entries.values():
        cache[CACHE].replace_one({"_id": entry["_id"]}, entry)
    cache[CACHE].delete_one({"_id": by_kind["dataset-size"][0]["_id"]})
    late = by_kind["config-size"][0]
    job = new_job(
        release.step(late["kind"]),
        SHOWCASE,
        by_kind["dataset-config-names"][0]["dataset_git_revision"],
        late["config"],
        created_at=utc_now() - timedelta(hours=9),
        priority=Priority.NORMAL,
    )
    queue[JOBS].insert_one(job)


# The history


def write_history(own: Database[Document], counted: Mapping[str, list[Counts]], now: datetime) -> None:
    """Write the counts and the reports of the last days.

    :param counted: what each action counts now.
    """
    store, kept_for = MaintenanceStore(own), timedelta(days=90)
    for action, counts in counted.items():
        store.add_metrics(action, counts, kept_for)
    own["metricsHistory"].insert_many(list(_past_counts(own, counted, now)))
    if reports := list(_past_reports(own, now)):
        own[RUN_REPORTS].insert_many(reports)


def _past_counts(own: Database[Document], actions: Iterable[str], now: datetime) -> Iterator[Document]:
    for action in actions:
        last = own["metricsHistory"].find_one({"action": action}, sort=[("collected_at", -1)]) or {
            "counts": []
        }
        time = now - timedelta(days=DAYS)
        while time < now - _EVERY[action]:
            rows = [row | {"count": _count_before(row, now - time)} for row in last["counts"]]
            yield {"action": action, "collected_at": time, "counts": rows}
            time += _EVERY[action]


def _count_before(row: Mapping[str, Any], age: timedelta) -> int:
    """Return a plausible count of some time ago: fewer entries, hardly an error, and a queue of the day."""
    count: int = row["count"]
    days = age / timedelta(days=1)
    if row.get("error_code") == GROWING_CODE:
        return round(count * max(0.05, 1 - age / _GROWS_FOR))
    if "http_status" in row:
        return round(count * (1 - 0.02 * days))
    wave = 0.6 + 0.4 * math.sin(2 * math.pi * days)
    night_run = 1.5 * math.exp(-24 * (days % 1))
    return round(count * (wave + night_run))


def _past_reports(own: Database[Document], now: datetime) -> Iterator[Document]:
    """Yield a report of each night, like the last one."""
    whole = {"action": BACKFILL.id, "dry_run": False, "covers_everything": True}
    last = own[RUN_REPORTS].find_one(whole, {"_id": 0}, sort=[("ended_at", -1)])
    if last is None:
        return
    for day in range(1, DAYS):
        share = 0.5 + 0.3 * math.sin(day)
        ended_at = now - timedelta(days=day)
        yield last | {
            "run_id": f"scheduled__{ended_at:%Y-%m-%dT21:45:00+00:00}",
            "started_at": ended_at - timedelta(seconds=8),
            "ended_at": ended_at,
            "figures": _scaled(last["figures"], share),
        }


def _scaled(value: Any, share: float) -> Any:  # noqa: ANN401 (a part of a report)
    """Return a part of a report with a share of its numbers."""
    if isinstance(value, Mapping):
        return {name: _scaled(part, share) for name, part in value.items()}
    if isinstance(value, int) and not isinstance(value, bool):
        return round(value * share)
    return value
