"""What a page about one dataset reads: bounded, answered by indexes, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import pymongo
from pymongo import ASCENDING
from pymongo.database import Database

from include.databases.bounded import MAX_TIME_MS, max_time_ms
from include.databases.cache_store import CacheStore
from include.databases.error_messages import ErrorMessage, message_of, projected_message
from include.databases.maintenance_store import MaintenanceStore
from include.databases.malformed import ANY_TEXT, is_text
from include.databases.proof_store import Look, Proof, ProofStore
from include.databases.queue_store import QueueStore
from include.databases.removal_ledger import Removal, RemovalLedger
from include.databases.restores import Restore, Restores
from include.errors import DatasetError
from include.planning.dataset_state import CachedDataset, Job
from include.planning.plan import ArtifactKey
from include.planning.processing_graph import Release

Document = dict[str, Any]
Found = TypeVar("Found")

#: Of a dataset with more entries or more pending jobs, neither are read: a page would have to wait too long.
MAX_ENTRIES = 200_000
MAX_JOBS = 200_000
MAX_NAMES = 20
MAX_MESSAGE_CHARACTERS = 500

_BY_DATASET = {"dataset": 1, "kind": 1, "http_status": 1}


@dataclass(frozen=True, slots=True)
class Size:
    """How many entries and pending jobs a dataset has, counted to one more than may be read."""

    entries: int
    jobs: int

    @property
    def has_too_many(self) -> bool:
        """Whether they are too many to be read."""
        return self.entries > MAX_ENTRIES or self.jobs > MAX_JOBS


@dataclass(frozen=True, slots=True)
class State:
    """What the cache and the queue hold of a dataset."""

    cached: CachedDataset
    jobs: Sequence[Job]


@dataclass(frozen=True, slots=True)
class OwnRecords:
    """What our own database holds of a dataset.

    :param is_rebuilt: whether its rebuild was interrupted.
    :param removal: its last removal.
    :param restore: its restore, unless it was removed again.
    :param proof: that an earlier run has proven it to be up to date.
    :param look: the last look for datasets that have changed since they were proven.
    """

    is_rebuilt: bool
    removal: Removal | None
    restore: Restore | None
    proof: Proof | None
    look: Look | None


class DatasetReader:
    """Reads one dataset at a time. MongoDB works on each query for at most ``MAX_TIME_MS``.

    :param cache: the cache database.
    :param queue: the queue database.
    :param own: the database ``datasets_server_airflow``.
    """

    def __init__(
        self, cache: Database[Document], queue: Database[Document], own: Database[Document], release: Release
    ) -> None:
        self._entries = cache.get_collection("cachedResponsesBlue", ANY_TEXT)
        self._jobs = queue["jobsBlue"]
        self._blockages = queue.get_collection("datasetBlockages", ANY_TEXT)
        self._own = own
        self._cache_name = cache.name
        self._cache = CacheStore(cache, max_time_ms=MAX_TIME_MS)
        self._queue = QueueStore(queue, release, max_time_ms=MAX_TIME_MS)
        self._release = release

    def names(self, prefix: str, limit: int = MAX_NAMES) -> list[str]:
        """Return the first names of cached datasets that begin with a text, in their order.

        Upper and lower case differ, as in the index: it is asked for one name after the other, so that the
        time does not depend on how many entries each dataset has.
        """
        names: list[str] = []
        with pymongo.timeout(max_time_ms() / 1_000):
            for name in self._names_from(prefix):
                if len(names) == limit or not name.startswith(prefix):
                    break
                names.append(name)
        return names

    def _names_from(self, first: str) -> Iterator[str]:
        condition = {"$gte": first}
        only_the_name = {"_id": 0, "dataset": 1}
        while found := self._entries.find_one(
            {"dataset": condition}, only_the_name, sort=[("dataset", ASCENDING)], hint=_BY_DATASET
        ):
            name = found["dataset"]
            if not is_text(name):
                return
            yield name
            condition = {"$gt": name}

    def size(self, name: str) -> Size:
        """Count the entries and the pending jobs of a dataset, from the indexes."""
        of_dataset = {"dataset": name}
        return Size(
            self._entries.count_documents(of_dataset, limit=MAX_ENTRIES + 1, maxTimeMS=max_time_ms()),
            self._jobs.count_documents(of_dataset, limit=MAX_JOBS + 1, maxTimeMS=max_time_ms()),
        )

    def state(self, name: str, *, at_one_moment: bool = False) -> State:
        """Read a dataset that has not too many entries and jobs: the jobs first, as a backfill does.

        :param at_one_moment: read all entries as of one moment.
        :raises DatasetError: if an entry or a job is malformed.
        """
        jobs = _readable(self._queue.pending_jobs([name]).get(name, []))
        return State(_readable(self._cache.read([name], at_one_moment=at_one_moment)[name]), jobs)

    def rate_limited_since(self, name: str) -> datetime | None:
        """Return since when (UTC) the queue holds back the jobs of a dataset; None if it does not."""
        if not self._release.queue_knows_blocked_datasets:
            return None
        # The collection has the datasets of the last six hours: it is small, and has no index of names.
        found = self._blockages.find_one({"dataset": name}, max_time_ms=max_time_ms())
        at = (found or {}).get("blocked_at")
        return at.replace(tzinfo=UTC) if isinstance(at, datetime) else None

    def message(self, name: str, artifact: ArtifactKey) -> ErrorMessage | None:
        """Return what the entry of an artifact says about its error; None if it does not exist."""
        kind, config, split = artifact
        found = self._entries.find_one(
            {"kind": kind, "dataset": name, "config": config, "split": split},
            projected_message(MAX_MESSAGE_CHARACTERS),
            max_time_ms=max_time_ms(),
        )
        return None if found is None else message_of(found)

    def own_records(self, name: str, rules: str) -> OwnRecords:
        """Read what our own database holds of a dataset.

        :param rules: the fingerprint of the rules by which a record must have been proven.
        """
        proofs = ProofStore(self._own, self._cache_name)
        with pymongo.timeout(max_time_ms() / 1_000):
            return OwnRecords(
                is_rebuilt=bool(MaintenanceStore(self._own).unfinished_rebuilds_among([name])),
                removal=RemovalLedger(self._own).of(name),
                restore=Restores(self._own).of(name),
                proof=proofs.among([name], rules).get(name),
                look=proofs.last_look(),
            )


def _readable(found: Found | DatasetError) -> Found:
    if isinstance(found, DatasetError):
        raise found
    return found
