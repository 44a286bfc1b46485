"""The configuration: every Connection, Variable and pool with its name, meaning, default and check.

Nothing here imports Airflow, so that the local stack and the benchmarks can use the names too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from include.actions.clean_directory.rule import parse_cleanings, parse_roots
from include.errors import ConfigurationError
from include.hub.block_list import BlockList
from include.planning.processing_graph import DEFAULT_RELEASE, Release, load_release, release_names

PREFIX = "datasets_server_"

#: The pool of the shards. Without it, they stay scheduled for ever.
POOL = "datasets_server"
POOL_SLOTS = 4

#: Less than the 24 hours that a run may take.
MAX_APPROVAL_HOURS = 23
POOL_DESCRIPTION = "Limits how many shards of a backfill run at the same time, over all DAGs."

#: The default if the Connection leaves it out.
HUB_ENDPOINT = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """An Airflow Connection.

    ``replaces`` has the environment variables of the CronJob that this replaces, each with its default; an
    empty one leaves the field empty. ``needed_for`` names what requires the Connection; None if it is always
    required.
    """

    id: str
    conn_type: str
    description: str
    replaces: Mapping[str, str]
    needed_for: str | None = None


CACHE = ConnectionSpec(
    PREFIX + "cache",
    "mongo",
    "host, port, login, password; schema: the cache database (default: that of the release)",
    MappingProxyType({"CACHE_MONGO_URL": "mongodb://localhost:27017", "CACHE_MONGO_DATABASE": ""}),
)
QUEUE = ConnectionSpec(
    PREFIX + "queue",
    "mongo",
    "host, port, login, password; schema: the queue database (default: that of the release)",
    MappingProxyType({"QUEUE_MONGO_URL": "mongodb://localhost:27017", "QUEUE_MONGO_DATABASE": ""}),
)
HUB = ConnectionSpec(
    "huggingface_hub",
    "generic",
    f"host: the endpoint (`{HUB_ENDPOINT}`; the scheme, a port and a trailing slash are optional);"
    " password: the access token",
    MappingProxyType({"COMMON_HF_ENDPOINT": HUB_ENDPOINT, "COMMON_HF_TOKEN": ""}),
)
HUB_BOT = ConnectionSpec(
    "huggingface_hub_bot",
    "generic",
    "login: the user name of the bot that posts messages; password: its access token",
    MappingProxyType({"DISCUSSIONS_BOT_ASSOCIATED_USER_NAME": "", "DISCUSSIONS_BOT_TOKEN": ""}),
    needed_for="the DAG post-messages",
)
S3 = ConnectionSpec(
    PREFIX + "s3",
    "aws",
    "login: the access key id; password: the secret access key; `region_name` in extra. Without login and"
    " password, boto3 finds the credentials of the pod or the machine",
    MappingProxyType(
        {
            "S3_REGION_NAME": "us-east-1",
            "S3_ACCESS_KEY_ID": "",
            "S3_SECRET_ACCESS_KEY": "",
            "S3_USE_IRSA": "false",
        }
    ),
    needed_for="storages in S3",
)

NOTICES = ConnectionSpec(
    PREFIX + "notices",
    "apprise",
    'config: the services that receive notices, as a JSON list, such as `[{"path": "json://example.com/hook"}]`',
    MappingProxyType({}),
    needed_for="notices to operators",
)

CONNECTIONS = (CACHE, QUEUE, HUB, HUB_BOT, S3, NOTICES)


class NoticeKind(StrEnum):
    """What operators receive notices about."""

    FAILED = "failed"
    APPROVAL = "approval"
    REMOVALS = "removals"
    WAITING = "waiting"
    OVERDUE = "overdue"


#: The environment variables of the CronJob that neither a Connection nor a Variable replaces, and what does.
REPLACED_OTHERWISE: Mapping[str, str] = MappingProxyType(
    {
        "CACHE_MAINTENANCE_ACTION": "each action is the DAG of that name",
        "LOG_LEVEL": "Airflow's option logging_level in [logging], or AIRFLOW__LOGGING__LOGGING_LEVEL",
    }
)

Value = TypeVar("Value", covariant=True)


@dataclass(frozen=True, slots=True)
class Setting(Generic[Value]):
    """An Airflow Variable.

    ``parse`` turns its text into its value, and raises ConfigurationError or ValueError if it cannot.
    ``replaces`` has the environment variables of the CronJob that this replaces, if it had any.
    """

    name: str
    default: str
    description: str
    parse: Callable[[str], Value]
    replaces: tuple[str, ...] = ()

    def read(self) -> Value:
        """Return the value of the Variable, or its default if it is not set.

        :raises ConfigurationError: naming the Variable, its text, and the valid texts.
        """
        from airflow.sdk import Variable  # here, because the names are also used without Airflow

        return self.check(str(Variable.get(self.name, default=self.default)))

    def check(self, text: str) -> Value:
        """Return the value of a text of the Variable.

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


def _parse_archive_protocol(text: str) -> str:
    if text not in ("file", "s3", "off"):
        raise ConfigurationError("It may hold file, s3, or off.")
    return text


def _parse_bytes(text: str) -> int:
    if not text.strip().isdecimal() or int(text) == 0:
        raise ConfigurationError("It may hold a number of bytes, at least 1.")
    return int(text)


def _parse_root(text: str) -> str:
    if not text.strip():
        raise ConfigurationError(
            "It may hold a folder (protocol file), or a bucket and a prefix (protocol s3)."
        )
    return text


def _parse_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigurationError("It may hold a URL, such as https://example.com/assets.")
    return text


def _parse_revision(text: str) -> str:
    if not text.strip():
        raise ConfigurationError("It may hold a branch, such as refs/convert/parquet.")
    return text.strip()


def _parse_days(text: str) -> timedelta:
    # 24,000 days are 65 years; so long ago is still a valid date.
    if not text.strip().isdecimal() or not 1 <= int(text) <= 24_000:
        raise ConfigurationError("It may hold a number of days from 1 to 24000.")
    return timedelta(days=int(text))


def _parse_minutes(text: str) -> timedelta:
    if not text.strip().isdecimal() or not 1 <= int(text) <= 24 * 60:
        raise ConfigurationError("It may hold a number of minutes from 1 to 1440.")
    return timedelta(minutes=int(text))


def _parse_hours(text: str, *, most: int) -> timedelta:
    if not text.strip().isdecimal() or not 1 <= int(text) <= most:
        raise ConfigurationError(f"It may hold a number of hours from 1 to {most}.")
    return timedelta(hours=int(text))


def _parse_optional_number(text: str, *, of: str, empty: str) -> int | None:
    if text.strip() and not text.strip().isdecimal():
        raise ConfigurationError(f"It may hold a number of {of}, or nothing for {empty}.")
    return int(text) if text.strip() else None


def _parse_notice_kinds(text: str) -> frozenset[NoticeKind]:
    try:
        return frozenset(NoticeKind(kind.strip()) for kind in text.split(",") if kind.strip())
    except ValueError as error:
        raise ConfigurationError(f"It may hold some of {', '.join(NoticeKind)}.") from error


def _parse_release(text: str) -> Release:
    if text not in release_names():
        raise ConfigurationError(f"It may hold {' or '.join(release_names())}.")
    return load_release(text)


RELEASE = Setting(
    PREFIX + "release",
    DEFAULT_RELEASE,
    "The release of the datasets-server that is maintained.",
    _parse_release,
)
BLOCKED_DATASETS = Setting(
    PREFIX + "common_blocked_datasets",
    "",
    "The datasets that are never supported, separated by commas: names, or namespace/pattern with wildcards.",
    _parse_block_list,
    replaces=("COMMON_BLOCKED_DATASETS",),
)
ASSETS_PROTOCOL = Setting(
    PREFIX + "assets_storage_protocol",
    "file",
    "Where the assets are stored: file (a folder mounted on the workers) or s3.",
    _parse_protocol,
    replaces=("ASSETS_STORAGE_PROTOCOL",),
)
ASSETS_ROOT = Setting(
    PREFIX + "assets_storage_root",
    "/storage/assets",
    "The folder of the assets, or their bucket and prefix.",
    _parse_root,
    replaces=("ASSETS_STORAGE_ROOT",),
)
CACHED_ASSETS_PROTOCOL = Setting(
    PREFIX + "cached_assets_storage_protocol",
    "file",
    "Where the cached assets are stored: file (a folder mounted on the workers) or s3.",
    _parse_protocol,
    replaces=("CACHED_ASSETS_STORAGE_PROTOCOL",),
)
CACHED_ASSETS_ROOT = Setting(
    PREFIX + "cached_assets_storage_root",
    "/storage/cached-assets",
    "The folder of the cached assets, or their bucket and prefix.",
    _parse_root,
    replaces=("CACHED_ASSETS_STORAGE_ROOT",),
)
ASSETS_BASE_URL = Setting(
    PREFIX + "assets_base_url",
    "http://localhost/assets",
    "The URL at which dataset pages find the assets. Maintenance itself does not use it.",
    _parse_url,
    replaces=("ASSETS_BASE_URL",),
)
CACHED_ASSETS_BASE_URL = Setting(
    PREFIX + "cached_assets_base_url",
    "http://localhost/cached-assets",
    "The URL at which dataset pages find the cached assets. Maintenance itself does not use it.",
    _parse_url,
    replaces=("CACHED_ASSETS_BASE_URL",),
)
PARQUET_REVISION = Setting(
    PREFIX + "discussions_parquet_revision",
    "refs/convert/parquet",
    "The branch with the Parquet files of a dataset, which the bot's messages link to.",
    _parse_revision,
    replaces=("DISCUSSIONS_PARQUET_REVISION",),
)
METRICS_HISTORY_DAYS = Setting(
    PREFIX + "metrics_history_days",
    "90",
    "The number of days for which the history of the collected metrics is kept.",
    _parse_days,
)
MAX_REMOVALS_PER_DAY = Setting(
    PREFIX + "max_removals_per_day",
    "",
    "The maximum number of datasets that all runs together remove or rebuild in 24 hours. Empty: the larger"
    " of 10 and 1 % of the cached datasets.",
    partial(_parse_optional_number, of="datasets", empty="the default"),
)
APPROVAL_TIMEOUT_HOURS = Setting(
    PREFIX + "approval_timeout_hours",
    "12",
    "The number of hours for which a run waits for an approval. Then it removes or deletes nothing.",
    partial(_parse_hours, most=MAX_APPROVAL_HOURS),
)
ARCHIVE_PROTOCOL = Setting(
    PREFIX + "archive_storage_protocol",
    "file",
    "Where the archives of removed datasets are stored: file (a folder mounted on the workers), s3, or off.",
    _parse_archive_protocol,
)
ARCHIVE_ROOT = Setting(
    PREFIX + "archive_storage_root",
    "/storage/removed-datasets",
    "The folder of the archives (created if the folder that it is in exists), or their bucket and prefix.",
    _parse_root,
)
ARCHIVE_DAYS = Setting(
    PREFIX + "archive_days",
    "30",
    "The number of days for which an archive is kept at least.",
    _parse_days,
)
ARCHIVE_MAX_BYTES = Setting(
    PREFIX + "archive_max_bytes",
    "100000000000",
    "The maximum size of all archives together, in bytes. A dataset whose archive would exceed it stays.",
    _parse_bytes,
)
#: The environment variables of the directory that the CronJob cleans, each with its key in the Variable.
DIRECTORY_CLEANING_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "DIRECTORY_CLEANING_CACHE_DIRECTORY": "directory",
        "DIRECTORY_CLEANING_SUBFOLDER_PATTERN": "pattern",
        "DIRECTORY_CLEANING_EXPIRED_TIME_INTERVAL_SECONDS": "expired_time_interval_seconds",
    }
)
DIRECTORY_CLEANING = Setting(
    PREFIX + "directory_cleaning",
    "[]",
    "The directories to clean: a JSON list of objects with name and directory, and optionally pattern"
    " (default */datasets/*), expired_time_interval_seconds (default 10800) and judge_by (default path).",
    parse_cleanings,
    replaces=tuple(DIRECTORY_CLEANING_KEYS),
)
DIRECTORY_CLEANING_ROOTS = Setting(
    PREFIX + "directory_cleaning_roots",
    "[]",
    "The folders that may be cleaned, with all below them: a JSON list of absolute paths. Empty: only the"
    f" directories in `{DIRECTORY_CLEANING.name}`, and what is below them.",
    parse_roots,
)

CLOCK_TOLERANCE = Setting(
    PREFIX + "clock_tolerance_minutes",
    "60",
    "By how many minutes the clocks of the workers and of MongoDB may differ at most.",
    _parse_minutes,
)
READ_EVERYTHING_AFTER = Setting(
    PREFIX + "read_everything_days",
    "7",
    "After how many days without one, a run of backfill reads every dataset, whether it has changed or not.",
    _parse_days,
)

NOTICE_KINDS = Setting(
    PREFIX + "notices",
    ",".join(NoticeKind),
    "The kinds of notices that are sent, separated by commas. Empty: none.",
    _parse_notice_kinds,
)
OVERDUE_HOURS = Setting(
    PREFIX + "notices_overdue_hours",
    "26",
    "The number of hours without a good run of backfill after which the notice `overdue` is sent.",
    partial(_parse_hours, most=720),
)
MAX_DELETED_BYTES = Setting(
    PREFIX + "cleaning_max_deleted_bytes",
    "",
    "The maximum number of bytes that a run of clean-directory deletes without an approval. Empty: no limit.",
    partial(_parse_optional_number, of="bytes", empty="no limit"),
)
MAX_DELETED_PATHS = Setting(
    PREFIX + "cleaning_max_deleted_paths",
    "",
    "The maximum number of files and folders that a run of clean-directory deletes without an approval."
    " Empty: no limit.",
    partial(_parse_optional_number, of="paths", empty="no limit"),
)
SETTINGS: tuple[Setting[object], ...] = (
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
    MAX_REMOVALS_PER_DAY,
    APPROVAL_TIMEOUT_HOURS,
    ARCHIVE_PROTOCOL,
    ARCHIVE_ROOT,
    ARCHIVE_DAYS,
    ARCHIVE_MAX_BYTES,
    DIRECTORY_CLEANING,
    DIRECTORY_CLEANING_ROOTS,
    MAX_DELETED_BYTES,
    MAX_DELETED_PATHS,
    CLOCK_TOLERANCE,
    READ_EVERYTHING_AFTER,
    NOTICE_KINDS,
    OVERDUE_HOURS,
)
