"""The cache database: the only module that knows ``cachedResponsesBlue`` and ``cacheTotalMetric``."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from itertools import groupby, product
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from bson import Int64, MinKey, encode
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo.command_cursor import CommandCursor
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, OperationFailure

from include.batches import batched
from include.databases import mongo
from include.databases.counts import CountCollection, Counts, Group
from include.databases.malformed import ANY_DATE, ANY_TEXT, is_number, is_text, read_separately
from include.databases.mongo import (
    DOCUMENTS_PER_TRANSACTION,
    FROM_PRIMARY,
    NO_LIMIT_BUT_THE_REPLY_SIZE,
    ReadMode,
    Session,
    enough_for_a_transaction,
    in_transaction,
    in_transactions,
    raw_collection,
    resumed,
    retried,
)
from include.databases.name_ranges import ALL_NAMES, NameRange, cut, in_range
from include.databases.owed_counts import CountMove, OwedCounts
from include.databases.pymongo_internals import raw_replies
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.databases.selection import Selection, has_wildcard
from include.errors import DatasetError
from include.planning.dataset_state import CachedDataset, Entry

if TYPE_CHECKING:
    from include.planning.entry_columns import EntryColumns

Document = dict[str, Any]

#: The collections that maintenance uses, each with the actions that a role of MongoDB must allow.
COLLECTIONS = {
    "cachedResponsesBlue": ("find", "insert", "remove"),
    "cacheTotalMetric": ("find", "insert", "update", "remove"),
}

_CONFIG_NAMES_KIND = "dataset-config-names"
_SPLIT_NAMES_KIND = "config-split-names"
_INFO_KIND = "config-info"
_PARQUET_KIND = "config-parquet"

_ENTRY_FIELDS = (
    "kind",
    "config",
    "split",
    "http_status",
    "error_code",
    "dataset_git_revision",
    "job_runner_version",
    "failed_runs",
    "updated_at",
)
_NULLS: Document = dict.fromkeys(("config", "split", "error_code", "job_runner_version"))
_entry_values = itemgetter(*_ENTRY_FIELDS)
# As Entry._make, but without its check of the length, which takes as long again.
_make_entry = partial(tuple.__new__, Entry)

_NUMBER_FIELDS = ("http_status", "job_runner_version", "failed_runs")
_INTEGER = (int, Int64)
_NULL = type(None)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "kind": (str,),
    "config": (str, _NULL),
    "split": (str, _NULL),
    "http_status": _INTEGER,
    "error_code": (str, _NULL),
    "revision": (str,),
    "job_runner_version": (*_INTEGER, _NULL),
    "failed_runs": _INTEGER,
    "updated_at": (datetime,),
}
#: All combinations, because to look one up is many times as fast as to check each field.
_USUAL_TYPES = frozenset(product(*_TYPES.values()))

#: The projection of an entry without its content.
ENTRY_METADATA = {"_id": 0, "dataset": 1, **dict.fromkeys(_ENTRY_FIELDS, 1)}
_LISTS_AND_SIZES = {
    "_id": 0,
    "kind": 1,
    "dataset": 1,
    "config": 1,
    "content.config_names": 1,
    "content.splits": 1,
    "content.dataset_info.dataset_size": 1,
}

#: What makes an entry unique.
_ARTIFACT_FIELDS = ("kind", "dataset", "config", "split")
_ATTEMPTS_TO_INSERT = 5

#: By the id of each entry, when it was updated: whoever changes an entry changes that.
Versions = Mapping[object, object]

#: MongoDB's error code of a hint that names no index.
_BAD_VALUE = 2
_NAMES_PER_REPLY = 10_000
#: Of a batch of datasets that is read as columns: about half of what fits into a reply, which takes some
#: 80 MB less memory than whole replies, and a few percent more time.
ENTRIES_PER_REPLY = 25_000
#: Selects all strings, and no other type.
_ANY_NAME: Document = {"dataset": {"$gte": ""}}
#: Without a condition on its first field, MongoDB does not use the index for the times.
_ANY_STATUS: Document = {"http_status": {"$gte": MinKey()}}
_TOTAL_FIELDS = ("kind", "http_status", "error_code")

logger = logging.getLogger(__name__)


class CacheStore:
    """Reads and removes cache entries, for many datasets at a time.

    :param database: the cache database of datasets-server.
    :param read_preference: of the reads that no write is based on: those of candidates and of metrics.
    :param max_time_ms: for how long MongoDB may work on a query of :meth:`read`; None: without a limit.
    """

    def __init__(
        self,
        database: Database[Document],
        read_preference: ReadMode = FROM_PRIMARY,
        max_time_ms: int | None = None,
    ) -> None:
        self._database = database
        self._max_time_ms = max_time_ms
        self._entries = database.get_collection("cachedResponsesBlue", ANY_TEXT)
        self._raw_entries = raw_collection(self._entries)
        self._decodable = self._entries.with_options(ANY_DATE)
        self._candidates = self._entries.with_options(read_preference=read_preference)
        self._totals = database["cacheTotalMetric"]
        self._owed = OwedCounts(database)

    @property
    def name(self) -> str:
        """The name of the database."""
        return self._database.name

    def entry_count(self) -> int:
        """Return the number of entries, from the count that MongoDB keeps, which is fast and nearly exact."""
        return self._candidates.estimated_document_count()

    def shards(self, count: int) -> list[NameRange]:
        """Cut the names of the cached datasets into at most ``count`` ranges of about as many entries each.

        Every name falls in exactly one range.
        """
        return retried(lambda: cut(self.entry_count(), count, self._name_at))

    def _name_at(self, position: int, query: Document) -> str | None:
        found = (
            self._candidates.find(query or _ANY_NAME, {"_id": 0, "dataset": 1}).sort("dataset").skip(position)
        )
        return next((document["dataset"] for document in found if is_text(document["dataset"])), None)

    def sample_names(self, entries: int) -> list[str]:
        """Return the names of the datasets of some random entries, each once.

        :param entries: how many. MongoDB reads only these, unless the collection is small. A dataset with
            many entries is more likely to be among them.
        """
        sample: list[Document] = [{"$sample": {"size": entries}}, {"$group": {"_id": "$dataset"}}]
        return [each["_id"] for each in self._candidates.aggregate(sample) if is_text(each["_id"])]

    def dataset_names(self, names: NameRange = ALL_NAMES) -> Iterator[str]:
        """Yield the names of the cached datasets in a range, each once, in their order, from the index."""
        return self._names_where(in_range(names))

    def dataset_count(self) -> int:
        """Return the number of cached datasets; an index answers this, with a look-up for each dataset."""
        pipeline: list[Document] = [{"$group": {"_id": "$dataset"}}, {"$count": "datasets"}]
        return retried(lambda: next((found["datasets"] for found in self._entries.aggregate(pipeline)), 0))

    def selected_names(self, selection: Selection) -> Iterator[str]:
        """Yield the names of the selected datasets, each once, in their order.

        Indexes answer this: (dataset, kind, http_status) for names without wildcards; (http_status,
        error_code, kind, updated_at) for times, skipping over its first fields; for error codes alone, the
        index that begins with them.
        """
        names = self._names_where(_selection_query(selection))
        return (name for name in names if selection.has_name(name))

    def names_changed_since(self, time: datetime) -> Iterator[str]:
        """Yield the names of the datasets with an entry that was updated at this time or later, in UTC.

        An entry whose time is no date counts too. The index (http_status, error_code, kind, updated_at)
        answers this; of these entries alone, MongoDB reads the documents.
        """
        return self._names_where(_ANY_STATUS | {"updated_at": {"$not": {"$lt": time}}})

    def _names_where(self, query: Document) -> Iterator[str]:
        return resumed(partial(self._names_after, query or _ANY_NAME))

    def _names_after(self, query: Document, last: str | None) -> Iterator[str]:
        pipeline: list[Document] = [
            {"$match": query if last is None else {"$and": [query, {"dataset": {"$gt": last}}]}},
            {"$group": {"_id": "$dataset"}},
            {"$sort": {"_id": 1}},  # without it, the names of some queries would come in no order
        ]
        malformed = 0
        for document in self._candidates.aggregate(pipeline, batchSize=_NAMES_PER_REPLY):
            if is_text(document["_id"]):
                yield document["_id"]
            else:
                malformed += 1
        if malformed:
            logger.warning("%s values of dataset are no names: their entries are left out.", malformed)

    def entry_counts(self, names: Sequence[str]) -> dict[str, int]:
        """Return the number of entries of each dataset, which may be 0; an index answers this."""
        pipeline: list[Document] = [
            {"$match": {"dataset": {"$in": names}}},
            {"$group": {"_id": "$dataset", "entries": {"$sum": 1}}},
        ]
        groups = self._entries.aggregate(pipeline, batchSize=NO_LIMIT_BUT_THE_REPLY_SIZE)
        counts = {each["_id"]: each["entries"] for each in groups if is_text(each["_id"])}
        return dict.fromkeys(names, 0) | counts

    def columns(self, names: Sequence[str]) -> Iterator[EntryColumns]:
        """Read the entries of some datasets, in the order of their names, in parts.

        A part has ``ENTRIES_PER_REPLY`` entries, or all entries of one dataset, if it has more.

        :raises UnreadableColumnsError: if an entry is malformed.
        """
        # Imported here, because numpy and pyarrow take half a second, and only a backfill reads columns.
        from include.planning.entry_columns import EntryColumns

        query = {"dataset": {"$in": names}}
        replies = raw_replies(
            self._entries, query, ENTRY_METADATA, sort="dataset", batch_size=ENTRIES_PER_REPLY
        )
        return EntryColumns.of_whole_datasets(replies)

    def lists(self, names: Sequence[str]) -> dict[str, CachedDataset]:
        """Read only the lists of configs and splits of some datasets, with one query.

        :return: by name, for each of ``names`` but those with an entry that cannot be decoded.
        """
        found = read_separately(names, self._lists_together)
        return {name: cached for name, cached in found.items() if not isinstance(cached, DatasetError)}

    def _lists_together(self, names: Sequence[str]) -> dict[str, CachedDataset | DatasetError]:
        listed = self._read_lists(names, [_CONFIG_NAMES_KIND, _SPLIT_NAMES_KIND])
        return {name: listed[name].of(name) for name in names}

    def read(
        self, names: Sequence[str], *, at_one_moment: bool = False
    ) -> dict[str, CachedDataset | DatasetError]:
        """Read the state of some datasets in the cache, with two queries.

        :param at_one_moment: see in both queries the data of one moment, even if a worker writes in between.
        :return: by name, for each of ``names``; an error for a dataset with a malformed entry.
        """
        if not at_one_moment:
            return read_separately(names, self._read_together)
        with mongo.at_one_moment(self._database.client) as session:
            return read_separately(names, partial(self._read_together, session=session))

    def _read_together(
        self, names: Sequence[str], session: Session = None
    ) -> dict[str, CachedDataset | DatasetError]:
        listed = self._read_lists(names, [_CONFIG_NAMES_KIND, _SPLIT_NAMES_KIND, _INFO_KIND], session)
        cached: dict[str, CachedDataset | DatasetError] = {name: CachedDataset(name) for name in names}
        for name, entries in self._read_entries({"dataset": {"$in": names}}, session):
            cached[name] = entries if isinstance(entries, DatasetError) else listed[name].of(name, entries)
        return cached

    def _read_entries(
        self, query: Document, session: Session
    ) -> Iterator[tuple[str, list[Entry] | DatasetError]]:
        found = self._decodable.find(
            query,
            ENTRY_METADATA,
            batch_size=NO_LIMIT_BUT_THE_REPLY_SIZE,
            max_time_ms=self._max_time_ms,
            session=session,
        )
        # A list of names is found by each of them.
        documents = (document for document in found.sort("dataset") if type(document["dataset"]) is str)
        # The index gives them in this order at no cost, and grouping them so is quicker than by a dictionary.
        for name, group in groupby(documents, key=itemgetter("dataset")):
            try:
                yield name, _entries(list(group))
            except DatasetError as error:
                yield name, error

    def _read_lists(
        self, names: Sequence[str], kinds: Sequence[str], session: Session = None
    ) -> dict[str, _Lists]:
        """Read what the contents of some kinds of entries say, by the name of the dataset."""
        listed: dict[str, _Lists] = defaultdict(_Lists)
        query = {"dataset": {"$in": names}, "kind": {"$in": kinds}}
        found = self._decodable.find(
            query,
            _LISTS_AND_SIZES,
            batch_size=NO_LIMIT_BUT_THE_REPLY_SIZE,
            max_time_ms=self._max_time_ms,
            session=session,
        )
        for document in found:
            name, kind = document["dataset"], document["kind"]
            if isinstance(name, str) and isinstance(kind, str):
                listed[name].add(kind, document.get("config"), document.get("content"))
        return listed

    def remove(self, names: Sequence[str], right: RightToWrite = UNRESTRICTED) -> int:
        """Remove all entries of some datasets, in transactions of at most 1,000; then move the counts.

        :param right: checked in each transaction.
        :return: the number of entries removed.
        :raises ServiceError: if the right is lost.
        """
        removed = in_transactions(self._database.client, partial(self._remove_some, names), right)
        self._owed.pay_soon()
        return removed

    def _remove_some(self, names: Sequence[str], session: Session) -> int:
        found = self._entries.find(
            {"dataset": {"$in": names}}, dict.fromkeys(_TOTAL_FIELDS, 1), session=session
        )
        return self._delete(enough_for_a_transaction(found), session)

    def _delete(self, entries: Sequence[Mapping[str, Any]], session: Session) -> int:
        if entries:
            self._entries.delete_many({"_id": {"$in": [entry["_id"] for entry in entries]}}, session=session)
            self._owed.owe(self._moves(entries, -1), session)
        return len(entries)

    def raw_entries(self, name: str) -> Iterator[RawBSONDocument]:
        """Yield the entries of a dataset as they are, with their contents.

        At most some 50 MB are in memory at the same time: a reply of MongoDB, and its documents.
        """
        return iter(self._raw_entries.find({"dataset": name}, batch_size=NO_LIMIT_BUT_THE_REPLY_SIZE))

    def remove_unchanged(self, versions: Versions, right: RightToWrite = UNRESTRICTED) -> int:
        """Remove entries that nobody has changed since they were read, as :meth:`remove` does.

        :param versions: of each entry when it was read.
        :return: the number of entries removed.
        """
        removed = 0
        for ids in batched(versions, DOCUMENTS_PER_TRANSACTION):
            write = partial(self._remove_versions, ids, versions)
            removed += in_transaction(self._database.client, write, right)
        self._owed.pay_soon()
        return removed

    def _remove_versions(self, ids: Sequence[object], versions: Versions, session: Session) -> int:
        fields = dict.fromkeys((*_TOTAL_FIELDS, "updated_at"), 1)
        found = self._raw_entries.find({"_id": {"$in": ids}}, fields, session=session)
        unchanged = [entry for entry in found if entry.get("updated_at") == versions[entry["_id"]]]
        return self._delete(unchanged, session)

    def insert_missing(
        self, entries: Sequence[RawBSONDocument], right: RightToWrite = UNRESTRICTED, *, dry_run: bool = False
    ) -> int:
        """Insert the entries of a dataset that do not exist, in one transaction that records what it owes.

        An entry that exists is newer, and stays: the one of the same kind, config and split.

        :param entries: with their ids, as many as one transaction may write.
        :param right: checked in the transaction.
        :param dry_run: only count.
        :return: how many do not exist.
        :raises ServiceError: if the right is lost.
        """
        _ = self._has_index_of_artifacts  # A transaction must not ask for it.
        if dry_run:
            return len(self._missing(entries, None))
        insert = partial(self._insert_missing, entries)
        for _ in range(_ATTEMPTS_TO_INSERT):
            with suppress(DuplicateKeyError):  # A worker has written one since the transaction began.
                return in_transaction(self._database.client, insert, right)
        return in_transaction(self._database.client, insert, right)

    def _insert_missing(self, entries: Sequence[RawBSONDocument], session: Session) -> int:
        missing = self._missing(entries, session)
        if missing:
            self._raw_entries.insert_many(missing, session=session)
            self._owed.owe(self._moves(missing, 1), session)
        return len(missing)

    def _missing(self, entries: Sequence[RawBSONDocument], session: Session) -> list[RawBSONDocument]:
        if not entries:
            return []
        artifacts = [{field: {"$eq": entry.get(field)} for field in _ARTIFACT_FIELDS} for entry in entries]
        fields = dict.fromkeys(_ARTIFACT_FIELDS, 1)
        # Without the hint, MongoDB tries other indexes too, for each artifact anew, five times as long.
        hint = fields if self._has_index_of_artifacts else None
        existing = self._entries.find({"$or": artifacts}, fields, hint=hint, session=session)
        keys = set(map(artifact, existing))
        return [entry for entry in entries if artifact(entry) not in keys]

    @cached_property
    def _has_index_of_artifacts(self) -> bool:
        indexes = self._entries.list_indexes()
        return any(list(index["key"]) == list(_ARTIFACT_FIELDS) for index in indexes)

    def _moves(self, entries: Iterable[Mapping[str, Any]], by: int) -> Iterator[CountMove]:
        """Yield the moves of the counts of entries that were inserted (``by`` 1) or deleted (-1)."""
        for group in filter(None, map(_group, entries)):
            key = dict(zip(_TOTAL_FIELDS, group, strict=True))
            yield CountMove(self._totals.name, key, "total", by)

    def pay_owed_counts(self) -> None:
        """Move the counts by what an earlier run has recorded, but not paid before it was killed."""
        self._owed.pay()

    def collect_metrics(self, *, dry_run: bool = False) -> list[Counts]:
        """Count the entries by kind, status and error code, and store the counts, unless it is a dry run."""
        totals = CountCollection(self._totals, "cache.entries", _TOTAL_FIELDS, "total")
        if not dry_run:
            self._owed.pay()  # else it would be added to counts that have it already
        stored = totals.stored()
        return [totals.replace(stored, retried(self._count_entries), dry_run=dry_run)]

    def _count_entries(self) -> dict[Group, int]:
        """Count the entries in one pass over the index of these fields, without reading any entry."""
        fields = {field: {"$ifNull": [f"${field}", None]} for field in _TOTAL_FIELDS}
        groups = self._aggregate_by_index([{"$group": {"_id": fields, "total": {"$sum": 1}}}])
        counts: Counter[Group] = Counter()
        malformed = 0
        for found in groups:
            if group := _group(found["_id"]):
                counts[group] += found["total"]
            else:
                malformed += found["total"]
        if malformed:
            logger.warning("%s malformed entries are not counted.", f"{malformed:,}")
        return counts

    def _aggregate_by_index(self, pipeline: list[Document]) -> CommandCursor[Document]:
        """Run a pipeline on the index of the totals: without the hint, MongoDB reads all entries instead."""
        try:
            return self._candidates.aggregate(pipeline, hint=dict.fromkeys(_TOTAL_FIELDS, 1))
        except OperationFailure as error:
            if error.code != _BAD_VALUE or "hint" not in str(error):
                raise
        logger.warning(
            "%s has no index (%s): all entries are read, which takes long.",
            self._entries.full_name,
            ", ".join(_TOTAL_FIELDS),
        )
        return self._candidates.aggregate(pipeline)

    def converted_datasets(self, selection: Selection) -> Iterator[str]:
        """Yield the names of the selected datasets that were converted to Parquet, each once.

        They have a successful ``config-parquet`` entry that was updated in the selected time. The index
        (http_status, error_code, kind, updated_at) answers this.
        """
        query = _selection_query(selection) | {"http_status": 200, "kind": _PARQUET_KIND}
        return (name for name in self._names_where(query) if selection.has_name(name))


@dataclass(slots=True)
class _Lists:
    """The configs of a dataset, and by config its splits and its size in bytes, as its entries list them."""

    configs: Sequence[str] = ()
    splits: dict[str, Sequence[str]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, config: object, content: object) -> None:
        """Add what the content of an entry lists."""
        if kind == _CONFIG_NAMES_KIND:
            self.configs = _listed_names(content, "config_names", "config")
        elif not isinstance(config, str):
            pass  # This is no expected artifact; reading the entry itself finds what is malformed about it.
        elif kind == _SPLIT_NAMES_KIND:
            self.splits[config] = _listed_names(content, "splits", "split")
        elif (size := _dataset_size(content)) is not None:
            self.sizes[config] = size

    def of(self, name: str, entries: Sequence[Entry] = ()) -> CachedDataset:
        """Return the dataset with these lists."""
        return CachedDataset(name, entries, self.configs, self.splits, self.sizes)


def artifact(entry: Mapping[str, Any]) -> bytes:
    """Return what makes an entry unique: its kind, dataset, config and split, in BSON, whatever they are.

    :raises DatasetError: if one of them is a text that is not UTF-8.
    """
    try:
        return encode({field: entry.get(field) for field in _ARTIFACT_FIELDS})
    except (BSONError, ValueError) as error:
        raise DatasetError(f"malformed cache entry: {error}") from error


def _selection_query(selection: Selection) -> Document:
    query: Document = {}
    if selection.names and not any(has_wildcard(name) for name in selection.names):
        query["dataset"] = {"$in": list(selection.names)}
    times = (("$gte", selection.updated_from), ("$lt", selection.updated_to))
    updated_at = {operator: time for operator, time in times if time is not None}
    if updated_at:
        query |= _ANY_STATUS | {"updated_at": updated_at}
    if selection.error_codes:
        query["error_code"] = {"$in": list(selection.error_codes)}
    return query


def _group(entry: Mapping[str, Any]) -> Group | None:
    """Return which total counts an entry; None if it is malformed."""
    kind, http_status, error_code = (entry.get(field) for field in _TOTAL_FIELDS)
    if is_text(kind) and is_number(http_status) and (error_code is None or is_text(error_code)):
        return kind, int(http_status), error_code
    return None


def _entries(documents: Sequence[Document]) -> list[Entry]:
    try:
        entries = list(map(_make_entry, map(_entry_values, documents)))
    except KeyError:  # a field is absent
        entries = [_entry_with_absent_fields(document) for document in documents]
    return entries if all(map(_is_well_formed, entries)) else list(map(_checked, entries))


def _is_well_formed(entry: Entry) -> bool:
    return tuple(map(type, entry)) in _USUAL_TYPES and entry.failed_runs >= 0


def _checked(entry: Entry) -> Entry:
    """Return an entry whose numbers are integers.

    :raises DatasetError: if a field has a type or a number that it cannot have.
    """
    values = {
        field: int(value) if field in _NUMBER_FIELDS and is_number(value) else value
        for field, value in entry._asdict().items()
    }
    wrong = [field for field, value in values.items() if type(value) not in _TYPES[field]]
    if wrong:
        raise DatasetError(
            f"malformed cache entry of kind {entry.kind!r}: {wrong[0]} is of the type"
            f" {type(values[wrong[0]]).__name__}"
        )
    if values["failed_runs"] < 0:
        raise DatasetError(f"malformed cache entry of kind {entry.kind!r}: failed_runs is negative")
    return Entry._make(values.values())


def _entry_with_absent_fields(document: Document) -> Entry:
    """Read an entry whose nullable fields may be absent instead of null."""
    absent = [field for field in _ENTRY_FIELDS if field not in document | _NULLS]
    if absent:
        kind = document.get("kind")
        raise DatasetError(f"malformed cache entry of kind {kind!r}: it has no {', '.join(absent)}")
    return Entry._make(_entry_values(_NULLS | document))


def _listed_names(content: object, list_field: str, name_field: str) -> Sequence[str]:
    """Read the names in a list of objects; none at all if anything about it is malformed."""
    items = content.get(list_field) if isinstance(content, dict) else None
    if not isinstance(items, list):
        return ()
    names = [item.get(name_field) if isinstance(item, dict) else None for item in items]
    listed = [name for name in names if isinstance(name, str)]
    return listed if len(listed) == len(items) else ()


def _dataset_size(content: object) -> int | None:
    info = content.get("dataset_info") if isinstance(content, dict) else None
    size = info.get("dataset_size") if isinstance(info, dict) else None
    return size if isinstance(size, int) else None
