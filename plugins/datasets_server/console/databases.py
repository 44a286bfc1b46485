"""The databases as the console reads them: only for a short time, and without a write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from bson.errors import BSONError
from pymongo.database import Database
from pymongo.errors import ExecutionTimeout, NetworkTimeout

from datasets_server import settings
from datasets_server.console.answers import turn_to_compute
from datasets_server.hooks.databases import CacheHook, DatabaseHook, QueueHook, explained_mongo_errors
from include.databases.bounded import all_within
from include.databases.mongo import MAINTENANCE_DATABASE
from include.errors import ConfigurationError, ServiceError
from include.planning.processing_graph import Release

#: A person waits: a server that is down is reported soon.
_SERVER_SELECTION_MILLISECONDS = 2_000
#: Longer than the longest time that a command may take (2 s).
_SOCKET_MILLISECONDS = 5_000
#: For all reads of an answer.
_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Databases:
    """The databases of the cache and the queue, and our own, with the release that wrote them."""

    release: Release
    cache: Database[dict[str, Any]]
    queue: Database[dict[str, Any]]
    own: Database[dict[str, Any]]


@contextmanager
def open_databases(seconds: float = _SECONDS) -> Iterator[Databases]:
    """Open the databases of the Connections, in a turn to compute, and close them at the end.

    :param seconds: the time for all that is read of them.
    :raises ConfigurationError: if a Connection or a Variable is missing or wrong.
    :raises ServiceError: if a database cannot be reached, or does not answer in time, or if too many others
        compute.
    """
    hooks: list[DatabaseHook] = []
    with turn_to_compute(), all_within(seconds), _explained_errors(hooks), ExitStack() as opened:
        for hook in (CacheHook(), QueueHook()):
            hook.extras["serverSelectionTimeoutMS"] = _SERVER_SELECTION_MILLISECONDS
            hook.extras["socketTimeoutMS"] = _SOCKET_MILLISECONDS
            hooks.append(opened.enter_context(hook))
        cache, queue = hooks
        yield Databases(
            settings.RELEASE.read(), cache.database(), queue.database(), queue.database(MAINTENANCE_DATABASE)
        )


@contextmanager
def _explained_errors(hooks: Sequence[DatabaseHook]) -> Iterator[None]:
    with explained_mongo_errors(hooks):
        try:
            yield
        except (ExecutionTimeout, NetworkTimeout) as error:
            raise ServiceError(
                "The databases took too long: load this page again in some minutes. If that does not help,"
                f" look for what else keeps them busy, and for missing indexes. {error}"
            ) from error
        except BSONError as error:
            connections = ", ".join(hook.address for hook in hooks)
            raise ConfigurationError(
                f"MongoDB at the Connection {connections} holds a value that Python cannot read, such as a"
                f" date after the year 9999: find the document, and correct it. {error}"
            ) from error
