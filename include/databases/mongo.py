"""What the stores share: reading in bulk, and writes that happen as a whole or not at all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import Any, TypeVar, cast

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.cursor import Cursor
from pymongo.database import Database
from pymongo.errors import AutoReconnect, CursorNotFound, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import Nearest, Primary, PrimaryPreferred, Secondary, SecondaryPreferred
from pymongo.server_description import ServerDescription
from pymongo.write_concern import WriteConcern

from include.databases.malformed import is_writable
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.rights import Rights

#: Our own database, on each deployment of MongoDB that we write to. It is the only one whose collections and
#: indexes are ours to make.
MAINTENANCE_DATABASE = "datasets_server_airflow"

Result = TypeVar("Result")
Session = ClientSession | None
Address = tuple[str, int | None]
ReadMode = Primary | PrimaryPreferred | Secondary | SecondaryPreferred | Nearest
FROM_PRIMARY = Primary()

#: As a cursor's batch size: the server then sends as much at a time as a reply may hold (16 MB).
NO_LIMIT_BUT_THE_REPLY_SIZE = 1_000_000

#: MongoDB's error code of a missing right.
NOT_ALLOWED = 13

#: How many documents one transaction writes: few enough that it ends before others want the same ones.
DOCUMENTS_PER_TRANSACTION = 1_000

#: For how long an operation is retried while no server of the replica set can answer it.
RETRIED_FOR_SECONDS = 60.0
_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 2.0
#: What a server answers, beside "I am not the primary", if another attempt may succeed: a host that it cannot
#: reach, a network that fails, a time limit of its own, and a majority that is not known yet.
_PASSING_CODES = frozenset({6, 7, 89, 134, 262, 9001})

Document = dict[str, Any]

_READING = "find"
_PROBE = {"_id": "maintenance-probe"}

logger = logging.getLogger(__name__)


def raw_collection(collection: Collection[Document]) -> Collection[RawBSONDocument]:
    """Return a collection whose documents are read and written as they are, byte by byte."""
    options = collection.codec_options.with_options(document_class=RawBSONDocument)
    return collection.with_options(cast("CodecOptions[RawBSONDocument]", options))


def keep_memory_of_replies() -> None:
    """Let the C library keep the memory of one large reply for the next.

    glibc returns a large block to the system at once, and the next reply, which finds its memory page by page
    anew, costs a tenth more, until a block larger than it has been freed. This is one of almost 32 MB, the
    limit. It is never touched, so that it takes no memory itself.
    """
    bytearray(31 * 2**20)


def retried(operation: Callable[[], Result]) -> Result:
    """Call an operation that may be repeated, again while MongoDB elects a primary or restarts.

    The driver retries a command once, and never the next batch of a cursor, which dies with its server.

    :param operation: a read as a whole, from the query to the last document, or a write that changes nothing
        the second time.
    :raises PyMongoError: what the operation raises, if another attempt would not help, or if attempts have
        failed for ``RETRIED_FOR_SECONDS``.
    """
    failed_first_at: float | None = None
    delay = _FIRST_DELAY_SECONDS
    while True:
        try:
            return operation()
        except PyMongoError as error:
            now = time.monotonic()
            failed_first_at = failed_first_at or now
            if not _is_passing(error) or now + delay > failed_first_at + RETRIED_FOR_SECONDS:
                raise
            logger.warning("MongoDB fails, retry in %.1f s: %s", delay, error)
        time.sleep(delay)
        delay = min(2 * delay, _LONGEST_DELAY_SECONDS)


def _is_passing(error: PyMongoError) -> bool:
    return (
        isinstance(error, AutoReconnect | CursorNotFound)
        or error.has_error_label("RetryableWriteError")
        or (isinstance(error, OperationFailure) and error.code in _PASSING_CODES)
    )


def resumed(names_after: Callable[[str | None], Iterator[str]]) -> Iterator[str]:
    """Yield sorted names from a cursor. If it fails, as when its server goes, another one goes on from there.

    :param names_after: yields the names after a given one, or all of them, in their order. It must be a
        generator, which asks MongoDB only for its first name.
    :raises PyMongoError: as :func:`retried`.
    """
    last: str | None = None
    names = names_after(last)

    def following() -> str | None:
        nonlocal names
        try:
            return next(names, None)
        except PyMongoError:
            names = names_after(last)
            raise

    while (name := retried(following)) is not None:
        yield name
        last = name


def in_transaction(
    client: MongoClient[dict[str, Any]],
    write: Callable[[Session], Result],
    right: RightToWrite = UNRESTRICTED,
) -> Result:
    """Call ``write`` with a session whose transaction is committed when it returns.

    A process that is killed on the way leaves nothing written. ``write`` is called again if another program
    has written to the same documents meanwhile, so it must read again what it bases its writes on.

    On a standalone server, which knows no transactions, ``write`` is called with None: there, a process
    killed between two writes can leave the counts wrong until the metrics are collected again.

    :param right: checked before everything else in the transaction.
    """

    def write_by_right(session: Session) -> Result:
        right.check(session)
        return write(session)

    if not retried(partial(_knows_transactions, client)):
        logger.warning("This MongoDB is no replica set: the writes of a batch are made one by one.")
        return write_by_right(None)
    with client.start_session() as session:
        return session.with_transaction(write_by_right, ReadConcern("snapshot"), WriteConcern("majority"))


def once_in_transaction(client: MongoClient[dict[str, Any]], write: Callable[[Session], Result]) -> Result:
    """Do as ``in_transaction``, but raise an error if another program has written to the same documents."""
    if not retried(partial(_knows_transactions, client)):
        return write(None)
    majority = WriteConcern("majority")
    with client.start_session() as session, session.start_transaction(ReadConcern("snapshot"), majority):
        return write(session)


def in_transactions(
    client: MongoClient[dict[str, Any]],
    write_some: Callable[[Session], int],
    right: RightToWrite = UNRESTRICTED,
) -> int:
    """Call ``write_some`` in one transaction after the other, until it has written less than one may.

    :param write_some: writes DOCUMENTS_PER_TRANSACTION documents at most, and returns their number.
    :param right: checked first in each transaction.
    :return: the number of all.
    """
    total = 0
    while True:
        written = in_transaction(client, write_some, right)
        total += written
        if written < DOCUMENTS_PER_TRANSACTION:
            return total


def enough_for_a_transaction(found: Cursor[Document]) -> list[Document]:
    """Return as many of the documents found as a transaction may write, without those it cannot write."""
    writable = (
        document for document in found.batch_size(DOCUMENTS_PER_TRANSACTION) if is_writable(document["_id"])
    )
    with found:
        return list(islice(writable, DOCUMENTS_PER_TRANSACTION))


@contextmanager
def at_one_moment(client: MongoClient[dict[str, Any]]) -> Iterator[Session]:
    """Yield a session whose reads all see the data of one moment, whatever others write meanwhile.

    On a standalone server, which cannot do that, it yields None.
    """
    if not retried(partial(_knows_transactions, client)):
        yield None
        return
    with client.start_session(snapshot=True) as session:
        yield session


def same_deployment(one: MongoClient[dict[str, Any]], other: MongoClient[dict[str, Any]]) -> bool:
    """Return whether two clients are known to reach the same servers, so that a transaction can span both.

    A sharded cluster that they enter by different servers counts as two deployments.
    """
    return one is other or not _servers(one).keys().isdisjoint(_servers(other))


def _knows_transactions(client: MongoClient[dict[str, Any]]) -> bool:
    return all(server.server_type_name != "Standalone" for server in _servers(client).values())


def _servers(client: MongoClient[dict[str, Any]]) -> Mapping[Address, ServerDescription]:
    """Ask the driver, which watches the servers anyway: it costs no round trip."""
    _ = client.is_primary  # waits until it has seen one
    return client.topology_description.server_descriptions()


def rights(database: Database[dict[str, Any]], collections: Mapping[str, Sequence[str]]) -> Rights:
    """Try to read and to write some collections. No other program ever sees anything of it.

    :param collections: the actions to try on each collection: ``find``, ``insert``, ``update``, ``remove``.
    :raises PyMongoError: for any failure but a missing right.
    """
    refused = {
        name: {action for action in actions if not _is_allowed(database[name], action)}
        for name, actions in collections.items()
    }
    return Rights(
        unreadable=tuple(name for name, actions in refused.items() if _READING in actions),
        unwritable=tuple(name for name, actions in refused.items() if actions - {_READING}),
    )


def _is_allowed(collection: Collection[dict[str, Any]], action: str) -> bool:
    try:
        if action == _READING:
            collection.find_one({}, {"_id": 1})
        else:
            _write_nothing(collection, action)
    except OperationFailure as error:
        if error.code != NOT_ALLOWED:
            raise
        return False
    return True


def _write_nothing(collection: Collection[dict[str, Any]], action: str) -> None:
    """Write in a transaction that is never committed; where there are none, change what does not exist."""
    client = collection.database.client
    if _knows_transactions(client):
        with client.start_session() as session, session.start_transaction():
            _write_probe(collection, action, session)
            session.abort_transaction()
    elif action != "insert":
        _write_probe(collection, action, None)


def _write_probe(collection: Collection[dict[str, Any]], action: str, session: Session) -> None:
    match action:
        case "insert":
            with suppress(DuplicateKeyError):  # It was allowed; a unique index has no place for it.
                collection.insert_one(dict(_PROBE), session=session)
        case "update":
            collection.update_one(_PROBE, {"$set": {"probe": True}}, session=session)
        case "remove":
            collection.delete_one(_PROBE, session=session)
