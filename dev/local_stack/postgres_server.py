"""A local PostgreSQL server from the Debian package: the database of an Airflow with Celery workers."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from dev.local_stack.ports import HOST, free_port
from dev.local_stack.process import Server, ServerProcess
from include.errors import ConfigurationError, ServiceError

DEBIAN_PACKAGE = "postgresql"
USER = "airflow"
DATABASE = "postgres"  # exists on every server

_PROGRAMS = Path("/usr/lib/postgresql")
_SYSTEM_USER = "postgres"  # created by the package
#: PostgreSQL refuses to run as root. The capability lets it enter a folder inside a folder of root.
_AS_SYSTEM_USER = (
    *("setpriv", f"--reuid={_SYSTEM_USER}", f"--regid={_SYSTEM_USER}", "--clear-groups"),
    *("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--pdeathsig=keep"),
)


def find_postgres_programs() -> Path | None:
    """Return the folder with the programs of the newest PostgreSQL on this machine, None without one."""
    versions = [path.parent for path in _PROGRAMS.glob("*/bin") if (path / "postgres").is_file()]
    newest = max(versions, key=lambda path: [int(part) for part in path.name.split(".")], default=None)
    return newest / "bin" if newest else None


class PostgresServer(Server):
    """A PostgreSQL server on 127.0.0.1 with an empty database. ``USER`` needs no password.

    It is for tests only: it does not wait for the disk, so a crash of the machine can lose data.
    """

    def __init__(self, folder: Path, *, log_file: Path) -> None:
        """Describe the server.

        :param folder: for its data; it must be empty or not exist.
        :raises ConfigurationError: if PostgreSQL is not installed.
        """
        programs = find_postgres_programs()
        if programs is None:
            raise ConfigurationError(f"PostgreSQL is missing: apt-get install {DEBIAN_PACKAGE}")
        self.port = free_port()
        self._programs = programs
        self._folder = folder.absolute()
        self._log_file = log_file
        self._as_user = _AS_SYSTEM_USER if os.geteuid() == 0 else ()
        self._process = ServerProcess(
            "PostgreSQL",
            [
                *(*self._as_user, programs / "postgres", "-D", self._folder),
                *("-c", f"listen_addresses={HOST}", "-p", str(self.port)),
                *("-c", "unix_socket_directories=", "-c", "max_connections=200"),
                *("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"),
            ],
            log_file=log_file,
            is_ready=self._answers,
        )

    @property
    def address(self) -> str:
        """The address of the database for clients: user, host, port and name."""
        return f"{USER}@{HOST}:{self.port}/{DATABASE}"

    def start(self) -> None:
        """Create the database, start the server, and wait until it answers.

        :raises ServiceError: if it does not start.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._as_user:
            user = pwd.getpwnam(_SYSTEM_USER)
            shutil.chown(self._folder, user.pw_uid, user.pw_gid)
        self._make_database()
        self._process.start()

    def stop(self) -> None:
        """Stop it, and keep its data."""
        self._process.stop()

    def _make_database(self) -> None:
        command: list[str | Path] = [
            *(*self._as_user, self._programs / "initdb", "-D", self._folder),
            *(
                "--username",
                USER,
                "--auth",
                "trust",
                "--encoding",
                "UTF8",
                "--locale",
                "C.UTF-8",
                "--no-sync",
            ),
        ]
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as log:
            made = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False
            )
        if made.returncode:
            raise ServiceError(f"PostgreSQL's database cannot be created: see {self._log_file}.")

    def _answers(self) -> bool:
        options = ("--quiet", "--host", HOST, "--port", str(self.port))
        return subprocess.run([self._programs / "pg_isready", *options], check=False).returncode == 0
