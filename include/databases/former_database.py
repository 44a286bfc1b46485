"""Moving our records out of the database in which earlier versions kept them.

That is the one in which datasets-server keeps the history of its migrations; its other collections are not
ours to touch. The Hub's listings stay behind, because a new one is made in minutes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from pymongo import UpdateOne
from pymongo.database import Database
from pymongo.errors import OperationFailure

from include.databases.mongo import NOT_ALLOWED, Session, in_transaction

Document = dict[str, Any]

FORMER_DATABASE = "datasets_server_maintenance"
DOCUMENTS_AT_A_TIME = 100

_ID = ("_id",)
#: The collections that are moved, each with the fields that identify a document. The first two come first, so
#: that a task of an earlier version, which would not see the others move, can no longer write.
_MOVED: Mapping[str, tuple[str, ...]] = {
    "leases": _ID,
    "writers": _ID,
    "owedCounts": _ID,
    "unfinishedRebuilds": _ID,
    "metricsHistory": _ID,
    "selectedDatasets": ("run", "dataset"),
    "removalCandidates": ("run", "dataset"),
}

logger = logging.getLogger(__name__)


def move_from_former_database(database: Database[Document]) -> None:
    """Move our records to ``database``, on the same deployment; a document that it has already is kept.

    It may be killed at any point, run again, and run several times at once. Without any records there, it
    costs one round trip.
    """
    former = database.client[FORMER_DATABASE]
    there = _collections(former)
    for name in (name for name in _MOVED if name in there):
        moved = 0
        while some := in_transaction(database.client, partial(_move, former, database, name)):
            moved += some
        if moved:
            logger.info("Moved %s documents of %s from %s.", f"{moved:,}", name, FORMER_DATABASE)


def _collections(former: Database[Document]) -> list[str]:
    names = {"name": {"$in": list(_MOVED)}}
    try:
        return former.list_collection_names(filter=names, authorizedCollections=True)
    except OperationFailure as error:
        if error.code != NOT_ALLOWED:
            raise
        return []  # A user who may not read there has not written there.


def _move(former: Database[Document], database: Database[Document], name: str, session: Session) -> int:
    """Move some documents of a collection, and return how many."""
    documents = list(former[name].find(session=session).limit(DOCUMENTS_AT_A_TIME))
    if documents:
        ids = [document["_id"] for document in documents]
        former[name].delete_many({"_id": {"$in": ids}}, session=session)
        database[name].bulk_write([_insertion(name, document) for document in documents], session=session)
    return len(documents)


def _insertion(name: str, document: Document) -> UpdateOne:
    key = {field: document[field] for field in _MOVED[name]}
    return UpdateOne(key, {"$setOnInsert": document}, upsert=True)
