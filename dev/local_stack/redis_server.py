"""A local Redis server from the Debian package: the broker of Celery."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from dev.local_stack.ports import HOST, free_port, is_listening
from dev.local_stack.process import Server, ServerProcess
from include.errors import ConfigurationError

DEBIAN_PACKAGE = "redis-server"


def find_redis_program() -> Path | None:
    """Return the redis-server of this machine, None without one."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


class RedisServer(Server):
    """A Redis server on 127.0.0.1, at ``url``. It keeps its data only in memory."""

    def __init__(self, *, log_file: Path) -> None:
        """Describe the server.

        :raises ConfigurationError: if Redis is not installed.
        """
        program = find_redis_program()
        if program is None:
            raise ConfigurationError(f"Redis is missing: apt-get install {DEBIAN_PACKAGE}")
        port = free_port()
        self.url = f"redis://{HOST}:{port}/0"
        self._process = ServerProcess(
            "Redis",
            [program, "--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no"],
            log_file=log_file,
            is_ready=partial(is_listening, port),
        )

    def start(self) -> None:
        """Start it, and wait until it answers.

        :raises ServiceError: if it does not.
        """
        self._process.start()

    def stop(self) -> None:
        """Stop it."""
        self._process.stop()
