"""The record of the restores: which removed datasets are back, since when, and by which run.

It holds until the dataset is removed again. It is not part of the record of the removals, which may be older
than that keeps them when a dataset is restored.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from include.databases.mongo import Session, in_transaction
from include.databases.right_to_write import UNRESTRICTED, RightToWrite

Document = dict[str, Any]

COLLECTION = "restores"
KEPT_FOR = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Restore:
    """The first restore of a dataset since it was last removed.

    :param at: in UTC, by the database's clock.
    :param run: what people call the run.
    """

    at: datetime
    run: str


class Restores:
    """Keeps a document for each dataset that was restored, until it is removed again.

    :param database: the database ``datasets_server_airflow``.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._client = database.client
        self._restores = database.get_collection(COLLECTION, write_concern=WriteConcern("majority"))

    def create_indexes(self) -> None:
        """Create the index that does not exist."""
        self._restores.create_index("at", expireAfterSeconds=int(KEPT_FOR.total_seconds()))

    def note(self, dataset: str, run: str, right: RightToWrite = UNRESTRICTED) -> None:
        """Write down that a dataset is restored, unless an earlier run has done so.

        :param right: checked in the transaction.
        :raises ServiceError: if the right is lost: another run may have begun to remove the dataset again.
        """
        first = {"at": {"$ifNull": ["$at", "$$NOW"]}, "run": {"$ifNull": ["$run", {"$literal": run}]}}

        def write(session: Session) -> None:
            self._restores.update_one({"_id": dataset}, [{"$set": first}], upsert=True, session=session)

        in_transaction(self._client, write, right)

    def of(self, dataset: str) -> Restore | None:
        """Return the restore of a dataset; None if it was not restored since it was last removed."""
        found = self._restores.find_one({"_id": dataset})
        return None if found is None else Restore(found["at"].replace(tzinfo=UTC), found["run"])

    def forget(self, datasets: Collection[str], session: Session) -> None:
        """Forget the restores of datasets, in the transaction that writes that these are removed."""
        self._restores.delete_many({"_id": {"$in": list(datasets)}}, session=session)
