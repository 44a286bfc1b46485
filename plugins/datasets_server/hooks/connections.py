"""Getting a Connection, with an error that says what to do where there is none."""

from __future__ import annotations

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from include.errors import ConfigurationError


def required_connection(conn_id: str, conn_type: str) -> Connection:
    """Get a Connection.

    :raises ConfigurationError: if there is none of this id.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"There is no Connection {conn_id}: create it, of type {conn_type}, in Airflow's UI under Admin."
        ) from error
