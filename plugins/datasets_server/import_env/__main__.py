"""Turn the environment variables of the CronJob that this replaces into Connections and Variables.

``python -m datasets_server.import_env FILE`` reads lines of ``KEY=VALUE``: an .env file of Docker Compose, a
shell file with ``export``, the output of ``env``. It shows what it will set, with masked secrets, and asks
for confirmation. An empty value stands for its default. Connections and Variables that the file does not
mention stay as they are. The pool of the shards is created if it is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from airflow.utils.session import create_session
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from datasets_server.import_env.changes import find_changes
from datasets_server.import_env.env_file import read_env_file
from datasets_server.import_env.notes import notes
from include.errors import ConfigurationError


def import_env(path: Path, console: Console, confirm: Callable[[], bool]) -> bool:
    """Show what a file sets, and set all of it, or nothing without a confirmation.

    :return: whether everything is set now.
    :raises ConfigurationError: if the file has an invalid value, or Airflow's database cannot be used.
    """
    env = read_env_file(path)
    try:
        with create_session() as session:
            changes = find_changes(env, session)
            for change in changes:
                console.print(f"{change.status:<8} {change}")
            for note in notes(env, changes, session):
                console.print(note)
            to_write = [change for change in changes if change.status != "same"]
            if not to_write:
                console.print("There is nothing to set.")
                return True
            if not confirm():
                console.print("Nothing was set.")
                return False
            for change in to_write:
                change.write(session)
    except SQLAlchemyError as error:
        raise ConfigurationError(
            f"Airflow's database cannot be used ({type(error).__name__}). Start this Airflow first, or set"
            " AIRFLOW_HOME to the folder of another one."
        ) from error
    console.print(f"{len(to_write)} set. Trigger the DAG check-connections to test them.")
    return True


def _ask() -> bool:
    try:
        return input("Set them? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return its exit code: 0 if all is set, else 1."""
    parser = argparse.ArgumentParser(prog="python -m datasets_server.import_env", description=__doc__)
    parser.add_argument("file", type=Path, help="lines of KEY=VALUE")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    try:
        is_set = import_env(options.file, console, (lambda: True) if options.yes else _ask)
    except ConfigurationError as error:
        console.print(f"{options.file}: nothing was set.\n{error}")
        return 1
    return 0 if is_set else 1


if __name__ == "__main__":
    sys.exit(main())
