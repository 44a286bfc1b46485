"""Our own database: what the tasks of a run pass to each other when it is too much for XCom.

It is on the deployment of the queue. Only in this database do we create collections and indexes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from pymongo import ReplaceOne
from pymongo.database import Database
from pymongo.errors import OperationFailure

from include.batches import batched
from include.databases import proof_store, removal_ledger, restores, run_reports
from include.databases.counts import Counts
from include.databases.lease import Lease
from include.databases.listing_store import ListingStore
from include.databases.mongo import Session, in_transaction, resumed, retried
from include.databases.name_ranges import ALL_NAMES, NameRange, in_range, ranges_between
from include.databases.proof_store import ProofStore
from include.databases.removal_ledger import RemovalLedger
from include.databases.restores import Restores
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.databases.run_records import COLLECTION as RUN_RECORDS
from include.databases.run_records import RunRecords
from include.databases.run_reports import RunReports

Document = dict[str, Any]

#: Some of its collections, to try the rights on, each with the actions that a role of MongoDB must allow.
COLLECTIONS = dict.fromkeys(
    (
        "selectedDatasets",
        "removalCandidates",
        "unfinishedRebuilds",
        removal_ledger.COLLECTION,
        restores.COLLECTION,
        proof_store.COLLECTION,
        proof_store.LOOKS,
        RUN_RECORDS,
        run_reports.COLLECTION,
    ),
    ("find", "insert", "update", "remove"),
)
METRICS_HISTORY = "metricsHistory"
DOCUMENTS_PER_WRITE = 5_000
KEPT_FOR = timedelta(days=90)
_INDEX_NOT_FOUND = 27


@dataclass(frozen=True, slots=True)
class RemovalCandidate:
    """A dataset that the Hub, asked about it at ``asked_at`` (UTC), does not support, and the reason."""

    dataset: str
    reason: str
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Selected:
    """How many datasets a run is about, and how many cache entries these have."""

    datasets: int
    entries: int


class MaintenanceStore:
    """Keeps the Hub's listings, and the datasets that a run is about, removes, rebuilds or is done with.

    :param database: the database ``datasets_server_airflow``. A ``run`` is any text that no other run
        has, not even of another Airflow.
    :param listing_id: the listing that proves revisions; without one, none is proven.
    """

    def __init__(self, database: Database[Document], listing_id: str | None = None) -> None:
        self._database = database
        self._listing = None if listing_id is None else database[listing_id]
        self._selected = database["selectedDatasets"]
        self._candidates = database["removalCandidates"]
        self._rebuilds = database["unfinishedRebuilds"]
        self._done = database["doneDatasets"]
        self._metrics = database[METRICS_HISTORY]

    def create_indexes(self) -> None:
        """Create the indexes that do not exist."""
        for collection in (self._selected, self._candidates, self._done):
            collection.create_index([("run", 1), ("dataset", 1)], unique=True)
            collection.create_index("asked_at", expireAfterSeconds=int(KEPT_FOR.total_seconds()))
        self._metrics.create_index([("action", 1), ("collected_at", 1)])
        self.removal_ledger().create_indexes()
        self.restores().create_indexes()
        self.run_reports().create_indexes()
        proof_store.create_indexes(self._database)

    def listings(self) -> ListingStore:
        """Return the store of the Hub's listings."""
        return ListingStore(self._database)

    def removal_ledger(self) -> RemovalLedger:
        """Return the record of the removals."""
        return RemovalLedger(self._database)

    def restores(self) -> Restores:
        """Return the record of the restores."""
        return Restores(self._database)

    def proofs(self, cache: str) -> ProofStore:
        """Return the records of which datasets of a cache were proven to be up to date."""
        return ProofStore(self._database, cache)

    def with_listing(self, listing_id: str) -> MaintenanceStore:
        """Return this store for a run that uses a listing."""
        return MaintenanceStore(self._database, listing_id)

    def listed_revisions(self, names: Sequence[str]) -> dict[str, str]:
        """Return the revisions of the datasets that the listing proves to be supported."""
        if self._listing is None:
            return {}
        found = self._listing.find({"_id": {"$in": names}, "revision": {"$ne": None}})
        return {document["_id"]: document["revision"] for document in found}

    def listed_among(self, names: Sequence[str]) -> set[str]:
        """Return the datasets among ``names`` that the listing has, proven to be supported or not."""
        if self._listing is None or not names:
            return set()
        return {document["_id"] for document in self._listing.find({"_id": {"$in": list(names)}}, {"_id": 1})}

    def listed_sample(self, size: int) -> list[str]:
        """Return at most ``size`` names of random datasets that the listing proves to be supported."""
        if self._listing is None:
            return []
        # MongoDB picks at random only from a whole collection, so what is not proven is left out afterwards.
        pipeline: list[Document] = [
            {"$sample": {"size": 2 * size}},
            {"$match": {"revision": {"$type": "string"}}},
            {"$limit": size},
        ]
        return [document["_id"] for document in self._listing.aggregate(pipeline)]

    def select(
        self,
        run: str,
        names: Iterable[str],
        entry_counts: Callable[[Sequence[str]], Mapping[str, int]],
        right: RightToWrite = UNRESTRICTED,
    ) -> Selected:
        """Store which datasets a run is about, instead of what is stored for this run.

        :param entry_counts: returns the number of cache entries of some datasets, by name.
        :param right: checked in each transaction.
        :raises ServiceError: if the right is lost.
        """
        self._write(lambda session: self._selected.delete_many({"run": run}, session=session), right)
        datasets = entries = 0
        for batch in batched(names, DOCUMENTS_PER_WRITE):
            counts = entry_counts(batch)
            self._write(partial(self._add_selected, run, counts), right)
            datasets += len(batch)
            entries += sum(counts.values())
        return Selected(datasets, entries)

    def _add_selected(self, run: str, counts: Mapping[str, int], session: Session) -> None:
        now = datetime.now(UTC)
        self._selected.insert_many(
            [
                {"run": run, "dataset": name, "entries": entries, "asked_at": now}
                for name, entries in counts.items()
            ],
            session=session,
        )

    def selection_shards(self, run: str, selected: Selected, count: int) -> list[NameRange]:
        """Cut the names of a run's datasets into at most ``count`` ranges with about as many entries each."""
        most = -(-selected.entries // count)
        bounds: list[str] = []
        held = 0
        for document in self._selected.find({"run": run}, {"dataset": 1, "entries": 1}).sort("dataset"):
            if held and held >= most:
                bounds.append(document["dataset"])
                held = 0
            held += document["entries"]
        return ranges_between(bounds)

    def selected(self, run: str, names: NameRange = ALL_NAMES) -> Iterator[str]:
        """Yield the datasets that a run is about, in a range of names, in their order."""
        return resumed(partial(self._selected_after, {"run": run} | in_range(names)))

    def _selected_after(self, query: Document, last: str | None) -> Iterator[str]:
        if last is not None:
            query = {"$and": [query, {"dataset": {"$gt": last}}]}
        for document in self._selected.find(query, {"_id": 0, "dataset": 1}).sort("dataset"):
            yield document["dataset"]

    def add_removal_candidates(
        self, run: str, reasons: Mapping[str, str], right: RightToWrite = UNRESTRICTED
    ) -> None:
        """Store which datasets a run is to remove, with the reasons, and forget their rebuilds.

        :param right: checked in the transaction.
        :raises ServiceError: if the right is lost.
        """
        now = datetime.now(UTC)
        candidates = [
            ReplaceOne(
                {"run": run, "dataset": dataset},
                {"run": run, "dataset": dataset, "reason": reason, "asked_at": now},
                upsert=True,
            )
            for dataset, reason in reasons.items()
        ]

        def add(session: Session) -> None:
            self._candidates.bulk_write(candidates, ordered=False, session=session)
            self.finish_rebuilds(reasons, session)

        self._write(add, right)

    def withdraw_removal_candidates(
        self, run: str, names: Collection[str], right: RightToWrite = UNRESTRICTED
    ) -> None:
        """Forget that a run is to remove datasets, if an earlier attempt of a task has written them down.

        :param right: checked in the transaction; not used if there is none of them.
        :raises ServiceError: if the right is lost.
        """
        candidates = {"run": run, "dataset": {"$in": list(names)}}
        if names and self._candidates.find_one(candidates, {"_id": 1}):
            self._write(lambda session: self._candidates.delete_many(candidates, session=session), right)

    def removal_candidate_count(self, run: str) -> int:
        """Return the number of datasets that a run is to remove."""
        return self._candidates.count_documents({"run": run})

    def removal_reasons(self, run: str) -> dict[str, int]:
        """Return for how many datasets that a run is to remove each reason holds, the most frequent first."""
        pipeline: list[Document] = [{"$match": {"run": run}}, {"$sortByCount": "$reason"}]
        return {found["_id"]: found["count"] for found in self._candidates.aggregate(pipeline)}

    def removal_candidates(self, run: str, limit: int = 0) -> Iterator[RemovalCandidate]:
        """Yield the datasets that a run is to remove, by name; ``limit`` 0 is no limit."""
        for document in self._candidates.find({"run": run}).sort("dataset").limit(limit):
            yield RemovalCandidate(
                document["dataset"], document["reason"], document["asked_at"].replace(tzinfo=UTC)
            )

    def start_rebuilds(self, names: Iterable[str], right: RightToWrite = UNRESTRICTED) -> None:
        """Store which datasets are rebuilt, before their removal leaves no trace of them.

        :param right: checked in the transaction.
        :raises ServiceError: if the right is lost.
        """
        self._write(partial(self._start_rebuilds, list(names)), right)

    def _start_rebuilds(self, names: Sequence[str], session: Session) -> None:
        rebuilds = [ReplaceOne({"_id": name}, {"dataset": name}, upsert=True) for name in names]
        self._rebuilds.bulk_write(rebuilds, session=session)
        self.restores().forget(names, session)

    def finish_rebuilds(self, names: Iterable[str], session: Session = None) -> None:
        """Forget the rebuilds whose jobs are created."""
        if crossed_off := list(names):
            self._rebuilds.delete_many({"_id": {"$in": crossed_off}}, session=session)

    def unfinished_rebuilds_among(self, names: Sequence[str]) -> set[str]:
        """Return the datasets among ``names`` whose rebuild was interrupted."""
        return {document["_id"] for document in self._rebuilds.find({"_id": {"$in": names}})}

    def unfinished_rebuilds(self, names: NameRange = ALL_NAMES) -> Iterator[str]:
        """Yield the datasets whose rebuild was interrupted: they are removed, and may lack jobs."""
        yield from retried(lambda: [document["_id"] for document in self._rebuilds.find(in_range(names))])

    def note_done(self, run: str, names: Iterable[str], session: Session) -> None:
        """Store that a run is done with datasets, in the transaction that writes what it did."""
        now = datetime.now(UTC)
        done = [
            ReplaceOne(
                {"run": run, "dataset": name}, {"run": run, "dataset": name, "asked_at": now}, upsert=True
            )
            for name in names
        ]
        if done:
            self._done.bulk_write(done, ordered=False, session=session)

    def done_by(self, run: str) -> set[str]:
        """Return the datasets that a run is done with."""
        return {document["dataset"] for document in self._done.find({"run": run}, {"_id": 0, "dataset": 1})}

    def _write(self, write: Callable[[Session], object], right: RightToWrite) -> None:
        in_transaction(self._database.client, write, right)

    def lease(self, work: str, run: str, *, run_name: str, task: str) -> Lease:
        """Return the lease that a task of a run needs to do some work."""
        return Lease(self._database, work, run, run_name=run_name, task=task)

    def run_records(self, dag_id: str) -> RunRecords:
        """Return what is kept of the runs of a DAG."""
        return RunRecords(self._database, dag_id)

    def run_reports(self) -> RunReports:
        """Return the store of the reports of runs."""
        return RunReports(self._database)

    def add_metrics(self, action: str, counts: Iterable[Counts], kept_for: timedelta) -> None:
        """Add a collection of metrics to their history, and delete what is older than ``kept_for``.

        It is a document with the fields ``action``, ``collected_at`` (UTC) and ``counts``, a list of
        ``{"name": what is counted, the parts of the group, "count": number}``.
        """
        rows = [
            {"name": each.name, **labels, "count": count}
            for each in counts
            for labels, count in each.labelled()
        ]
        now = datetime.now(UTC)
        self._metrics.insert_one({"action": action, "collected_at": now, "counts": rows})
        self._drop_expiry_of_metrics()
        self._metrics.delete_many({"action": action, "collected_at": {"$lt": now - kept_for}})

    def _drop_expiry_of_metrics(self) -> None:
        """Drop the index with which an earlier version let MongoDB delete the history after other days.

        To change the days of such an index takes a right (``collMod``) that the role readWrite does not have.
        """
        for index in self._metrics.list_indexes():
            if "expireAfterSeconds" in index:
                try:
                    self._metrics.drop_index(index["name"])
                except OperationFailure as error:
                    if error.code != _INDEX_NOT_FOUND:  # Another run may drop it at the same time.
                        raise

    def metrics_history(self, action: str, since: datetime, until: datetime) -> Iterator[Document]:
        """Yield what was added from ``since`` (inclusive) to ``until`` (exclusive), the oldest first."""
        query = {"action": action, "collected_at": {"$gte": since, "$lt": until}}
        yield from self._metrics.find(query, {"_id": 0, "action": 0}).sort("collected_at")
