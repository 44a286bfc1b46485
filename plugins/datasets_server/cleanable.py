"""Which directories ``clean-directory`` may clean on this Airflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from airflow.configuration import AIRFLOW_HOME, conf

from datasets_server import settings

_AIRFLOW_FOLDERS = (("core", "dags_folder"), ("core", "plugins_folder"), ("logging", "base_log_folder"))


def cleanable_roots() -> Sequence[str]:
    """Return the folders that may be cleaned, with all below them.

    :raises ConfigurationError: if a Variable is invalid.
    """
    roots = settings.DIRECTORY_CLEANING_ROOTS.read()
    return roots or [cleaning.directory for cleaning in settings.DIRECTORY_CLEANING.read()]


def protected_folders() -> Iterator[str]:
    """Yield the folders that are never cleaned: the storages of assets and archives, and those of Airflow.

    :raises ConfigurationError: if a Variable is invalid.
    """
    for protocol, root in (
        (settings.ASSETS_PROTOCOL, settings.ASSETS_ROOT),
        (settings.CACHED_ASSETS_PROTOCOL, settings.CACHED_ASSETS_ROOT),
        (settings.ARCHIVE_PROTOCOL, settings.ARCHIVE_ROOT),
    ):
        if protocol.read() == "file":
            yield root.read()
    yield AIRFLOW_HOME
    yield from (conf.get(section, option) for section, option in _AIRFLOW_FOLDERS)
