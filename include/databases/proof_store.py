"""The records of which datasets were proven to be up to date, so that a run reads only what has changed.

A record holds as long as no entry of its dataset changes. Whoever changes an entry writes ``updated_at``, and
whoever inserts or deletes one changes the number of entries. So the first task of a run looks for entries
that were updated since the previous look, by an index, and deletes the records of their datasets. The others
it leaves as they are, whatever their number.

Only a run that has the right to write looks, or keeps records. So no record is kept between a look and the
moment at which it is known as the last one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from include.batches import batched
from include.databases.malformed import is_text
from include.databases.mongo import DOCUMENTS_PER_TRANSACTION, Session, in_transaction, retried
from include.databases.right_to_write import UNRESTRICTED, RightToWrite

Document = dict[str, Any]

COLLECTION = "provenDatasets"
LOOKS = "looksForChanges"
#: A record that no run has kept again for so long is of a dataset that is gone.
KEPT_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Proof:
    """That a dataset is up to date at a revision, with so many cache entries, of so many artifacts.

    It has fewer artifacts than entries if some entries are no longer expected, as those of a former step.
    """

    revision: str
    entries: int
    artifacts: int


@dataclass(frozen=True, slots=True)
class Look:
    """A look for changed datasets.

    :param begun_at: when it began (UTC), by the database's clock. It saw all changes until then.
    :param all_read_at: when the last run looked that then read every dataset; None if there was none.
    """

    begun_at: datetime
    all_read_at: datetime | None


def create_indexes(database: Database[Document]) -> None:
    """Create the index that does not exist.

    :param database: the database ``datasets_server_airflow``.
    """
    database[COLLECTION].create_index("kept_at", expireAfterSeconds=int(KEPT_FOR.total_seconds()))


class ProofStore:
    """Keeps a record for each dataset of a cache that was proven to be up to date.

    :param database: the database ``datasets_server_airflow``.
    :param cache: the name of the cache database.
    """

    def __init__(self, database: Database[Document], cache: str) -> None:
        majority = WriteConcern("majority")
        self._client = database.client
        self._proofs = database.get_collection(COLLECTION, write_concern=majority)
        self._looks = database.get_collection(LOOKS, write_concern=majority)
        self._cache = cache

    def last_look(self) -> Look | None:
        """Return the last look; None if there was none, or its record is damaged."""
        found = self._looks.find_one({"_id": self._cache})
        if found is None:
            return None
        begun_at, all_read_at = found.get("begun_at"), found.get("all_read_at")
        if not isinstance(begun_at, datetime) or not isinstance(all_read_at, datetime | None):
            return None
        return Look(begun_at.replace(tzinfo=UTC), all_read_at and all_read_at.replace(tzinfo=UTC))

    def now(self) -> datetime:
        """Return the time of the database's clock, in UTC."""
        now: datetime = self._client.admin.command("hello")["localTime"]
        return now.replace(tzinfo=UTC)

    def note_look(self, begun_at: datetime, right: RightToWrite = UNRESTRICTED) -> None:
        """Note that the records of all datasets that had changed by then are deleted.

        :raises ServiceError: if the right is lost.
        """

        def note(session: Session) -> None:
            these = {"_id": self._cache}
            self._looks.update_one(these, {"$set": {"begun_at": begun_at}}, upsert=True, session=session)

        in_transaction(self._client, note, right)

    def note_all_read(self) -> None:
        """Note that the run of the last look has read every dataset."""
        self._looks.update_one({"_id": self._cache}, [{"$set": {"all_read_at": "$begun_at"}}])

    def forget_looks(self) -> None:
        """Let the next run read everything, because a program has written entries with an old time."""
        self._looks.delete_one({"_id": self._cache})

    def among(self, names: Collection[str], rules: str) -> dict[str, Proof]:
        """Return the records of some datasets that were proven by these rules.

        :param rules: a fingerprint of all that a proof depends on beside the entries and the revision.
        """
        found = self._proofs.find({"_id": {"$in": list(names)}, "rules": self._of_cache(rules)})
        return {
            record["_id"]: Proof(record["revision"], record["entries"], _artifacts(record))
            for record in found
            if is_text(record.get("revision")) and isinstance(record.get("entries"), int)
        }

    def keep(self, proofs: Mapping[str, Proof], rules: str, right: RightToWrite = UNRESTRICTED) -> None:
        """Keep records instead of those of the same datasets.

        :param proofs: by name, as many as one transaction may write.
        :raises ServiceError: if the right is lost.
        """
        kept_at = datetime.now(UTC)
        records = [
            {
                "_id": name,
                "revision": proof.revision,
                "entries": proof.entries,
                **_other_artifacts(proof),
                "rules": self._of_cache(rules),
                "kept_at": kept_at,
            }
            for name, proof in proofs.items()
        ]

        def replace(session: Session) -> None:
            self._proofs.delete_many({"_id": {"$in": list(proofs)}}, session=session)
            self._proofs.insert_many(records, session=session)

        if records:
            in_transaction(self._client, replace, right)

    def withdraw(self, names: Iterable[str]) -> None:
        """Delete the records of some datasets. It needs no right: it only lets a run read more."""
        for some in batched(names, DOCUMENTS_PER_TRANSACTION):
            retried(partial(self._proofs.delete_many, {"_id": {"$in": some}}))

    def withdraw_all(self) -> None:
        """Delete all records."""
        retried(partial(self._proofs.delete_many, {}))

    def _of_cache(self, rules: str) -> str:
        return f"{self._cache} {rules}"


def _other_artifacts(proof: Proof) -> Document:
    """Return the number of artifacts where it is not that of the entries, as it is in almost all records."""
    return {} if proof.artifacts == proof.entries else {"artifacts": proof.artifacts}


def _artifacts(record: Document) -> int:
    artifacts = record.get("artifacts", record["entries"])
    return artifacts if isinstance(artifacts, int) else int(record["entries"])
