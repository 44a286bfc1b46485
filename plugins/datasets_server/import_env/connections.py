"""The fields of each Connection, from the environment variables that it replaces."""

# ruff: noqa: AIR311 - the Connection of airflow.sdk is for tasks; a command uses Airflow's models.
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from airflow.models import Connection
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_userinfo, split_hosts, split_options

from datasets_server import settings
from datasets_server.hooks.hub import endpoint
from datasets_server.settings import ConnectionSpec
from include.errors import ConfigurationError

#: As the CronJob reads them, in lower case.
_BOOLEANS = dict.fromkeys(("true", "t", "1", "yes", "y", "on"), True) | dict.fromkeys(
    ("false", "f", "0", "no", "n", "off"), False
)
_IS_SRV = {"mongodb": False, "mongodb+srv": True}
_INVALID_URI = (
    "not a valid MongoDB URI: write one such as mongodb://user:password@host:27017/?replicaSet=rs0, and"
    " percent-encode special characters in the user name and the password (@ as %40)"
)


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a Connection."""

    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, connection: Connection) -> Fields:
        """Return the fields of a Connection."""
        return cls(
            connection.host or None,
            connection.port,
            connection.login or None,
            connection.password or None,
            connection.schema or None,
            connection.extra_dejson,
        )


def updated_fields(spec: ConnectionSpec, present: Fields | None, env: Mapping[str, str]) -> Fields | None:
    """Return the present fields, changed by the environment variables.

    :param present: None if there is no such Connection yet.
    :return: None if no environment variable belongs to this Connection.
    :raises ConfigurationError: if one of them has an invalid value.
    """
    given = {name: env[name] or default for name, default in spec.replaces.items() if name in env}
    if not given:
        return None
    update = _UPDATES[spec.id]
    return update(Fields(), {**spec.replaces, **given}) if present is None else update(present, given)


def _update_mongo(prefix: str, present: Fields, given: Mapping[str, str]) -> Fields:
    database = given.get(f"{prefix}_DATABASE", present.schema) or None
    if f"{prefix}_URL" not in given:
        return replace(present, schema=database)
    try:
        parsed = mongo_fields(given[f"{prefix}_URL"])
    except ValueError as error:
        raise ConfigurationError(f"{prefix}_URL is {error}.") from None
    # As for the CronJob, the database in the URI takes precedence.
    return replace(parsed, schema=parsed.schema or database)


def _update_hub(present: Fields, given: Mapping[str, str]) -> Fields:
    fields = present
    if "COMMON_HF_ENDPOINT" in given:
        fields = replace(fields, host=given["COMMON_HF_ENDPOINT"], port=None, schema=None)
        endpoint(Connection(conn_id=settings.HUB.id, host=fields.host))  # checks it
    return replace(fields, password=given.get("COMMON_HF_TOKEN", fields.password) or None)


def _update_bot(present: Fields, given: Mapping[str, str]) -> Fields:
    return replace(
        present,
        login=given.get("DISCUSSIONS_BOT_ASSOCIATED_USER_NAME", present.login) or None,
        password=given.get("DISCUSSIONS_BOT_TOKEN", present.password) or None,
    )


def _update_s3(present: Fields, given: Mapping[str, str]) -> Fields:
    region = {"region_name": given["S3_REGION_NAME"]} if "S3_REGION_NAME" in given else {}
    fields = replace(
        present,
        login=given.get("S3_ACCESS_KEY_ID", present.login) or None,
        password=given.get("S3_SECRET_ACCESS_KEY", present.password) or None,
        extra={**present.extra, **region},
    )
    # Without keys, boto3 finds the credentials of the pod's service account itself.
    return replace(fields, login=None, password=None) if _uses_irsa(given) else fields


def _uses_irsa(given: Mapping[str, str]) -> bool:
    text = given.get("S3_USE_IRSA", "false")
    value = _BOOLEANS.get(text.strip().lower())
    if value is None:
        raise ConfigurationError(f"S3_USE_IRSA is {text!r}: it may be true or false.")
    return value


_UPDATES: Mapping[str, Callable[[Fields, Mapping[str, str]], Fields]] = {
    settings.CACHE.id: partial(_update_mongo, "CACHE_MONGO"),
    settings.QUEUE.id: partial(_update_mongo, "QUEUE_MONGO"),
    settings.HUB.id: _update_hub,
    settings.HUB_BOT.id: _update_bot,
    settings.S3.id: _update_s3,
}


def mongo_fields(uri: str) -> Fields:
    """Return the fields of a Connection to the MongoDB at a URI.

    The host field keeps several hosts with their ports, as ``a:27017,b:27017``. The database becomes the
    schema. With a login, it also becomes the option ``authSource``, unless the URI sets that.

    :raises ValueError: if the URI is not valid; the error does not show it, because it holds a password.
    """
    try:
        parts = urlsplit(uri)
        is_srv = _IS_SRV[parts.scheme]
        userinfo, _, hosts = parts.netloc.rpartition("@")
        login, password = parse_userinfo(userinfo) if userinfo else (None, None)
        nodes = split_hosts(hosts, default_port=None)
        extra = _options(parts.query)
    except (KeyError, ValueError, PyMongoError):
        raise ValueError(_INVALID_URI) from None
    if parts.fragment or (is_srv and (len(nodes) > 1 or nodes[0][1])):
        raise ValueError(_INVALID_URI)
    database = unquote(parts.path.lstrip("/")) or None
    if is_srv:
        extra["srv"] = True
    if login and database:
        extra.setdefault("authSource", database)
    if len(nodes) == 1 and nodes[0][1]:
        host, _, port = hosts.rpartition(":")
        return Fields(host, int(port), login, password, database, extra)
    return Fields(hosts, None, login, password, database, extra)


def _options(query: str) -> dict[str, Any]:
    if query:
        split_options(query, warn=False)  # checks them
    options: dict[str, Any] = {}
    for name, text in parse_qsl(query):
        key = "authSource" if name.lower() == "authsource" else name
        value = {"true": True, "false": False}.get(text, int(text) if text.isdecimal() else text)
        # An option may occur more than once: readPreferenceTags.
        options[key] = [*_as_list(options[key]), value] if key in options else value
    return options


def _as_list(value: Any) -> list[Any]:  # noqa: ANN401 - an option of MongoDB
    return value if isinstance(value, list) else [value]
