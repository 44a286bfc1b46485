"""The Airflow Variables: one table with the name, the default, the meaning and the check of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow.sdk import Variable

from include.errors import ConfigurationError
from include.hub import BlockList
from include.processing_graph import DEFAULT_RELEASE, Release, load_release, release_names

PREFIX = "datasets_server_"


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
        text = str(Variable.get(self.name, default=self.default))
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

SETTINGS = (
    RELEASE,
    BLOCKED_DATASETS,
    ASSETS_PROTOCOL,
    ASSETS_ROOT,
    CACHED_ASSETS_PROTOCOL,
    CACHED_ASSETS_ROOT,
)
