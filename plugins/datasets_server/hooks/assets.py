"""The storages of assets and cached assets, from the Variables that locate them."""

from __future__ import annotations

from pathlib import Path

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import BaseHook

from datasets_server import settings
from datasets_server.hooks.connections import required_connection
from include.storage.asset_storage import AssetStorage
from include.storage.bucket_storage import BucketStorage
from include.storage.folder_storage import FolderStorage

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
        required_connection(self._conn_id, conn_type="aws")
        bucket, _, prefix = root.removeprefix("s3://").strip("/").partition("/")
        return BucketStorage(S3Hook(aws_conn_id=self._conn_id).get_conn(), bucket, prefix)
