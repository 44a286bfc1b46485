"""What a page about errors reads: how many entries have which error, and these entries page by page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import takewhile
from operator import itemgetter
from typing import Any

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING
from pymongo.database import Database

from include.databases.bounded import max_time_ms, unless_too_slow
from include.databases.cache_reader import EntryTotal, entry_total
from include.databases.error_messages import ErrorMessage, message_of, projected_message
from include.databases.malformed import ANY_TEXT, ANY_TIME, is_number, is_text
from include.planning.artifact_name import ArtifactName
from include.planning.rules import FIRST_ERROR_STATUS

Document = dict[str, Any]

MAX_TOTALS = 20_000
MESSAGE_CHARACTERS = 200
#: Of so many entries with an error, the messages are compared, and so many are retried together.
ENTRIES_READ = 1_000

_MALFORMED_CHARACTERS = 100
#: What a page shows of each entry.
_SHOWN = ("dataset", "config", "split", "http_status", "job_runner_version", "failed_runs", "updated_at")
_FIELDS = {"kind": 1, **dict.fromkeys(_SHOWN, 1)}
_INDEX = {"http_status": 1, "error_code": 1, "kind": 1, "updated_at": 1}
#: Selects all ids of the right type.
_ANY_ID = {"$type": "objectId"}


@dataclass(frozen=True, slots=True)
class FailedEntry:
    """An entry with an error.

    :param artifact: what it is the entry of; None if one of its names is malformed, and only shown.
    """

    id: ObjectId
    kind: str
    dataset: str
    config: str | None
    split: str | None
    http_status: int
    job_runner_version: int | None
    failed_runs: int
    updated_at: datetime
    message: ErrorMessage
    artifact: ArtifactName | None


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two pages: the time and the id of the entry next to it. Its text fits into a URL."""

    updated_at: datetime
    id: ObjectId

    def __str__(self) -> str:
        milliseconds = round(self.updated_at.timestamp() * 1_000)
        return f"{milliseconds}-{self.id}"

    @classmethod
    def of(cls, entry: FailedEntry) -> Place:
        """Return the place next to an entry."""
        return cls(entry.updated_at, entry.id)

    @classmethod
    def parse(cls, text: str) -> Place:
        """Return the place that a text stands for.

        :raises ValueError: if it stands for none.
        """
        milliseconds, _, number = text.rpartition("-")
        if not ObjectId.is_valid(number) or len(number) != 24:
            raise ValueError(f"{text!r} is no place between two pages")
        try:
            return cls(datetime.fromtimestamp(int(milliseconds) / 1_000, UTC), ObjectId(number))
        except (OverflowError, OSError) as error:
            raise ValueError(f"{text!r} is no place between two pages") from error


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """Entries with an error, the newest first, and the places where other pages begin, if there are any."""

    entries: Sequence[FailedEntry]
    previous: Place | None
    next: Place | None


@dataclass(frozen=True, slots=True)
class Said:
    """What an entry with an error says, and of which dataset it is."""

    dataset: str
    text: str


@dataclass(frozen=True, slots=True)
class Matching:
    """What the newest entries that match are of, without malformed names; whether no others match."""

    artifacts: Sequence[ArtifactName]
    are_all: bool


@dataclass(frozen=True, slots=True)
class ErrorFilter:
    """Which entries are shown: those of an error code, and if given, of one step and of one version.

    :param totals: of the error code.
    """

    error_code: str
    totals: Sequence[EntryTotal]
    kind: str | None = None
    job_runner_version: int | None = None

    def query(self) -> Document:
        """Return the query.

        All fields before ``updated_at`` in the index have some known values each, so MongoDB merges the parts
        of the index that it needs, in the order of the times, and stops when a page is full.
        """
        of_version = {"job_runner_version": self.job_runner_version}
        return {
            "http_status": {"$in": _distinct(each.http_status for each in self.totals)},
            "error_code": self.error_code,
            "kind": self.kind or {"$in": _distinct(each.kind for each in self.totals)},
            **(of_version if self.job_runner_version is not None else {}),
        }


class ErrorReader:
    """Reads errors of the cache. MongoDB works on each query for at most ``MAX_TIME_MS``.

    :param cache: the cache database.
    """

    def __init__(self, cache: Database[Document]) -> None:
        self._entries = cache.get_collection("cachedResponsesBlue", ANY_TEXT)
        self._totals = cache.get_collection("cacheTotalMetric", ANY_TEXT)

    def totals(self, error_code: str | None = None) -> list[EntryTotal]:
        """Return the stored counts of errors.

        :param error_code: only those of this code.
        """
        query: Document = {"http_status": {"$gte": FIRST_ERROR_STATUS}, "total": {"$gt": 0}}
        if error_code is not None:
            query["error_code"] = error_code
        found = self._totals.find(query, limit=MAX_TOTALS, max_time_ms=max_time_ms())
        return [total for document in found if (total := entry_total(document))]

    def page(
        self,
        wanted: ErrorFilter,
        size: int,
        *,
        after: Place | None = None,
        before: Place | None = None,
    ) -> ErrorPage:
        """Read a page of entries, the newest first.

        :param after: the page begins after this place.
        :param before: the page ends before this place. With neither, it is the first page.
        """
        if not wanted.totals:
            return ErrorPage((), None, None)
        if before is not None:
            found = self._next(wanted.query(), before, ASCENDING, size + 1)
            entries = found[:size][::-1]
            has_previous, has_next = len(found) > size, bool(entries)
        else:
            found = self._next(wanted.query(), after, DESCENDING, size + 1)
            entries = found[:size]
            has_previous, has_next = after is not None and bool(entries), len(found) > size
        return ErrorPage(
            entries,
            Place.of(entries[0]) if has_previous else None,
            Place.of(entries[-1]) if has_next else None,
        )

    def said(self, wanted: ErrorFilter) -> list[Said] | None:
        """Return what the newest ``ENTRIES_READ`` entries say, but for those that say nothing.

        :return: None if MongoDB would take too long.
        """
        fields = {"dataset": 1} | projected_message(MESSAGE_CHARACTERS)
        entries = unless_too_slow(partial(self._newest, wanted, fields))
        return None if entries is None else [said for entry in entries if (said := _said(entry))]

    def matching(self, wanted: ErrorFilter) -> Matching:
        """Return what the newest ``ENTRIES_READ`` entries are of."""
        found = self._newest(wanted, {"_id": 0, "kind": 1, "dataset": 1, "config": 1, "split": 1})
        artifacts = [artifact for document in found if (artifact := _artifact(document))]
        return Matching(artifacts, len(found) < ENTRIES_READ)

    def _newest(self, wanted: ErrorFilter, fields: Document) -> list[Document]:
        if not wanted.totals:
            return []
        query = wanted.query() | {"updated_at": ANY_TIME}
        found = self._entries.find(query, fields, limit=ENTRIES_READ, hint=_INDEX, max_time_ms=max_time_ms())
        return list(found.sort("updated_at", DESCENDING))

    def _next(self, query: Document, place: Place | None, way: int, count: int) -> list[FailedEntry]:
        """Read so many entries from a place on, by time and then by id."""
        further = "$gt" if way == ASCENDING else "$lt"
        found: list[Document] = []
        times: Document = ANY_TIME
        if place is not None:
            found = self._at_one_time(query, place.updated_at, way, count, {further: place.id})
            times = ANY_TIME | {further: place.updated_at}
        if len(found) < count:
            found += self._of_times(query, times, way, count - len(found))
        return [_failed_entry(document) for document in found]

    def _of_times(self, query: Document, times: Document, way: int, count: int) -> list[Document]:
        """Read so many entries in the order of their times; of those at the same time, in the order of ids.

        The index has no ids. So what has the same time as the last one is read again, by id.
        """
        found = self._found(query | {"updated_at": times, "_id": _ANY_ID}, "updated_at", way, count)
        if len(found) == count:
            last = found[-1]["updated_at"]
            found = list(takewhile(lambda document: document["updated_at"] != last, found))
            at_last = self._at_one_time(query, last, way, count - len(found), _ANY_ID)
        else:
            at_last = []
        found.sort(key=itemgetter("updated_at", "_id"), reverse=way == DESCENDING)
        return found + at_last

    def _at_one_time(
        self, query: Document, time: datetime, way: int, count: int, ids: Document
    ) -> list[Document]:
        return self._found(query | {"updated_at": time, "_id": ids}, "_id", way, count)

    def _found(self, query: Document, order: str, way: int, count: int) -> list[Document]:
        fields = _FIELDS | projected_message(MESSAGE_CHARACTERS) | {"_id": 1}
        found = self._entries.find(query, fields, limit=count, hint=_INDEX, max_time_ms=max_time_ms())
        return list(found.sort(order, way))


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _said(document: Document) -> Said | None:
    message = message_of(document)
    text = message.text or message.cause_message
    return Said(_shown(document.get("dataset")) or "", text) if text else None


def _failed_entry(document: Document) -> FailedEntry:
    version, failed_runs = document.get("job_runner_version"), document.get("failed_runs")
    return FailedEntry(
        id=document["_id"],
        kind=document["kind"],
        dataset=_shown(document.get("dataset")) or "",
        config=_shown(document.get("config")),
        split=_shown(document.get("split")),
        http_status=int(document["http_status"]),
        job_runner_version=int(version) if is_number(version) else None,
        failed_runs=int(failed_runs) if is_number(failed_runs) else 0,
        updated_at=document["updated_at"].replace(tzinfo=UTC),
        message=message_of(document),
        artifact=_artifact(document),
    )


def _artifact(document: Document) -> ArtifactName | None:
    dataset, place = document.get("dataset"), (document.get("config"), document.get("split"))
    if is_text(dataset) and all(name is None or is_text(name) for name in place):
        return ArtifactName(dataset, document["kind"], *place)
    return None


def _shown(value: object) -> str | None:
    """Return a text, or what a person can read of a malformed value."""
    return value if value is None or is_text(value) else ascii(value)[:_MALFORMED_CHARACTERS]
