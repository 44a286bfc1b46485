"""The storages of assets, of cached assets and of archives, from the Variables that locate them.

What S3 needs is imported only if a storage is there: boto3 takes half a second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from airflow.sdk import BaseHook

from datasets_server import settings
from datasets_server.hooks.connections import required_connection
from include.storage.archive_storage import ArchiveStorage
from include.storage.asset_storage import AssetStorage
from include.storage.folder_archive import FolderArchive
from include.storage.folder_storage import FolderStorage
from include.storage.removed_datasets import RemovedDatasets

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

S3_CONNECTION = settings.S3.id


class AssetsHook(BaseHook):
    """Opens the two storages.

    :param conn_id: a Connection of type aws, required only if a storage is in S3.
    """

    def __init__(self, conn_id: str = S3_CONNECTION) -> None:
        super().__init__()
        self._conn_id = conn_id

    def storages(self) -> list[AssetStorage]:
        """Return the storages of assets and of cached assets, in this order.

        :raises ConfigurationError: if a Variable has an invalid value, or the Connection is missing.
        """
        return [
            self._storage(settings.ASSETS_PROTOCOL.read(), settings.ASSETS_ROOT.read()),
            self._storage(settings.CACHED_ASSETS_PROTOCOL.read(), settings.CACHED_ASSETS_ROOT.read()),
        ]

    def _storage(self, protocol: str, root: str) -> AssetStorage:
        if protocol == "file":
            return FolderStorage(Path(root))
        from include.storage.bucket_storage import BucketStorage

        return BucketStorage(_s3_client(self._conn_id), *_bucket_and_prefix(root))


class ArchiveHook(BaseHook):
    """Opens the archives of removed datasets.

    :param conn_id: a Connection of type aws, required only if the archives are in S3.
    """

    def __init__(self, conn_id: str = S3_CONNECTION) -> None:
        super().__init__()
        self._conn_id = conn_id

    def archives(self) -> RemovedDatasets | None:
        """Return the archives, None if they are switched off.

        :raises ConfigurationError: if a Variable has an invalid value, or the Connection is missing.
        """
        storage = self.storage()
        if storage is None:
            return None
        return RemovedDatasets(storage, settings.ARCHIVE_DAYS.read(), settings.ARCHIVE_MAX_BYTES.read())

    def storage(self) -> ArchiveStorage | None:
        """Return the storage of the archives, None if they are switched off.

        :raises ConfigurationError: if a Variable has an invalid value, or the Connection is missing.
        """
        protocol, root = settings.ARCHIVE_PROTOCOL.read(), settings.ARCHIVE_ROOT.read()
        if protocol == "off":
            return None
        if protocol == "file":
            return FolderArchive(Path(root))
        from include.storage.bucket_archive import BucketArchive

        return BucketArchive(_s3_client(self._conn_id), *_bucket_and_prefix(root))


def _s3_client(conn_id: str) -> Callable[[], S3Client]:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    required_connection(conn_id, conn_type="aws")
    return cast("Callable[[], S3Client]", cache(S3Hook(aws_conn_id=conn_id).get_conn))


def _bucket_and_prefix(root: str) -> tuple[str, str]:
    bucket, _, prefix = root.removeprefix("s3://").strip("/").partition("/")
    return bucket, prefix
