"""The databases and storages before a run, and after it in a form that can be compared."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from dev.local_stack.configuration import CACHE_DATABASE, QUEUE_DATABASE
from dev.local_stack.documents import (
    CACHE,
    CACHE_TOTALS,
    JOB_TOTALS,
    JOBS,
    LOCKS,
    WORKER_SIZES,
    new_job,
    utc_now,
    write_totals,
)
from dev.local_stack.generated_cache import generate
from dev.local_stack.hub_server import HubState
from dev.local_stack.mongod import Mongod
from include.databases.mongo import MAINTENANCE_DATABASE
from include.planning.processing_graph import load_release
from include.storage.asset_storage import dataset_folder

#: The folders of the storages.
ASSETS, CACHED_ASSETS = STORAGES = ("assets", "cached-assets")

DATASETS = 5_000
UP_TO_DATE = 0.7
#: One of this many datasets is no longer supported. It has files; so has the next dataset, which keeps them.
_DATASETS_PER_REMOVAL = 100
REMOVALS = DATASETS // _DATASETS_PER_REMOVAL

_TIMES = frozenset({"asked_at", "created_at", "updated_at"})

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StateFolder:
    """A folder with the data of a MongoDB and the storages."""

    path: Path

    @property
    def mongod(self) -> Path:
        """The data of MongoDB."""
        return self.path / "mongod"

    def storage(self, name: str) -> Path:
        """The root of a storage."""
        return (self.path / name).absolute()

    def copy_from(self, other: StateFolder) -> None:
        """Become a copy of another folder. No server may be running on either."""
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(other.path, self.path)


def make_start(folder: StateFolder, log_file: Path) -> HubState:
    """Generate the initial state, and return the Hub that belongs to it."""
    release = load_release()
    with Mongod(folder.mongod, log_file=log_file) as mongod, MongoClient[Document](mongod.uri) as client:
        cache, queue = client[CACHE_DATABASE], client[QUEUE_DATABASE]
        hub = generate(cache, queue, DATASETS, release, UP_TO_DATE)
        names = sorted(hub.datasets)
        unsupported = names[::_DATASETS_PER_REMOVAL]
        jobs = [
            new_job(release.steps[0], name, hub.datasets[name].sha or "", created_at=utc_now())
            for name in unsupported
        ]
        queue[JOBS].insert_many(jobs)
        queue[LOCKS].insert_many({"_id": job["unicity_id"], "owner": "worker", "ttl": 600} for job in jobs)
        write_totals(cache, queue, release)
    for name in (*unsupported, *names[1::_DATASETS_PER_REMOVAL]):
        for storage in STORAGES:
            _add_file(folder.storage(storage), name)
    for number, name in enumerate(unsupported):
        if number % 2:
            del hub.datasets[name]
        else:
            hub.put(replace(hub.datasets[name], disabled=True))
    return hub


def _add_file(root: Path, dataset: str) -> None:
    file = root / dataset_folder(dataset) / "revision" / "--" / "default" / "train" / "0" / "image.jpg"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"an image")


@dataclass(frozen=True, slots=True)
class EndState:
    """The state after a run, without the times and ids that differ from run to run.

    ``parts`` has, by name, the documents of a collection or the files of a storage, as sorted lines. There
    are many cache entries, and a backfill never changes them: they are one line with a digest by MongoDB.
    """

    entries: int
    jobs: int
    cached_datasets: int
    parts: Mapping[str, tuple[str, ...]]

    def differences(self, other: EndState) -> list[str]:
        """Return a line for each part that differs, with an example."""
        found = []
        for name in sorted(self.parts.keys() | other.parts.keys()):
            one, two = self.parts.get(name, ()), other.parts.get(name, ())
            if one != two:
                only_one, only_two = Counter(one) - Counter(two), Counter(two) - Counter(one)
                sample = next(iter([*only_one, *only_two]), "the same lines in a different order")
                counts = f"{only_one.total()} only in the first, {only_two.total()} only in the second"
                found.append(f"{name}: {counts}: {sample}")
        return found


def read_end(folder: StateFolder, client: MongoClient[Document]) -> EndState:
    """Read the state after a run."""
    cache, queue, maintenance = (
        client[name] for name in (CACHE_DATABASE, QUEUE_DATABASE, MAINTENANCE_DATABASE)
    )
    parts = {
        "cache entries": (cache.command("dbHash", collections=[CACHE])["collections"][CACHE],),
        "totals of the cache": _lines(cache, CACHE_TOTALS),
        "jobs": _jobs(queue),
        "totals of the jobs": _lines(queue, JOB_TOTALS),
        "jobs by worker size": _lines(queue, WORKER_SIZES),
        "locks": _lines(queue, LOCKS, keep_id=True),
        # They contain the token of the run.
        "removal candidates": _lines(maintenance, "removalCandidates", without=frozenset({"run"})),
        "unfinished rebuilds": _lines(maintenance, "unfinishedRebuilds", keep_id=True),
        "leases": _lines(maintenance, "leases"),
    } | {name: _files(folder.storage(name)) for name in STORAGES}
    return EndState(
        entries=cache[CACHE].count_documents({}),
        jobs=len(parts["jobs"]),
        cached_datasets=len(cache[CACHE].distinct("dataset")),
        parts=parts,
    )


def _lines(
    database: Database[Document],
    collection: str,
    *,
    keep_id: bool = False,
    without: frozenset[str] = frozenset(),
) -> tuple[str, ...]:
    left_out = _TIMES | without | (frozenset() if keep_id else {"_id"})
    return tuple(sorted(_line(document, left_out) for document in database[collection].find()))


def _jobs(queue: Database[Document]) -> tuple[str, ...]:
    """Return the jobs of each dataset in the order of their creation, in which workers take them."""
    jobs = queue[JOBS].find().sort({"dataset": 1, "created_at": 1, "_id": 1})
    return tuple(_line(job, _TIMES | {"_id"}) for job in jobs)


def _line(document: Document, left_out: frozenset[str]) -> str:
    return repr(sorted((field, value) for field, value in document.items() if field not in left_out))


def _files(root: Path) -> tuple[str, ...]:
    return tuple(sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()))
