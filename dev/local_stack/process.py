"""A server that runs as a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from include.errors import ServiceError

PROJECT_ROOT = Path(__file__).parents[2]

_LOG_TAIL_LINES = 20
_POLL_SECONDS = 0.05
#: Starts a command that Linux ends when its parent ends. Python could do so itself only after a fork, which
#: hangs if another thread holds a lock at that moment.
_DYING_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM", "--")


def _frozen(process: psutil.Process) -> list[psutil.Process]:
    """Suspend a process, then its descendants. A suspended process cannot start another child."""
    with suppress(psutil.NoSuchProcess):
        process.suspend()
        return [process, *(each for child in process.children() for each in _frozen(child))]
    return []


class Server(ABC):
    """A server that can be started and stopped; ``with`` does both."""

    @abstractmethod
    def start(self) -> object:
        """Start it, and wait until it is ready."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it, if it runs."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class ServerProcess(Server):
    """A server that runs as a child process, and writes its output to a log file.

    It has its own process group, so ``stop`` ends its children too. Linux also ends it when the thread that
    started it ends for any reason (the thread, not the process).
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log_file: Path,
        is_ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the process.

        :param name: its name in error messages.
        :param log_file: the file to append its output to; the folder is created if missing.
        :param is_ready: returns whether the server is ready. It is called until it returns true, and must not
            raise.
        :param environment: environment variables in addition to those of this process.
        """
        self.name = name
        self.log_file = log_file
        self._command = [*_DYING_WITH_PARENT, *(str(part) for part in command)]
        self._is_ready = is_ready
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id, None if it was not started."""
        return self._process.pid if self._process else None

    def start(self, timeout: float = 60) -> None:
        """Start it and wait until it is ready.

        :param timeout: in seconds.
        :raises ServiceError: if it ends, or is not ready in time. The message has the last lines of its log.
        """
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROJECT_ROOT,
                env=os.environ | self._environment,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(self._process, timeout)
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout: float = 20) -> None:
        """Terminate it, wait, and kill what is left of its process group."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout)
        with suppress(ProcessLookupError):  # No process of the group is left.
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def kill(self) -> None:
        """Kill it and all its descendants, in any process group, with SIGKILL."""
        process, self._process = self._process, None
        if process is None:
            return
        for each in _frozen(psutil.Process(process.pid)):
            each.kill()
        process.wait()

    def _wait_until_ready(self, process: subprocess.Popen[bytes], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not self._is_ready():
            if process.poll() is not None:
                tail = log_tail(self.log_file)
                raise ServiceError(f"{self.name} ended with code {process.returncode}. {tail}")
            if time.monotonic() > deadline:
                tail = log_tail(self.log_file)
                raise ServiceError(f"{self.name} was not ready within {timeout:g} s. {tail}")
            time.sleep(_POLL_SECONDS)


def log_tail(log_file: Path) -> str:
    """Return the last lines of a log, for an error message."""
    lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([f"The last lines of {log_file}:", *lines[-_LOG_TAIL_LINES:]])
