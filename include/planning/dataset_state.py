"""The state of a dataset in the cache and in the queue, from which its plan is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bson import ObjectId


class JobStatus(StrEnum):
    """Whether a pending job waits for a worker or has started. A finished job is no longer in the queue."""

    WAITING = "waiting"
    STARTED = "started"


class Priority(StrEnum):
    """The priority of a job; the highest comes first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Entry(NamedTuple):
    """A cache entry without its content.

    ``config`` and ``split`` are None where they do not apply; ``updated_at`` is in UTC, without a time zone.

    It is a named tuple, unlike the other values, because a dataset has some fifty entries, and a frozen
    dataclass takes three times as long to make.
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
    """A pending job. ``type`` is the name of its step.

    ``config`` and ``split`` are None where they do not apply; ``created_at`` is in UTC, without a time zone.
    """

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

    A config is missing from ``splits`` or ``sizes``, and ``configs`` is empty, if the entry that lists it is
    absent or malformed.

    :param configs: as its ``dataset-config-names`` entry lists them.
    :param splits: by config, as the ``config-split-names`` entries list them.
    :param sizes: in bytes, by config, from the ``config-info`` entries.
    """

    dataset: str
    entries: Sequence[Entry] = ()
    configs: Sequence[str] = ()
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
