"""The changes that the import makes to the Connections, Variables and the pool in Airflow's database."""

# ruff: noqa: AIR311 - the Connection and Variable of airflow.sdk are for tasks; a command writes to the database.
from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial

from airflow.models import Connection, Pool, Variable
from sqlalchemy import select
from sqlalchemy.orm import Session

from datasets_server import settings
from datasets_server.import_env.connections import Fields, updated_fields
from datasets_server.import_env.variables import updated_text
from datasets_server.options import shard_pool
from datasets_server.settings import ConnectionSpec, Setting
from include.errors import ConfigurationError

MASK = "***"
_SECRET_OPTION = re.compile(r"password|secret|token|key|properties", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """A Connection that is created or changed; ``before`` is None if there is none yet."""

    spec: ConnectionSpec
    before: Fields | None
    after: Fields

    @property
    def status(self) -> str:
        """Return ``new``, ``same`` or ``changes``."""
        return _status(self.before, self.after)

    def __str__(self) -> str:
        fields = self.after
        shown = asdict(fields) | {
            "password": fields.password and MASK,
            # The access key id is half of a secret.
            "login": MASK if fields.login and self.spec is settings.S3 else fields.login,
            "extra": fields.extra and _masked(fields.extra),
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
        connection = self._connection(session)
        connection.conn_type = self.spec.conn_type
        connection.host = self.after.host
        connection.port = self.after.port
        connection.login = self.after.login
        connection.schema = self.after.schema
        connection.set_password(self.after.password)
        connection.set_extra(json.dumps(self.after.extra) if self.after.extra else None)
        session.add(connection)

    def _connection(self, session: Session) -> Connection:
        """Return the Connection to change; a new one if its password has to go, as Airflow removes none."""
        present = find_connection(self.spec.id, session)
        if present is None:
            return Connection(conn_id=self.spec.id)
        if self.after.password or not present.password:
            return present
        session.delete(present)
        session.flush()
        return Connection(conn_id=self.spec.id, description=present.description)


@dataclass(frozen=True, slots=True)
class VariableChange:
    """A Variable that is created or changed; ``before`` is None if there is none yet."""

    name: str
    description: str
    before: str | None
    after: str

    @property
    def status(self) -> str:
        """Return ``new``, ``same`` or ``changes``."""
        return _status(self.before, self.after)

    def __str__(self) -> str:
        return f"Variable {self.name}: {self.after or '(empty)'}"

    def write(self, session: Session) -> None:
        """Create or change the Variable."""
        Variable.set(self.name, self.after, description=self.description, session=session)


@dataclass(frozen=True, slots=True)
class PoolCreation:
    """The pool of the shards, which never run without it. An existing pool stays as it is."""

    name: str

    @property
    def status(self) -> str:
        """Return ``new``."""
        return "new"

    def __str__(self) -> str:
        return f"Pool {self.name}: {settings.POOL_SLOTS} slots"

    def write(self, session: Session) -> None:
        """Create the pool."""
        Pool.create_or_update_pool(
            self.name,
            settings.POOL_SLOTS,
            settings.POOL_DESCRIPTION,
            include_deferred=False,
            session=session,
        )


Change = ConnectionChange | VariableChange | PoolCreation


def find_changes(env: Mapping[str, str], session: Session) -> list[Change]:
    """Compare what the environment variables say with the Connections, Variables and pools that exist.

    :raises ConfigurationError: naming every environment variable with an invalid value.
    """
    finders: tuple[Callable[[Mapping[str, str], Session], Change | None], ...] = (
        *(partial(_connection_change, spec) for spec in settings.CONNECTIONS),
        *(partial(_variable_change, setting) for setting in settings.SETTINGS),
        _pool_creation,
    )
    changes: list[Change] = []
    errors: list[str] = []
    for find in finders:
        try:
            change = find(env, session)
        except ConfigurationError as error:
            errors.append(str(error))
        else:
            changes.extend([change] if change else [])
    if errors:
        raise ConfigurationError("\n".join(errors))
    return changes


def find_connection(conn_id: str, session: Session) -> Connection | None:
    """Return a Connection of Airflow's database, None if it has none with this id."""
    return session.scalar(select(Connection).where(Connection.conn_id == conn_id))


def _connection_change(
    spec: ConnectionSpec, env: Mapping[str, str], session: Session
) -> ConnectionChange | None:
    connection = find_connection(spec.id, session)
    before = Fields.of(connection) if connection else None
    after = updated_fields(spec, before, env)
    return ConnectionChange(spec, before, after) if after else None


def _variable_change(
    setting: Setting[object], env: Mapping[str, str], session: Session
) -> VariableChange | None:
    variable = session.scalar(select(Variable).where(Variable.key == setting.name))
    before = str(variable.val) if variable else None
    after = updated_text(setting, before, env)
    return None if after is None else VariableChange(setting.name, setting.description, before, after)


def _pool_creation(_: Mapping[str, str], session: Session) -> PoolCreation | None:
    name = shard_pool()
    return None if Pool.get_pool(name, session=session) else PoolCreation(name)


def _status(before: object, after: object) -> str:
    return "new" if before is None else "same" if before == after else "changes"


def _masked(extra: Mapping[str, object]) -> str:
    return json.dumps({name: MASK if _SECRET_OPTION.search(name) else value for name, value in extra.items()})
