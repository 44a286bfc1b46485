"""The documents that datasets-server keeps in its two databases, and the indexes of its collections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.collection import Collection
from pymongo.database import Database

from include.planning.dataset_state import JobStatus, Priority
from include.planning.processing_graph import Level, Release, Step, load_release

Document = dict[str, Any]

CACHE = "cachedResponsesBlue"
CACHE_TOTALS = "cacheTotalMetric"
JOBS = "jobsBlue"
JOB_TOTALS = "jobTotalMetric"
WORKER_SIZES = "workerTypeJobCounts"
LOCKS = "locks"
BLOCKAGES = "datasetBlockages"

STEP_INTERVAL = timedelta(minutes=1)

_BLOCKAGE_SECONDS = 6 * 3600
_BYTES_PER_CONFIG = 250_000_000


@dataclass(frozen=True, slots=True)
class Shape:
    """A dataset's name, its revision, and the splits of each of its configs."""

    name: str
    revision: str
    configs: Mapping[str, Sequence[str]]


def utc_now() -> datetime:
    """Return the current time in UTC, without a time zone, in whole milliseconds as MongoDB stores it."""
    now = datetime.now(UTC).replace(tzinfo=None)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def up_to_date_entries(release: Release, shape: Shape, since: datetime) -> list[Document]:
    """Return the cache entries of an up-to-date dataset: one for each expected artifact.

    :param since: the ``updated_at`` of the first step; each further step is a minute later.
    """
    places: Mapping[Level, list[tuple[str | None, str | None]]] = {
        Level.DATASET: [(None, None)],
        Level.CONFIG: [(config, None) for config in shape.configs],
        Level.SPLIT: [(config, split) for config, splits in shape.configs.items() for split in splits],
    }
    return [
        _entry(step, shape, config, split, since + position * STEP_INTERVAL)
        for position, step in enumerate(release.steps)
        for config, split in places[step.input_type]
    ]


def _entry(step: Step, shape: Shape, config: str | None, split: str | None, updated_at: datetime) -> Document:
    return {
        "kind": step.name,
        "dataset": shape.name,
        "config": config,
        "split": split,
        "http_status": 200,
        "error_code": None,
        "content": _content(step.name, shape, config),
        "dataset_git_revision": shape.revision,
        "progress": 1.0,
        "job_runner_version": step.job_runner_version,
        "failed_runs": 0,
        "details": None,
        "updated_at": updated_at,
    }


def as_error(entry: Document, code: str, failed_runs: int, message: str = "") -> None:
    """Change an entry to that of a job that failed with this error code."""
    error = message or f"The job failed with {code}."
    details = {"error": error, "cause_exception": code, "cause_traceback": []}
    entry.update(
        http_status=500,
        error_code=code,
        content={"error": details["error"]},
        details=details,
        failed_runs=failed_runs,
    )


def new_job(
    step: Step,
    dataset: str,
    revision: str,
    config: str | None = None,
    split: str | None = None,
    *,
    created_at: datetime,
    status: JobStatus = JobStatus.WAITING,
    priority: Priority = Priority.LOW,
) -> Document:
    """Return a job. A started job started a minute after its creation; its heartbeat is a minute later."""
    place = {name: value for name, value in (("config", config), ("split", split)) if value is not None}
    document = {
        "type": step.name,
        "dataset": dataset,
        "revision": revision,
        **place,
        "unicity_id": ",".join([step.name, dataset, revision, *place.values()]),
        "namespace": dataset.partition("/")[0],
        "priority": priority.value,
        "status": status.value,
        "difficulty": step.difficulty,
        "created_at": created_at,
    }
    if status is JobStatus.STARTED:
        document["started_at"] = created_at + timedelta(minutes=1)
        document["last_heartbeat"] = created_at + timedelta(minutes=2)
    return document


# Contents


def _raw(content: Document) -> RawBSONDocument:
    """Encode the content of many entries once."""
    return RawBSONDocument(bson.encode(content))


_FEATURES = _raw(
    {
        f"column_{number:02}": {"dtype": dtype, "_type": "Value"}
        for number, dtype in enumerate(["string", "int64", "float32", "bool"] * 12)
    }
)
_OTHER_CONTENT = _raw(
    {
        "pending": [],
        "failed": [],
        "partial": False,
        "num_rows": 150_000,
        "statistics": [{"column_name": f"column_{number:02}", "nan_count": 0} for number in range(5)],
    }
)


def _content(kind: str, shape: Shape, config: str | None) -> Mapping[str, Any]:
    """Return the content of an entry: complete if maintenance reads it, otherwise of a realistic size."""
    if kind == "dataset-config-names":
        return {"config_names": [{"dataset": shape.name, "config": name} for name in shape.configs]}
    if config is None:
        return _OTHER_CONTENT
    match kind:
        case "config-split-names":
            place = {"dataset": shape.name, "config": config}
            return {"splits": [place | {"split": split} for split in shape.configs[config]]}
        case "config-info":
            return {"dataset_info": _dataset_info(shape, config), "partial": False}
        case "config-parquet":
            files = [_parquet_file(shape, config, split) for split in shape.configs[config]]
            return {"parquet_files": files, "partial": False}
    return _OTHER_CONTENT


def _dataset_info(shape: Shape, config: str) -> Document:
    return {
        "features": _FEATURES,
        "builder_name": "parquet",
        "config_name": config,
        "version": {"version_str": "0.0.0", "major": 0, "minor": 0, "patch": 0},
        "splits": {split: {"name": split, "num_examples": 50_000} for split in shape.configs[config]},
        "dataset_size": _BYTES_PER_CONFIG,
    }


def _parquet_file(shape: Shape, config: str, split: str) -> Document:
    path = f"resolve/refs%2Fconvert%2Fparquet/{config}/{split}/0000.parquet"
    return {
        "dataset": shape.name,
        "config": config,
        "split": split,
        "url": f"https://huggingface.co/datasets/{shape.name}/{path}",
        "filename": "0000.parquet",
        "size": 1_000_000,
    }


# Indexes and totals


def create_indexes(
    cache_db: Database[Document], queue_db: Database[Document], release: Release | None = None
) -> None:
    """Create the indexes that datasets-server has, unless they exist.

    :param release: decides which fields identify a total of jobs; by default, the default release.
    """
    blocked = (release or load_release()).queue_knows_blocked_datasets
    cache_indexes = [
        _index("kind", "dataset", "config", "split", unique=True),
        _index("dataset", "kind", "http_status"),
        _index("kind", "http_status", "error_code"),
        _index("kind", "http_status", "_id"),
        _index("kind", "_id"),
        _index("error_code", "kind", "details.copied_from_artifact"),
        _index("http_status", "error_code", "kind", "updated_at"),
    ]
    with ThreadPoolExecutor(2) as pool:  # mongod builds the indexes of one command on one core
        list(pool.map(cache_db[CACHE].create_indexes, (cache_indexes[::2], cache_indexes[1::2])))
    cache_db[CACHE_TOTALS].create_indexes([_index("kind", "http_status", "error_code", unique=True)])
    queue_db[JOBS].create_indexes(
        [
            _index("dataset", "status"),
            _index("type", "dataset", "status"),
            _index("status", "type"),
            IndexModel([("unicity_id", ASCENDING), ("status", ASCENDING), ("created_at", DESCENDING)]),
            _index("priority", "status", "created_at", "namespace", "difficulty"),
            _index("priority", "status", "type", "created_at", "namespace"),
        ]
    )
    total_key = ("job_type", "status", "dataset_status") if blocked else ("job_type", "status")
    queue_db[JOB_TOTALS].create_indexes([_index(*total_key, unique=True)])
    queue_db[WORKER_SIZES].create_indexes([_index("worker_size", unique=True)])
    if blocked:
        expiry = IndexModel([("blocked_at", ASCENDING)], expireAfterSeconds=_BLOCKAGE_SECONDS)
        queue_db[BLOCKAGES].create_indexes([expiry])


def _index(*fields: str, unique: bool = False) -> IndexModel:
    return IndexModel([(field, ASCENDING) for field in fields], unique=unique)


def write_totals(cache_db: Database[Document], queue_db: Database[Document], release: Release) -> None:
    """Write the totals as datasets-server counts them, without blocked datasets."""
    of_release = {"dataset_status": "normal"} if release.queue_knows_blocked_datasets else {}
    entries = _counts(
        cache_db[CACHE], {"kind": "kind", "http_status": "http_status", "error_code": "error_code"}
    )
    jobs = _counts(queue_db[JOBS], {"job_type": "type", "status": "status"})
    difficulties = _counts(queue_db[JOBS], {"difficulty": "difficulty"})
    sizes = {"light": 0, "medium": 0, "heavy": 0}
    for key, count in difficulties:
        sizes[_worker_size(key["difficulty"])] += count
    _put_all(cache_db[CACHE_TOTALS], [key | {"total": count} for key, count in entries])
    _put_all(queue_db[JOB_TOTALS], [key | of_release | {"total": count} for key, count in jobs])
    _put_all(
        queue_db[WORKER_SIZES],
        [{"worker_size": size, "jobs_count": count} for size, count in sizes.items()],
    )


def _worker_size(difficulty: int) -> str:
    if difficulty <= 40:
        return "light"
    return "medium" if difficulty <= 70 else "heavy"


def _counts(collection: Collection[Document], fields: Mapping[str, str]) -> list[tuple[Document, int]]:
    """Count the documents by some fields. ``fields`` maps the names in the counts to those fields."""
    key = {name: f"${field}" for name, field in fields.items()}
    groups = collection.aggregate([{"$group": {"_id": key, "count": {"$sum": 1}}}])
    return [(group["_id"], group["count"]) for group in groups]


def _put_all(collection: Collection[Document], documents: list[Document]) -> None:
    collection.delete_many({})
    if documents:
        collection.insert_many(documents)
