"""The configuration: each Connection and Variable, its meaning, default, check, and what it replaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import Variable

from include.actions.clean_directory.rule import parse_cleanings
from include.errors import ConfigurationError
from include.hub.client import BlockList
from include.planning.processing_graph import DEFAULT_RELEASE, Release, load_release, release_names

PREFIX = "datasets_server_"


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """An Airflow Connection.

    ``replaces`` is the environment variables of the job that came before, each with its default.
    ``needed_for`` says what does not work without it, where the rest does; None if nothing works.
    """

    id: str
    conn_type: str
    description: str
    replaces: Mapping[str, str]
    needed_for: str | None = None


CACHE = ConnectionSpec(
    PREFIX + "cache",
    "mongo",
    "host, port, login, password; schema: the database (`datasets_server_cache`)",
    MappingProxyType(
        {"CACHE_MONGO_URL": "mongodb://localhost:27017", "CACHE_MONGO_DATABASE": "datasets_server_cache"}
    ),
)
QUEUE = ConnectionSpec(
    PREFIX + "queue",
    "mongo",
    "the same (`datasets_server_queue`)",
    MappingProxyType(
        {"QUEUE_MONGO_URL": "mongodb://localhost:27017", "QUEUE_MONGO_DATABASE": "datasets_server_queue"}
    ),
)
HUB = ConnectionSpec(
    "huggingface_hub",
    "generic",
    "host: the endpoint (`https://huggingface.co`; the scheme, a port and a slash at its end are optional);"
    " password: the token",
    MappingProxyType({"COMMON_HF_ENDPOINT": "https://huggingface.co", "COMMON_HF_TOKEN": ""}),
)
HUB_BOT = ConnectionSpec(
    "huggingface_hub_bot",
    "generic",
    "login: the user name of the bot that posts messages; password: its token",
    MappingProxyType({"DISCUSSIONS_BOT_ASSOCIATED_USER_NAME": "", "DISCUSSIONS_BOT_TOKEN": ""}),
    needed_for="the DAG post-messages",
)
S3 = ConnectionSpec(
    PREFIX + "s3",
    "aws",
    "login, password, and `region_name` in extra",
    MappingProxyType({"S3_REGION_NAME": "us-east-1", "S3_ACCESS_KEY_ID": "", "S3_SECRET_ACCESS_KEY": ""}),
    needed_for="storages in S3",
)

CONNECTIONS = (CACHE, QUEUE, HUB, HUB_BOT, S3)

#: The environment variables of the job that came before that are in no Connection and no Variable, and why.
REPLACED_OTHERWISE: Mapping[str, str] = MappingProxyType(
    {
        "CACHE_MAINTENANCE_ACTION": "each action is the DAG of its name",
        "LOG_LEVEL": "Airflow's option logging_level in [logging], or AIRFLOW__LOGGING__LOGGING_LEVEL",
    }
)


@dataclass(frozen=True, slots=True)
class Setting:
    """An Airflow Variable.

    ``replaces`` is the environment variable of the job that came before, None where it had none. ``parse``
    turns the text into the value, and raises ConfigurationError or ValueError if it cannot.
    """

    name: str
    default: str
    description: str
    parse: Callable[[str], Any]
    replaces: str | None = None

    def read(self) -> Any:  # noqa: ANN401 - each setting has a type of its own
        """Read the Variable, or its default where there is none.

        :raises ConfigurationError: naming the Variable, what it holds, and what it may hold.
        """
        return self.check(str(Variable.get(self.name, default=self.default)))

    def check(self, text: str) -> Any:  # noqa: ANN401 - each setting has a type of its own
        """Turn the text of the Variable into its value.

        :raises ConfigurationError: as :meth:`read`.
        """
        try:
            return self.parse(text)
        except (ConfigurationError, ValueError) as error:
            raise ConfigurationError(f"The Variable {self.name} holds {text!r}. {error}") from error


def _parse_block_list(text: str) -> BlockList:
    return BlockList.parse(pattern for pattern in text.split(",") if pattern.strip())


def _parse_protocol(text: str) -> str:
    if text not in ("file", "s3"):
        raise ConfigurationError("It may hold file or s3.")
    return text


def _parse_root(text: str) -> str:
    if not text.strip():
        raise ConfigurationError(
            "It may hold a folder (protocol file), or a bucket and a prefix (protocol s3)."
        )
    return text


def _parse_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigurationError("It may hold an address, such as https://example.com/assets.")
    return text


def _parse_revision(text: str) -> str:
    if not text.strip():
        raise ConfigurationError("It may hold a branch, such as refs/convert/parquet.")
    return text.strip()


def _parse_days(text: str) -> timedelta:
    # MongoDB counts the seconds with 31 bits.
    if not text.strip().isdecimal() or not 1 <= int(text) <= 24_000:
        raise ConfigurationError("It may hold a number of days from 1 to 24000.")
    return timedelta(days=int(text))


def _parse_release(text: str) -> Release:
    if text not in release_names():
        raise ConfigurationError(f"It may hold {' or '.join(release_names())}.")
    return load_release(text)


RELEASE = Setting(
    PREFIX + "release",
    DEFAULT_RELEASE,
    "The release of datasets-server whose databases are maintained.",
    _parse_release,
)
BLOCKED_DATASETS = Setting(
    PREFIX + "common_blocked_datasets",
    "",
    "Datasets that are not served, separated by commas: names, or namespace/pattern with wildcards.",
    _parse_block_list,
    replaces="COMMON_BLOCKED_DATASETS",
)
ASSETS_PROTOCOL = Setting(
    PREFIX + "assets_storage_protocol",
    "file",
    "Where assets lie: file, a folder that the workers have mounted, or s3.",
    _parse_protocol,
    replaces="ASSETS_STORAGE_PROTOCOL",
)
ASSETS_ROOT = Setting(
    PREFIX + "assets_storage_root",
    "/storage/assets",
    "The folder, or the bucket and prefix, of the assets.",
    _parse_root,
    replaces="ASSETS_STORAGE_ROOT",
)
CACHED_ASSETS_PROTOCOL = Setting(
    PREFIX + "cached_assets_storage_protocol",
    "file",
    "The same for cached assets.",
    _parse_protocol,
    replaces="CACHED_ASSETS_STORAGE_PROTOCOL",
)
CACHED_ASSETS_ROOT = Setting(
    PREFIX + "cached_assets_storage_root",
    "/storage/cached-assets",
    "The same for cached assets.",
    _parse_root,
    replaces="CACHED_ASSETS_STORAGE_ROOT",
)
ASSETS_BASE_URL = Setting(
    PREFIX + "assets_base_url",
    "http://localhost/assets",
    "Where dataset pages find the assets. Maintenance itself does not read it.",
    _parse_url,
    replaces="ASSETS_BASE_URL",
)
CACHED_ASSETS_BASE_URL = Setting(
    PREFIX + "cached_assets_base_url",
    "http://localhost/cached-assets",
    "The same for cached assets.",
    _parse_url,
    replaces="CACHED_ASSETS_BASE_URL",
)
PARQUET_REVISION = Setting(
    PREFIX + "discussions_parquet_revision",
    "refs/convert/parquet",
    "The branch of a dataset that holds its Parquet files: the link in the bot's messages.",
    _parse_revision,
    replaces="DISCUSSIONS_PARQUET_REVISION",
)
METRICS_HISTORY_DAYS = Setting(
    PREFIX + "metrics_history_days",
    "90",
    "For how many days the history of the collected metrics is kept.",
    _parse_days,
)
#: It replaces three environment variables, of one directory: ``DIRECTORY_CLEANING_KEYS`` of the import.
DIRECTORY_CLEANING = Setting(
    PREFIX + "directory_cleaning",
    "[]",
    "The directories to clean: a JSON list of objects with name, directory, pattern (*/datasets/*),"
    " expired_time_interval_seconds (10800) and judge_by (path), of which the last three may be left out.",
    parse_cleanings,
)

SETTINGS = (
    RELEASE,
    BLOCKED_DATASETS,
    ASSETS_PROTOCOL,
    ASSETS_ROOT,
    CACHED_ASSETS_PROTOCOL,
    CACHED_ASSETS_ROOT,
    ASSETS_BASE_URL,
    CACHED_ASSETS_BASE_URL,
    PARQUET_REVISION,
    METRICS_HISTORY_DAYS,
    DIRECTORY_CLEANING,
)
