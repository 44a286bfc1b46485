"""Turn the environment variables of the job that came before into Connections and Variables of this Airflow.

``python -m datasets_server.import_env FILE`` reads lines of ``KEY=VALUE``: a file of docker compose, a shell
file with ``export``, a dump of ``env``. It shows what it will set, without the secrets, and asks. A variable
that is empty means its default. What the file says nothing about stays as it is. The pool of the shards is
created where it is missing.
"""

# ruff: noqa: AIR311 - the Connection and Variable of airflow.sdk are for tasks; a command writes to the database.
from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from airflow.models import Connection, Pool, Variable
from airflow.utils.session import create_session
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_userinfo, split_hosts, split_options
from rich.console import Console
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from datasets_server import options, settings
from datasets_server.hooks.hub import endpoint
from datasets_server.settings import ConnectionSpec, Setting
from include.errors import ConfigurationError

#: The environment variables of the one directory to clean, each with its key in the Variable.
DIRECTORY_CLEANING_KEYS = {
    "DIRECTORY_CLEANING_CACHE_DIRECTORY": "directory",
    "DIRECTORY_CLEANING_SUBFOLDER_PATTERN": "pattern",
    "DIRECTORY_CLEANING_EXPIRED_TIME_INTERVAL_SECONDS": "expired_time_interval_seconds",
}
IMPORTED_DIRECTORY = "imported"

MASK = "***"
_SECRET_OPTION = re.compile(r"password|secret|token|key|properties", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")
_QUOTED = re.compile(r"""(?:'(?P<literal>[^']*)'|"(?P<escaped>(?:[^"\\]|\\.)*)")\s*(?:#.*)?""")
_MONGO_SCHEMES = {"mongodb": False, "mongodb+srv": True}
_NO_MONGO_ADDRESS = (
    "it must be an address such as mongodb://user:password@host:27017/?replicaSet=rs0, in which special"
    " characters of the user and of the password are written as %40 and the like"
)


# Reading the file


def parse_env(text: str) -> dict[str, str]:
    r"""Read lines of ``KEY=VALUE``; of a key that comes twice, the last line holds.

    Blank lines, lines with ``#`` and the word ``export`` are skipped, a comment after a value needs a space
    before it. In double quotes, ``\n`` is a new line, and a backslash keeps the character after it.

    :raises ConfigurationError: naming the lines that are none of this, without what they hold.
    """
    values, bad_lines = {}, []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(stripped)
        value = _unquoted(match[2]) if match else None
        if match is None or value is None:
            bad_lines.append(str(number))
        else:
            values[match[1]] = value
    if bad_lines:
        raise ConfigurationError(
            f"Line {', '.join(bad_lines)} cannot be read: write KEY=VALUE, and close each quote on its line."
        )
    return values


def _unquoted(text: str) -> str | None:
    if not text.strip().startswith(("'", '"')):
        return re.sub(r"\s+#.*", "", text).strip()
    match = _QUOTED.fullmatch(text.strip())
    if match is None:
        return None
    if match["literal"] is not None:
        return match["literal"]
    return re.sub(r"\\(.)", lambda escape: "\n" if escape[1] == "n" else escape[1], match["escaped"])


# Connections


@dataclass(frozen=True, slots=True)
class Fields:
    """What a Connection holds."""

    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, connection: Connection) -> Fields:
        """Take the fields of a Connection."""
        return cls(
            connection.host or None,
            connection.port,
            connection.login or None,
            connection.password or None,
            connection.schema or None,
            connection.extra_dejson,
        )


def mongo_fields(url: str) -> Fields:
    """Take the address of a MongoDB apart.

    Several hosts stay together with their ports, as ``a:27017,b:27017``. The database is the schema, and
    where there are credentials, also where they are looked up, unless the option authSource says otherwise.

    :raises ValueError: if it is no address; the error does not hold the address, which has a password in it.
    """
    try:
        parts = urlsplit(url)
        srv = _MONGO_SCHEMES[parts.scheme]
        userinfo, _, hosts = parts.netloc.rpartition("@")
        login, password = parse_userinfo(userinfo) if userinfo else (None, None)
        nodes = split_hosts(hosts, default_port=None)
        extra = _options(parts.query)
    except (KeyError, ValueError, PyMongoError):
        raise ValueError(_NO_MONGO_ADDRESS) from None
    if parts.fragment or (srv and (len(nodes) > 1 or nodes[0][1])):
        raise ValueError(_NO_MONGO_ADDRESS)
    database = unquote(parts.path.lstrip("/")) or None
    if srv:
        extra["srv"] = True
    if login and database:
        extra.setdefault("authSource", database)
    if len(nodes) == 1:
        host, _, port = hosts.rpartition(":") if nodes[0][1] else (hosts, "", None)
        return Fields(host, int(port) if port else None, login, password, database, extra)
    return Fields(hosts, None, login, password, database, extra)


def _options(query: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if query:
        split_options(query, warn=False)  # checks them
    for name, text in parse_qsl(query):
        key = "authSource" if name.lower() == "authsource" else name
        value = {"true": True, "false": False}.get(text, int(text) if text.isdecimal() else text)
        # An option may come more than once: readPreferenceTags.
        options[key] = [*_as_list(options[key]), value] if key in options else value
    return options


def _as_list(value: Any) -> list[Any]:  # noqa: ANN401 - an option of MongoDB
    return value if isinstance(value, list) else [value]


def _mongo(fields: Fields, given: Mapping[str, str]) -> Fields:
    schema = None
    for name, value in given.items():
        if name.endswith("_URL"):
            try:
                parsed = mongo_fields(value)
            except ValueError as error:
                raise ConfigurationError(f"{name} cannot be used: {error}.") from None
            # The job that came before prefers the database of the address, too.
            schema = parsed.schema
            fields = replace(parsed, schema=schema or fields.schema)
        elif schema is None:
            fields = replace(fields, schema=value)
    return fields


def _hub(fields: Fields, given: Mapping[str, str]) -> Fields:
    if "COMMON_HF_ENDPOINT" in given:
        fields = replace(fields, host=given["COMMON_HF_ENDPOINT"], port=None, schema=None)
        endpoint(Connection(conn_id=settings.HUB.id, host=fields.host))
    if "COMMON_HF_TOKEN" in given:
        fields = replace(fields, password=given["COMMON_HF_TOKEN"] or None)
    return fields


def _bot(fields: Fields, given: Mapping[str, str]) -> Fields:
    login = given.get("DISCUSSIONS_BOT_ASSOCIATED_USER_NAME", fields.login) or None
    return replace(fields, login=login, password=given.get("DISCUSSIONS_BOT_TOKEN", fields.password) or None)


def _s3(fields: Fields, given: Mapping[str, str]) -> Fields:
    extra = dict(fields.extra)
    if "S3_REGION_NAME" in given:
        extra["region_name"] = given["S3_REGION_NAME"]
    return replace(
        fields,
        login=given.get("S3_ACCESS_KEY_ID", fields.login) or None,
        password=given.get("S3_SECRET_ACCESS_KEY", fields.password) or None,
        extra=extra,
    )


_FIELDS: Mapping[str, Callable[[Fields, Mapping[str, str]], Fields]] = {
    settings.CACHE.id: _mongo,
    settings.QUEUE.id: _mongo,
    settings.HUB.id: _hub,
    settings.HUB_BOT.id: _bot,
    settings.S3.id: _s3,
}


# What is to be set


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """A Connection as it is to be; ``before`` is None where there is none."""

    spec: ConnectionSpec
    before: Fields | None
    after: Fields

    @property
    def status(self) -> str:
        """Tell whether it is new, the same, or changes."""
        return _status(self.before, self.after)

    def __str__(self) -> str:
        shown = asdict(self.after) | {
            "password": MASK if self.after.password else None,
            # The id of an S3 key is half of a secret.
            "login": MASK if self.after.login and self.spec is settings.S3 else self.after.login,
            "extra": _shown_extra(self.after.extra),
        }
        text = ", ".join(f"{name} {value}" for name, value in shown.items() if value)
        return f"Connection {self.spec.id} ({self.spec.conn_type}): {text}{self._changed_fields()}"

    def _changed_fields(self) -> str:
        if self.before is None or self.before == self.after:
            return ""
        before, after = asdict(self.before), asdict(self.after)
        return f" [changes {', '.join(name for name in after if before[name] != after[name])}]"

    def write(self, session: Session) -> None:
        """Create or change the Connection."""
        connection = _connection(self.spec.id, session) or Connection(conn_id=self.spec.id)
        connection.conn_type = self.spec.conn_type
        connection.host = self.after.host
        connection.port = self.after.port
        connection.login = self.after.login
        connection.schema = self.after.schema
        connection.set_password(self.after.password)
        connection.set_extra(json.dumps(self.after.extra) if self.after.extra else None)
        session.add(connection)


@dataclass(frozen=True, slots=True)
class VariableChange:
    """A Variable as it is to be; ``before`` is None where there is none."""

    name: str
    description: str
    before: str | None
    after: str

    @property
    def status(self) -> str:
        """Tell whether it is new, the same, or changes."""
        return _status(self.before, self.after)

    def __str__(self) -> str:
        return f"Variable {self.name}: {self.after or '(empty)'}"

    def write(self, session: Session) -> None:
        """Create or change the Variable."""
        Variable.set(self.name, self.after, description=self.description, session=session)


@dataclass(frozen=True, slots=True)
class PoolCreation:
    """The pool of the shards, without which they would never run; one that is there stays as it is."""

    name: str

    @property
    def status(self) -> str:
        """Tell that it is new."""
        return "new"

    def __str__(self) -> str:
        return f"Pool {self.name}: {options.POOL_SLOTS} slots"

    def write(self, session: Session) -> None:
        """Create the pool."""
        Pool.create_or_update_pool(
            self.name, options.POOL_SLOTS, options.POOL_DESCRIPTION, include_deferred=False, session=session
        )


Change = ConnectionChange | VariableChange | PoolCreation


def _status(before: object, after: object) -> str:
    return "new" if before is None else "same" if before == after else "changes"


def _shown_extra(extra: Mapping[str, Any]) -> str:
    shown = {name: MASK if _SECRET_OPTION.search(name) else value for name, value in extra.items()}
    return json.dumps(shown) if shown else ""


def _connection(conn_id: str, session: Session) -> Connection | None:
    return session.scalar(select(Connection).where(Connection.conn_id == conn_id))


def _variable(name: str, session: Session) -> str | None:
    variable = session.scalar(select(Variable).where(Variable.key == name))
    return None if variable is None else str(variable.val)


def changes(env: Mapping[str, str], session: Session) -> list[Change]:
    """Find what the environment variables make of the Connections and Variables that are there.

    :raises ConfigurationError: naming every environment variable that cannot be used.
    """
    found: list[Change] = []
    errors: list[str] = []
    made_by: tuple[Callable[[Mapping[str, str], Session], Change | None], ...] = (
        *(partial(_connection_change, spec) for spec in settings.CONNECTIONS),
        *(partial(_setting_change, setting) for setting in settings.SETTINGS),
        _directories_change,
        _pool_creation,
    )
    for make_change in made_by:
        try:
            change = make_change(env, session)
        except ConfigurationError as error:
            errors.append(str(error))
        else:
            found.extend([change] if change else [])
    if errors:
        raise ConfigurationError("\n".join(errors))
    return found


def _connection_change(
    spec: ConnectionSpec, env: Mapping[str, str], session: Session
) -> ConnectionChange | None:
    given = {name: env[name] or default for name, default in spec.replaces.items() if name in env}
    if not given:
        return None
    connection = _connection(spec.id, session)
    if connection is None:
        after = _FIELDS[spec.id](Fields(), {**spec.replaces, **given})
        return ConnectionChange(spec, None, after)
    before = Fields.of(connection)
    return ConnectionChange(spec, before, _FIELDS[spec.id](before, given))


def _setting_change(setting: Setting, env: Mapping[str, str], session: Session) -> VariableChange | None:
    if setting.replaces is None or setting.replaces not in env:
        return None
    return _variable_change(setting, env[setting.replaces] or setting.default, session)


def _directories_change(env: Mapping[str, str], session: Session) -> VariableChange | None:
    if not any(env.get(name) for name in DIRECTORY_CLEANING_KEYS):
        return None
    return _variable_change(settings.DIRECTORY_CLEANING, _directories(env, session), session)


def _pool_creation(env: Mapping[str, str], session: Session) -> PoolCreation | None:  # noqa: ARG001 (as the others)
    name = options.shard_pool()
    return None if Pool.get_pool(name, session=session) else PoolCreation(name)


def _variable_change(setting: Setting, text: str, session: Session) -> VariableChange:
    setting.check(text)
    return VariableChange(setting.name, setting.description, _variable(setting.name, session), text)


def _directories(env: Mapping[str, str], session: Session) -> str:
    """Give the directories to clean, of which the file has one, and the Variable may have more."""
    if not env.get("DIRECTORY_CLEANING_CACHE_DIRECTORY"):
        raise ConfigurationError("A directory to clean needs DIRECTORY_CLEANING_CACHE_DIRECTORY, too.")
    entry: dict[str, Any] = {"name": IMPORTED_DIRECTORY}
    entry |= {key: env[name] for name, key in DIRECTORY_CLEANING_KEYS.items() if env.get(name)}
    seconds = entry.get("expired_time_interval_seconds", "")
    if seconds.isdecimal():
        entry["expired_time_interval_seconds"] = int(seconds)
    setting = settings.DIRECTORY_CLEANING
    present = _variable(setting.name, session) or setting.default
    setting.check(present)
    others = (other for other in json.loads(present) if other["name"] != IMPORTED_DIRECTORY)
    return json.dumps([*others, entry])


# The command


def known_names() -> set[str]:
    """Give the environment variables that have a place."""
    return {
        *settings.REPLACED_OTHERWISE,
        *DIRECTORY_CLEANING_KEYS,
        *(name for spec in settings.CONNECTIONS for name in spec.replaces),
        *(setting.replaces for setting in settings.SETTINGS if setting.replaces),
    }


def notes(env: Mapping[str, str], found: list[Change], session: Session) -> Iterator[str]:
    """Tell what of the file is not set, and what is needed and not in the file."""
    for name, reason in settings.REPLACED_OTHERWISE.items():
        if name in env:
            yield f"Not set: {name} ({reason})."
    if unknown := sorted(env.keys() - known_names()):
        yield f"Unknown, not set: {', '.join(unknown)}."
    for change in found:
        variable = _shadow(change)
        if variable and variable in os.environ:
            yield f"Hidden: {variable} in the environment of this Airflow goes before it."
    for spec in settings.CONNECTIONS:
        if spec.needed_for is None and not (env.keys() & spec.replaces) and not _connection(spec.id, session):
            yield f"Missing: the Connection {spec.id}; the file has no {' and no '.join(spec.replaces)}."


def _shadow(change: Change) -> str | None:
    if isinstance(change, PoolCreation):
        return None
    if isinstance(change, ConnectionChange):
        return f"AIRFLOW_CONN_{change.spec.id.upper()}"
    return f"AIRFLOW_VAR_{change.name.upper()}"


def import_env(path: Path, console: Console, confirm: Callable[[], bool]) -> bool:
    """Show what a file would set, and set it, all or nothing, once it is confirmed.

    :return: whether all is set now.
    :raises ConfigurationError: if something in the file cannot be used, or Airflow has no database.
    """
    try:
        env = parse_env(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise ConfigurationError(f"It cannot be read: {reason}.") from None
    try:
        with create_session() as session:
            found = changes(env, session)
            for change in found:
                console.print(f"{change.status:<8} {change}")
            for note in notes(env, found, session):
                console.print(note)
            to_write = [change for change in found if change.status != "same"]
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
            f"Airflow's database cannot be used ({type(error).__name__}). Start this Airflow first, or name"
            " another one with AIRFLOW_HOME."
        ) from error
    console.print(f"{len(to_write)} set. Trigger the DAG check-connections to test them.")
    return True


def _asked() -> bool:
    try:
        return input("Set them? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; the exit code is 0 if all is set, else 1."""
    parser = argparse.ArgumentParser(prog="python -m datasets_server.import_env", description=__doc__)
    parser.add_argument("file", type=Path, help="lines of KEY=VALUE")
    parser.add_argument("--yes", action="store_true", help="set them without asking")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    try:
        done = import_env(options.file, console, (lambda: True) if options.yes else _asked)
    except ConfigurationError as error:
        console.print(f"{options.file}: nothing was set.\n{error}")
        return 1
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
