"""The state of a dataset in the cache and in the queue: what its plan is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from bson import ObjectId


class JobStatus(StrEnum):
    """Whether a pending job still waits for a worker. A job that has finished is no longer in the queue."""

    WAITING = "waiting"
    STARTED = "started"


class Priority(StrEnum):
    """The priorities of a job, highest first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Entry(NamedTuple):
    """A cache entry without its content.

    A named tuple and not a dataclass, as everywhere else, because some fifty are made for each dataset
    of the cache, and a frozen dataclass takes three times as long to make.
    ``config`` and ``split`` are None where they do not apply; ``updated_at`` is in UTC, without a time zone.
    """

    kind: str
    config: str | None
    split: str | None
    http_status: int
    error_code: str | None
    revision: str
    job_runner_version: int | None
    failed_runs: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """A job that is pending, waiting or started. ``type`` is the name of its step."""

    id: ObjectId
    type: str
    dataset: str
    revision: str
    config: str | None
    split: str | None
    unicity_id: str
    status: JobStatus
    priority: Priority
    difficulty: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CachedDataset:
    """What the cache holds of one dataset.

    ``configs`` are listed in its ``dataset-config-names`` entry, ``splits`` by config in the
    ``config-split-names`` entries, ``sizes`` (in bytes) by config in the ``config-info`` entries. Where there
    is no such entry, or a malformed one, they are empty or lack the config.
    """

    dataset: str
    entries: Sequence[Entry] = ()
    configs: Sequence[str] = ()
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
