"""States of datasets, as examples need them: small, up to date, and changed in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypedDict, Unpack

from bson import ObjectId
from pymongo.database import Database

from dev.local_stack.documents import CACHE, JOBS, Shape, up_to_date_entries
from include.databases.listing_store import HubListing, ListingStore
from include.hub.answers import ListedDataset, ListingPage
from include.planning.dataset_state import CachedDataset, Entry, Job, JobStatus, Priority
from include.planning.plan import NewJob, Place
from include.planning.processing_graph import DEFAULT_RELEASE, Level, Release

Document = dict[str, Any]
Splits = Mapping[str, Sequence[str]]

DATASET = "user/dataset"
REVISION = "1" * 40
OTHER_REVISION = "2" * 40
#: In UTC and without a zone, as the databases give times.
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).replace(tzinfo=None)
ONE_SPLIT: Splits = {"config": ["train"]}

_numbers = count(1)


class EntryFields(TypedDict, total=False):
    """What an example may choose of an entry."""

    http_status: int
    error_code: str | None
    revision: str
    job_runner_version: int | None
    failed_runs: int
    updated_at: datetime


class JobFields(TypedDict, total=False):
    """What an example may choose of a job."""

    revision: str
    status: JobStatus
    priority: Priority
    difficulty: int
    created_at: datetime


def places_of(level: Level, splits: Splits) -> list[Place]:
    if level is Level.DATASET:
        return [(None, None)]
    if level is Level.CONFIG:
        return [(config, None) for config in splits]
    return [(config, split) for config, names in splits.items() for split in names]


def up_to_date(release: Release, splits: Splits = ONE_SPLIT, revision: str = REVISION) -> CachedDataset:
    """A dataset with nothing to do; each step's entries are a minute newer than those of the step before."""
    entries = [
        Entry(
            kind=step.name,
            config=config,
            split=split,
            http_status=200,
            error_code=None,
            revision=revision,
            job_runner_version=step.job_runner_version,
            failed_runs=0,
            updated_at=NOON + timedelta(minutes=minutes),
        )
        for minutes, step in enumerate(release.steps)
        for config, split in places_of(step.input_type, splits)
    ]
    return CachedDataset(DATASET, entries, list(splits), {config: list(s) for config, s in splits.items()})


def changed(
    cached: CachedDataset, kind: str, place: Place | None = None, **fields: Unpack[EntryFields]
) -> CachedDataset:
    """The dataset with other values in the entries of a kind, at a place or at all of them."""
    entries = [entry._replace(**fields) if _is_at(entry, kind, place) else entry for entry in cached.entries]
    assert entries != list(cached.entries), "nothing has changed"
    return replace(cached, entries=entries)


def without(cached: CachedDataset, kind: str, place: Place | None = None) -> CachedDataset:
    """The dataset without the entries of a kind, at a place or at all of them."""
    entries = [entry for entry in cached.entries if not _is_at(entry, kind, place)]
    assert entries != list(cached.entries), "nothing has changed"
    return replace(cached, entries=entries)


def _is_at(entry: Entry, kind: str, place: Place | None) -> bool:
    return entry.kind == kind and place in (None, (entry.config, entry.split))


def pending_job(job_type: str, place: Place = (None, None), **fields: Unpack[JobFields]) -> Job:
    """A waiting job of low priority, one minute newer than the one made before it."""
    number = next(_numbers)
    revision = fields.get("revision", REVISION)
    names = [name for name in place if name is not None]
    return Job(
        id=ObjectId(f"{number:024x}"),
        type=job_type,
        dataset=DATASET,
        revision=revision,
        config=place[0],
        split=place[1],
        unicity_id=",".join([job_type, DATASET, revision, *names]),
        status=fields.get("status", JobStatus.WAITING),
        priority=fields.get("priority", Priority.LOW),
        difficulty=fields.get("difficulty", 50),
        created_at=fields.get("created_at", NOON + timedelta(minutes=number)),
    )


def as_pending(job: NewJob, revision: str = REVISION) -> Job:
    """The job that the queue holds once a new one is created."""
    return pending_job(job.type, (job.config, job.split), revision=revision, difficulty=job.difficulty)


# What the databases hold


def insert_up_to_date(
    cache: Database[Document],
    release: Release,
    name: str = DATASET,
    splits: Splits = ONE_SPLIT,
    revision: str = REVISION,
) -> None:
    """Insert the entries of a dataset with nothing to do."""
    cache[CACHE].insert_many(up_to_date_entries(release, Shape(name, revision, splits), NOON))


def put_listing(
    listings: ListingStore,
    *datasets: ListedDataset,
    endpoint: str = "http://hub",
    release: str = DEFAULT_RELEASE,
) -> HubListing:
    """Let the Hub have been listed, and the listing be trusted."""
    listing = listings.begin(endpoint, release)
    return listings.trust(listings.add(listing, ListingPage(list(datasets), None), requests=1))


def contents(*databases: Database[Document]) -> dict[str, list[Document]]:
    """All documents, in the order of their insertion, without times and generated ids; empty collections
    are left out.
    """
    found = {
        f"{database.name} {name}": [
            _comparable(document) for document in database[name].find().sort("$natural")
        ]
        for database in databases
        for name in database.list_collection_names()
    }
    return {
        name: documents if name.endswith(JOBS) else sorted(documents, key=repr)
        for name, documents in sorted(found.items())
        if documents
    }


def _comparable(document: Document) -> Document:
    times = ("created_at", "asked_at", "updated_at", "begun_at", "kept_at")
    return {
        field: value
        for field, value in document.items()
        if field not in times and not isinstance(value, ObjectId)
    }
