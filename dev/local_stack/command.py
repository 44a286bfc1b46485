"""What the commands of the local stack share: how they show progress, and how they end."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from dev.local_stack.keeper import keep
from include.errors import ConfigurationError, ServiceError

STOPPED = 130  # the exit code of a program that Ctrl-C has ended, as shells report it

console = Console(highlight=False)


@contextmanager
def step(done: str) -> Iterator[Callable[[str], None]]:
    """Show that a step is running, and at its end that it is done, with its seconds.

    Yields a function that replaces the text while the step runs.
    """
    start = time.monotonic()
    with console.status(f"{done} ...") as status:
        yield status.update
    console.print(f"[green]✓[/] {done} [dim]{time.monotonic() - start:.1f} s[/]")


@contextmanager
def fresh_folder(data: Path, *folders: str) -> Iterator[None]:
    """Lock a folder for a run, and remove what the previous run left in it.

    :param folders: the names of the folders to remove.
    :raises ConfigurationError: if another run uses the folder.
    """
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"Another run uses {data}: stop it first, or name another folder with --data."
            ) from error
        for name in ("logs", *folders):
            shutil.rmtree(data / name, ignore_errors=True)
        (data / "logs").mkdir()
        yield


def run_command(work: Callable[[], bool]) -> int | None:
    """Run a command in a child process, and stop every process that it leaves behind.

    :param work: returns whether the command succeeded.
    :return: the exit code: 0 for success, 1 for failure, None if a signal ended the command.
    """
    logging.basicConfig(
        format="%(message)s", handlers=[RichHandler(console=console, show_time=False, show_path=False)]
    )
    _clean_environment()
    return keep(lambda: _exit_code(work), on_signal=_say_goodbye)


def _exit_code(work: Callable[[], bool]) -> int:
    try:
        return 0 if work() else 1
    except (ConfigurationError, ServiceError) as error:
        console.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        return 1


def _clean_environment() -> None:
    """Remove the settings of the caller's own Airflow, and reach our servers without a proxy."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        del os.environ[name]
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1,localhost"]))


def _say_goodbye() -> None:
    with suppress(OSError):  # The terminal may be gone.
        console.show_cursor()
        console.print("\nStopping ...")
