"""What a person should know about an import, apart from its changes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy.orm import Session

from datasets_server import settings
from datasets_server.import_env.changes import Change, ConnectionChange, VariableChange, find_connection


def known_names() -> set[str]:
    """Return the environment variables of the CronJob that this replaces."""
    return {
        *settings.REPLACED_OTHERWISE,
        *(name for spec in settings.CONNECTIONS for name in spec.replaces),
        *(name for setting in settings.SETTINGS for name in setting.replaces),
    }


def notes(env: Mapping[str, str], changes: Sequence[Change], session: Session) -> Iterator[str]:
    """Yield a line for each variable that is not set or has no effect, and for each missing Connection."""
    for name, replacement in settings.REPLACED_OTHERWISE.items():
        if name in env:
            yield f"Not set: {name} ({replacement})."
    if unknown := sorted(env.keys() - known_names()):
        yield f"Unknown, not set: {', '.join(unknown)}."
    for change in changes:
        variable = _overriding_variable(change)
        if variable and variable in os.environ:
            yield f"Hidden: {variable} in the environment of this Airflow takes precedence."
    for spec in settings.CONNECTIONS:
        is_in_file = not env.keys().isdisjoint(spec.replaces)
        if spec.needed_for is None and not is_in_file and find_connection(spec.id, session) is None:
            yield f"Missing: the Connection {spec.id}; the file has neither {' nor '.join(spec.replaces)}."


def _overriding_variable(change: Change) -> str | None:
    match change:
        case ConnectionChange():
            return f"AIRFLOW_CONN_{change.spec.id.upper()}"
        case VariableChange():
            return f"AIRFLOW_VAR_{change.name.upper()}"
    return None
