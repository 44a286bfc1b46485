"""What a removal takes out of the databases goes to an archive first."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from bson import ObjectId
from bson.raw_bson import RawBSONDocument

from include.databases.cache_store import CacheStore
from include.databases.malformed import is_writable
from include.databases.queue_store import QueueStore
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.errors import DatasetError
from include.storage.removed_datasets import Header, Record, RemovedDatasets


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a dataset is removed: the rule, and what the Hub answered about it, if that is the reason."""

    reason: str
    hub_answer: str | None = None


@dataclass(frozen=True, slots=True)
class Archived:
    """What an archive has of a dataset: its waiting jobs by id, and by the id of each entry its version."""

    path: str
    jobs: set[ObjectId] = field(default_factory=set)
    entries: dict[object, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Archiver:
    """Archives datasets before their removal.

    :param release: the release of datasets-server.
    :param run: the run that removes the datasets, as archives call it.
    :param approved_by: the person who approved the removals, if one was asked.
    """

    archives: RemovedDatasets
    cache: CacheStore
    queue: QueueStore
    release: str
    run: str
    approved_by: str | None = None
    right: RightToWrite = UNRESTRICTED

    def archive(self, dataset: str, cause: Cause, deletable: Set[ObjectId] | None = None) -> Archived | None:
        """Archive the waiting jobs and the entries of a dataset.

        :param deletable: the ids of the jobs that may be deleted; by default, all.
        :return: what is in the archive; None, and no archive, if the dataset has neither.
        :raises DatasetError: if there is no room for the archive, or the dataset has an unsafe name.
        :raises ServiceError: if the storage fails.
        :raises ConfigurationError: if the storage does not exist or denies access.
        """
        found = Archived("")
        records = self._records(dataset, deletable, found)
        first = next(records, None)
        if first is None:
            return None
        header = Header(
            dataset=dataset,
            archived_at=datetime.now(UTC),
            release=self.release,
            run=self.run,
            reason=cause.reason,
            hub_answer=cause.hub_answer,
            approved_by=self.approved_by,
            databases={"cache": self.cache.name, "queue": self.queue.name},
        )
        path = self.archives.write(header, chain([first], records))
        return Archived(path, found.jobs, found.entries)

    def _records(self, dataset: str, deletable: Set[ObjectId] | None, found: Archived) -> Iterator[Record]:
        """Yield what a removal takes out of the databases, and add it to what was found."""
        for entry in self.cache.raw_entries(dataset):
            found.entries[_checked_id(entry)] = entry.get("updated_at")
            yield "entry", entry
            self.right.progress()
        for job in self.queue.raw_waiting_jobs(dataset):
            if deletable is None or _checked_id(job) in deletable:
                found.jobs.add(_checked_id(job))
                yield "job", job


def _checked_id(document: RawBSONDocument) -> Any:  # noqa: ANN401 - an ObjectId, unless it is malformed
    """Return the id of a document, by which it can be removed.

    :raises DatasetError: if it is no such id.
    """
    value = document["_id"]
    if isinstance(value, RawBSONDocument) or not is_writable(value):
        raise DatasetError(f"malformed document: its id is {value!r}")
    return value
