"""Reading a Connection: one that must exist, with an error that says what to do, or one that may."""

from __future__ import annotations

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from include.errors import ConfigurationError


def required_connection(conn_id: str, conn_type: str) -> Connection:
    """Return a Connection.

    :param conn_type: the type that it should have, for the error.
    :raises ConfigurationError: if there is no Connection with this id.
    """
    connection = optional_connection(conn_id)
    if connection is None:
        raise ConfigurationError(
            f"There is no Connection {conn_id}: create it, with the type {conn_type},"
            " in Airflow's UI under Admin. One in an environment variable counts only if it can be read."
        )
    return connection


def optional_connection(conn_id: str) -> Connection | None:
    """Return a Connection, None if there is none with this id."""
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return None
