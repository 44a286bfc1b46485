"""Reading a Connection, with an error that says what to do if it is missing."""

from __future__ import annotations

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from include.errors import ConfigurationError


def required_connection(conn_id: str, conn_type: str) -> Connection:
    """Return a Connection.

    :param conn_type: the type that it should have, for the error.
    :raises ConfigurationError: if there is no Connection with this id.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"There is no Connection {conn_id}: create it, with the type {conn_type},"
            " in Airflow's UI under Admin."
        ) from error
