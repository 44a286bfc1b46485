"""The cache and queue databases, from their Connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, cast

from airflow.exceptions import AirflowConfigException
from airflow.providers.mongo.hooks.mongo import MongoHook
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import ConfigurationError as InvalidMongoUri
from pymongo.errors import InvalidName, InvalidURI, OperationFailure, PyMongoError

from datasets_server import settings
from datasets_server.hooks.connections import required_connection
from include.databases.cache_store import CacheStore
from include.databases.former_database import move_from_former_database
from include.databases.maintenance_store import MaintenanceStore
from include.databases.mongo import MAINTENANCE_DATABASE, ReadMode
from include.databases.queue_store import QueueStore
from include.errors import ConfigurationError, ServiceError
from include.hosts import without_credentials
from include.planning.processing_graph import Release

CACHE_CONNECTION = settings.CACHE.id
QUEUE_CONNECTION = settings.QUEUE.id

#: For the reply to each command: a mongod that hangs must not hold a task for ever. To count the entries of
#: the largest caches takes a minute or two. With the driver's timeoutMS, it would wait as long for a server
#: that is down too, for which the 30 s of serverSelectionTimeoutMS are enough.
_SOCKET_TIMEOUT_MILLISECONDS = 300_000

_READ_OPTIONS = ("readpreference", "readpreferencetags", "maxstalenessseconds")
#: By MongoDB's error code: Unauthorized and AuthenticationFailed.
_REFUSALS = {
    13: "does not allow this operation: grant the user the role readWrite, or the DAG's in docs/security.md",
    18: "refuses the user name or the password: fix the Connection",
}


class DatabaseHook(MongoHook):
    """A MongoDB of datasets-server.

    A ``readPreference`` in the extra of its Connection is ``read_preference``, for the reads that no write is
    based on. All others are from the primary.

    :param conn_id: a Connection of type mongo. Its schema is the database. Its user is in the database
        ``admin``, unless ``authSource`` in its extra names another one. A command fails if MongoDB does
        not answer within 5 minutes, unless ``socketTimeoutMS`` in its extra says otherwise.
    :param default_database: the name of the database in a release, if the Connection has no schema.
    :raises ConfigurationError: if the Connection is missing, or is of another type.
    """

    def __init__(self, conn_id: str, default_database: Callable[[Release], str]) -> None:
        required_connection(conn_id, conn_type="mongo")
        try:
            super().__init__(mongo_conn_id=conn_id)
        except AirflowConfigException as error:
            raise ConfigurationError(f"The Connection {conn_id} cannot be used: {error}") from error
        if self.connection.login:
            self.extras.setdefault("authSource", "admin")
        self.extras.setdefault("socketTimeoutMS", _SOCKET_TIMEOUT_MILLISECONDS)
        self.read_preference = self._taken_read_preference()
        self._default_database = default_database

    def database(self, name: str | None = None) -> Database[dict[str, Any]]:
        """Connect, and return a database, by default that of the Connection.

        :raises ServiceError: if MongoDB cannot be reached.
        :raises ConfigurationError: if MongoDB refuses the credentials, or the Connection is not a valid URI,
            or leaves out the database and the Variable of the release is not valid.
        """
        with explained_mongo_errors([self]):
            database: Database[dict[str, Any]] = self._connected()[name or self._database_name()]
            database.command("ping")
            return database

    def _connected(self) -> MongoClient[dict[str, Any]]:
        try:
            client: MongoClient[dict[str, Any]] = self.get_conn()
        except (TypeError, ValueError) as error:  # of a port with letters, or an option of another type
            raise InvalidURI(str(error)) from None
        return client

    def _taken_read_preference(self) -> ReadMode:
        """Take the options of reading out of the extra: a client with them would read everything by them."""
        names = [name for name in self.extras if name.lower() in _READ_OPTIONS]
        options = {name: self.extras.pop(name) for name in names}
        try:
            with MongoClient[dict[str, Any]](connect=False, **options) as parser:
                return cast("ReadMode", parser.read_preference)
        except (PyMongoError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"The Connection {self.mongo_conn_id} cannot be used: {error}"
            ) from error

    def _database_name(self) -> str:
        return self.connection.schema or self._default_database(settings.RELEASE.read())

    @property
    def address(self) -> str:
        """The id of the Connection and its server, without the credentials, wherever they are."""
        port = f":{self.connection.port}" if self.connection.port else ""
        return f"{self.mongo_conn_id} ({without_credentials(str(self.connection.host))}{port})"


class CacheHook(DatabaseHook):
    """The cache database."""

    def __init__(self, conn_id: str = CACHE_CONNECTION) -> None:
        super().__init__(conn_id, default_database=attrgetter("cache_database"))

    def store(self) -> CacheStore:
        """Return the store of cache entries."""
        move_from_former_database(self.database(MAINTENANCE_DATABASE))
        return CacheStore(self.database(), self.read_preference)


class QueueHook(DatabaseHook):
    """The queue database, and the database in which maintenance keeps its own records."""

    def __init__(self, conn_id: str = QUEUE_CONNECTION) -> None:
        super().__init__(conn_id, default_database=attrgetter("queue_database"))

    def store(self, release: Release) -> QueueStore:
        """Return the store of jobs."""
        return QueueStore(self.database(), release, self.read_preference)

    def maintenance(self) -> MaintenanceStore:
        """Return the store of the records of maintenance, with what earlier versions left."""
        database = self.database(MAINTENANCE_DATABASE)
        move_from_former_database(database)
        return MaintenanceStore(database)


@contextmanager
def explained_mongo_errors(hooks: Sequence[DatabaseHook]) -> Iterator[None]:
    """Turn an error of MongoDB into one that names the Connections and what to do.

    :param hooks: of these Connections. More hooks may be added until the error.
    :raises ConfigurationError: if the credentials, the rights or the URI are wrong: a retry would fail, too.
    :raises ServiceError: for any other error.
    """
    try:
        yield
    except (InvalidMongoUri, InvalidURI, InvalidName) as error:
        raise _explained_uri(error, hooks) from None  # It may quote what stands before the host.
    except PyMongoError as error:
        raise _explained(error, ", ".join(hook.address for hook in hooks)) from error


def _explained_uri(error: PyMongoError, hooks: Sequence[DatabaseHook]) -> ConfigurationError:
    connections = ", ".join(hook.address for hook in hooks)
    if any("@" in (hook.connection.host or "") for hook in hooks):
        what = "its host has an @: write the user name and the password into the fields for them"
    else:
        what = str(error)
    return ConfigurationError(f"The Connection {connections} is not a valid MongoDB URI: {what}")


def _explained(error: PyMongoError, connections: str) -> ConfigurationError | ServiceError:
    if isinstance(error, OperationFailure):
        if error.code in _REFUSALS:
            return ConfigurationError(
                f"MongoDB at the Connection {connections} {_REFUSALS[error.code]}. {error}"
            )
        return ServiceError(f"MongoDB at the Connection {connections} fails: {error}")
    return ServiceError(f"MongoDB at the Connection {connections} cannot be reached: {error}")
