"""The check of the configuration: one line for each Connection, storage, directory and Variable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from airflow.sdk import Variable

from datasets_server import settings
from datasets_server.cleanable import cleanable_roots, protected_folders
from datasets_server.hooks.assets import ArchiveHook, AssetsHook
from datasets_server.hooks.connections import optional_connection
from datasets_server.hooks.databases import CacheHook, DatabaseHook, QueueHook, explained_mongo_errors
from datasets_server.hooks.hub import HubHook
from datasets_server.hooks.hub_bot import HubBotHook
from datasets_server.options import scheduling_release
from datasets_server.settings import ConnectionSpec, Setting
from include.actions.clean_directory.protection import check_allowed
from include.actions.clean_directory.rule import DirectoryCleaning
from include.databases import cache_store, maintenance_store, owed_counts, queue_store
from include.databases.mongo import MAINTENANCE_DATABASE, rights
from include.errors import ConfigurationError
from include.hub.block_list import BlockList
from include.planning.processing_graph import Release, load_release
from include.rights import Rights, folder_rights
from include.storage.archive_storage import ArchiveStorage
from include.storage.asset_storage import AssetStorage
from include.storage.bucket_archive import BucketArchive
from include.storage.bucket_storage import BucketStorage
from include.storage.folder_archive import FolderArchive
from include.storage.folder_storage import FolderStorage


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; ``fix`` says what to do, None if there is nothing to fix."""

    subject: str
    facts: str
    fix: str | None = None

    def __str__(self) -> str:
        if self.fix is None:
            return f"ok   {self.subject}: {self.facts}"
        return f"FIX  {self.subject}: {self.facts}. {self.fix}"


def check_all() -> Iterator[Finding]:
    """Check every Connection, the storages, the directories to clean, and every Variable."""
    yield from _check_databases()
    yield _finding(_connection(settings.HUB), _check_hub)
    yield _finding(_connection(settings.HUB_BOT), _check_bot)
    yield from _check_storages()
    yield from _check_cleanings()
    yield _finding(_connection(settings.NOTICES), _check_notices)
    for setting in settings.SETTINGS:
        yield _finding(f"Variable {setting.name}", partial(_check_setting, setting))


#: The facts and the fix of a finding.
Facts = tuple[str, str | None]


def _finding(subject: str, check: Callable[[], Facts]) -> Finding:
    try:
        facts, fix = check()
    except ConfigurationError as error:
        return Finding(subject, "cannot be used", _one_line(error))
    except Exception as error:  # noqa: BLE001 - an error of one check must not hide the others
        return Finding(subject, "not reachable", _one_line(error))
    return Finding(subject, facts, fix)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _connection(spec: ConnectionSpec) -> str:
    return f"Connection {spec.id}"


# Databases


def _check_databases() -> Iterator[Finding]:
    """Check the two databases of datasets-server, and the database of maintenance beside each."""
    owed = owed_counts.COLLECTIONS
    records = owed | maintenance_store.COLLECTIONS
    for spec, open_hook, collections, own_collections in (
        (settings.CACHE, CacheHook, cache_store.COLLECTIONS, owed),
        (settings.QUEUE, QueueHook, queue_store.COLLECTIONS, records),
    ):
        subject = _connection(spec)
        yield _finding(subject, partial(_check_database, open_hook, None, collections))
        yield _finding(
            f"{subject}, database {MAINTENANCE_DATABASE}",
            partial(_check_database, open_hook, MAINTENANCE_DATABASE, own_collections),
        )


def _check_database(
    open_hook: Callable[[], DatabaseHook], name: str | None, collections: Mapping[str, Sequence[str]]
) -> Facts:
    with open_hook() as hook:
        database = hook.database(name)
        with explained_mongo_errors([hook]):
            found = rights(database, collections)
    return _rights(
        found,
        f"Grant its user the role readWrite on the database {database.name}, or those in docs/security.md.",
    )


def _rights(found: Rights, fix: str) -> Facts:
    read = f"may not read {', '.join(found.unreadable)}" if found.unreadable else "may read"
    write = f"may not write {', '.join(found.unwritable)}" if found.unwritable else "may write"
    refused = found.unreadable or found.unwritable
    return f"reachable, {read}, {write}", fix if refused else None


# The Hub


def _check_hub() -> Facts:
    hub = HubHook().hub(load_release(), BlockList())
    hub.check_token()
    next(hub.listing())
    if not hub.has_token:
        return (
            "reachable, may read public datasets (without a token, a dataset that is not found is an error)",
            None,
        )
    return "reachable, the token is valid, may read (it need not write)", None


def _check_bot() -> Facts:
    if optional_connection(settings.HUB_BOT.id) is None:
        return f"missing, but required only by {settings.HUB_BOT.needed_for}", None
    HubBotHook().bot()
    return "reachable, the token is the bot's, may read, may write as far as the Hub reports", None


# Storages


def _check_storages() -> Iterator[Finding]:
    try:
        assets, cached_assets = AssetsHook().storages()
        archives = ArchiveHook().storage()
    except ConfigurationError as error:
        yield Finding(_connection(settings.S3), "the storages cannot be opened", _one_line(error))
        return
    storages = {"assets": assets, "cached assets": cached_assets, "archives": archives}
    for files, storage in storages.items():
        if storage is None:
            yield Finding("Archives", "switched off: nothing that is removed can be restored")
        else:
            yield _finding(_place(files, storage), partial(_check_storage, storage))
    if not any(isinstance(storage, BucketStorage | BucketArchive) for storage in storages.values()):
        yield Finding(_connection(settings.S3), "not required, because no storage is in S3")


def _place(files: str, storage: AssetStorage | ArchiveStorage) -> str:
    if isinstance(storage, BucketStorage | BucketArchive):
        return f"{_connection(settings.S3)}, {files} at s3://{storage.bucket}/{storage.prefix}"
    if isinstance(storage, FolderStorage | FolderArchive):
        return f"Folder of {files} {storage.root}"
    return f"Folder of {files}"


def _check_storage(storage: AssetStorage | ArchiveStorage) -> Facts:
    return _rights(storage.rights(), "Allow the workers to list, write and delete files there.")


# Directories to clean


def _check_cleanings() -> Iterator[Finding]:
    try:
        cleanings = settings.DIRECTORY_CLEANING.read()
    except ConfigurationError:
        return  # the line of the Variable reports it
    for cleaning in cleanings:
        subject = f"Directory to clean {cleaning.directory} ({cleaning.name})"
        yield _finding(subject, partial(_check_cleaning, cleaning))


def _check_cleaning(cleaning: DirectoryCleaning) -> Facts:
    directory = Path(cleaning.real_directory())
    check_allowed(str(directory), cleanable_roots(), protected_folders())
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    facts, fix = _rights(
        folder_rights(existing),
        f"{existing} must be a folder on the workers that they may read and write.",
    )
    if existing != directory:
        facts = f"does not exist yet, will be created in {existing}: {facts}"
    return facts, fix


# Notices


def _check_notices() -> Facts:
    if optional_connection(settings.NOTICES.id) is None:
        return f"missing, but required only by {settings.NOTICES.needed_for}", None
    # Imported here, because it takes seconds, and is only needed if there is such a Connection.
    from datasets_server.hooks.notices import NoticesHook

    services = NoticesHook().services()
    return f"valid URLs ({', '.join(services)}), not tried, because that would send a notice", None


# Variables


def _check_setting(setting: Setting[object]) -> Facts:
    text = Variable.get(setting.name, default=None)
    value = setting.read()
    note = _note_on_schedules(value) if isinstance(value, Release) else ""
    if text is None:
        return f"valid, not set (default: {setting.default or 'empty'}){note}", None
    return f"valid, set to {' '.join(str(text).split())}{note}", None


def _note_on_schedules(release: Release) -> str:
    scheduling = scheduling_release()
    if scheduling == release:
        return ""
    return f"; the schedules are those of {scheduling.name} (option schedules_of_release)"
