"""What the console reads of the cache as a whole: the counts that are kept, and never all of its entries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from pymongo.database import Database

from include.databases.bounded import max_time_ms, unless_too_slow
from include.databases.malformed import ANY_TEXT, is_number, is_text
from include.planning.rules import FIRST_ERROR_STATUS

Document = dict[str, Any]

#: Each dataset has one entry of this kind, before it can have any other.
_ONE_PER_DATASET = "dataset-config-names"
#: The entries with an error code of which the failed runs are read, at most. With ten codes, it takes a tenth
#: of a second.
ENTRIES_LOOKED_AT = 1_000
_MOST_TOTALS = 20_000


@dataclass(frozen=True, slots=True)
class EntryTotal:
    """How many entries of a kind have an HTTP status and an error code (None where they have none)."""

    kind: str
    http_status: int
    error_code: str | None
    total: int

    @property
    def is_error(self) -> bool:
        """Whether these entries hold errors."""
        return self.http_status >= FIRST_ERROR_STATUS


@dataclass(frozen=True, slots=True)
class RunsLeft:
    """How many of the entries ``looked_at`` may still be retried; ``is_all`` if there are no others."""

    entries: int
    looked_at: int
    is_all: bool


class CacheReader:
    """Reads the cache for a person who waits.

    :param database: the cache database of datasets-server.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._name = database.name
        self._entries = database.get_collection("cachedResponsesBlue", ANY_TEXT)
        self._totals = database.get_collection("cacheTotalMetric", ANY_TEXT)

    @property
    def name(self) -> str:
        """The name of the database."""
        return self._name

    def totals(self) -> list[EntryTotal]:
        """Return the counts that datasets-server keeps; a malformed one is left out."""
        found = self._totals.find({}, {"_id": 0}, limit=_MOST_TOTALS, max_time_ms=max_time_ms())
        return [total for document in found if (total := entry_total(document))]

    def entry_count(self) -> int:
        """Return the number of entries that MongoDB keeps, which is nearly exact."""
        return self._entries.estimated_document_count(maxTimeMS=max_time_ms())

    def runs_left(self, error_code: str, max_failed_runs: int) -> RunsLeft | None:
        """Return how many entries with an error code have failed less often than the maximum.

        No index holds the failed runs, so it looks at ``ENTRIES_LOOKED_AT`` entries at most, by an index that
        begins with the error code, or with the HTTP status and the error code.

        :return: None if MongoDB would take too long.
        """
        has_some_left = {"$lt": ["$failed_runs", max_failed_runs]}
        pipeline: list[Document] = [
            {"$match": {"error_code": error_code, "http_status": {"$gte": FIRST_ERROR_STATUS}}},
            {"$limit": ENTRIES_LOOKED_AT},
            {"$group": {"_id": has_some_left, "entries": {"$sum": 1}}},
        ]
        groups = unless_too_slow(partial(self._counts, pipeline))
        if groups is None:
            return None
        looked_at = sum(groups.values())
        return RunsLeft(groups.get(True, 0), looked_at, is_all=looked_at < ENTRIES_LOOKED_AT)

    def _counts(self, pipeline: list[Document]) -> dict[bool, int]:
        found = self._entries.aggregate(pipeline, maxTimeMS=max_time_ms())
        return {group["_id"]: group["entries"] for group in found}


def dataset_count(totals: list[EntryTotal]) -> int:
    """Return the number of cached datasets, as the counts of the entries have it."""
    return sum(total.total for total in totals if total.kind == _ONE_PER_DATASET)


def entry_total(document: Document) -> EntryTotal | None:
    """Return a count that is kept; None if it is malformed."""
    kind, status, code = document.get("kind"), document.get("http_status"), document.get("error_code")
    total = document.get("total")
    if not (is_text(kind) and is_number(status) and (code is None or is_text(code)) and is_number(total)):
        return None
    # A count may be wrong for a while, but there are never fewer than none.
    return EntryTotal(kind, int(status), code, max(0, int(total)))
