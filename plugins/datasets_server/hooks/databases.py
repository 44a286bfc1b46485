"""The cache and the queue, from their Connections of type mongo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.exceptions import AirflowConfigException
from airflow.providers.mongo.hooks.mongo import MongoHook
from pymongo.database import Database
from pymongo.errors import ConfigurationError as InvalidMongoUri
from pymongo.errors import InvalidURI, OperationFailure, PyMongoError

from datasets_server import settings
from datasets_server.hooks.connections import required_connection
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import MaintenanceStore
from include.databases.mongo import MAINTENANCE_DATABASE
from include.databases.queue_store import QueueStore
from include.errors import ConfigurationError, ServiceError
from include.planning.processing_graph import Release

CACHE_CONNECTION = settings.CACHE.id
QUEUE_CONNECTION = settings.QUEUE.id

_REFUSALS = {13: "does not allow this", 18: "refuses the user name or the password"}


class DatabaseHook(MongoHook):
    """A MongoDB of datasets-server.

    :param conn_id: a Connection of type mongo. Its schema is the database; by default, the user is looked up
        in the database ``admin`` (``authSource`` in its extra says otherwise).
    :param default_database: the database where the Connection has no schema.
    """

    def __init__(self, conn_id: str, default_database: str) -> None:
        required_connection(conn_id, conn_type="mongo")
        try:
            super().__init__(mongo_conn_id=conn_id)
        except AirflowConfigException as error:
            raise ConfigurationError(f"The Connection {conn_id} cannot be used: {error}") from error
        if self.connection.login:
            self.extras.setdefault("authSource", "admin")
        self._database_name = self.connection.schema or default_database

    def database(self, name: str | None = None) -> Database[dict[str, Any]]:
        """Give a database, the Connection's own by default, once its server has answered.

        :raises ServiceError: if it cannot be reached.
        :raises ConfigurationError: if it refuses the credentials, or the Connection makes no address.
        """
        with explained_mongo_errors(self):
            database: Database[dict[str, Any]] = self.get_conn()[name or self._database_name]
            database.command("ping")
            return database

    @property
    def address(self) -> str:
        """The Connection's id and its server, without the credentials."""
        port = f":{self.connection.port}" if self.connection.port else ""
        return f"{self.mongo_conn_id} ({self.connection.host}{port})"


class CacheHook(DatabaseHook):
    """The cache database."""

    def __init__(self, conn_id: str = CACHE_CONNECTION) -> None:
        super().__init__(conn_id, default_database="datasets_server_cache")

    def store(self) -> CacheStore:
        """Give the store of cache entries."""
        return CacheStore(self.database())


class QueueHook(DatabaseHook):
    """The queue database, and our own beside it."""

    def __init__(self, conn_id: str = QUEUE_CONNECTION) -> None:
        super().__init__(conn_id, default_database="datasets_server_queue")

    def store(self, release: Release) -> QueueStore:
        """Give the store of jobs."""
        return QueueStore(self.database(), release)

    def maintenance(self) -> MaintenanceStore:
        """Give the store of what maintenance itself keeps."""
        store = MaintenanceStore(self.database(MAINTENANCE_DATABASE))
        store.create_indexes()
        return store


@contextmanager
def explained_mongo_errors(*hooks: DatabaseHook) -> Iterator[None]:
    """Turn what MongoDB says when it fails into an error that names the Connections and what to do.

    :raises ConfigurationError: if the credentials or the rights are wrong: another attempt would not help.
    :raises ServiceError: for all else.
    """
    connections = ", ".join(hook.address for hook in hooks)
    try:
        yield
    except OperationFailure as error:
        if error.code in _REFUSALS:
            raise ConfigurationError(
                f"MongoDB at the Connection {connections} {_REFUSALS[error.code]}: mend it. {error}"
            ) from error
        raise ServiceError(f"MongoDB at the Connection {connections} fails: {error}") from error
    except (InvalidMongoUri, InvalidURI) as error:
        raise ConfigurationError(
            f"The Connection {connections} makes no address of MongoDB: {error}"
        ) from error
    except PyMongoError as error:
        raise ServiceError(f"MongoDB at the Connection {connections} cannot be reached: {error}") from error
