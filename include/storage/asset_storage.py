"""The storages of the files that dataset pages show: the only place that knows folders and S3.

A storage holds the files of a dataset at ``<root>/<dataset, each part URL-quoted>/--/<revision>/...``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from include.errors import ConfigurationError, DatasetError, ServiceError
from include.rights import Rights, folder_rights

_UNSAFE_PARTS = frozenset({"", ".", "..", "--"})
_PROBE = ".maintenance-probe"
_REFUSALS = frozenset({"AccessDenied", "403"})
_CONFIGURATION_ERRORS = frozenset(
    {"AccessDenied", "403", "InvalidAccessKeyId", "NoSuchBucket", "SignatureDoesNotMatch"}
)


def dataset_folder(dataset: str) -> str:
    """Give the folder of a dataset's files, relative to the root of a storage.

    It ends in ``--``, because below ``squad`` there may also be the files of a dataset ``squad/other``.

    :raises DatasetError: if the name could lead out of the storage, or into the files of another dataset.
    """
    parts = dataset.split("/")
    if _UNSAFE_PARTS.intersection(parts) or "\0" in dataset:
        raise DatasetError(f"the name {dataset!r} is not safe as a folder of a storage")
    return "/".join([*(quote(part, safe="") for part in parts), "--"])


class AssetStorage(Protocol):
    """Where the files of datasets lie."""

    def remove(self, dataset: str) -> bool:
        """Remove the files of a dataset.

        :return: whether there were any.
        :raises DatasetError: if its name is not safe, or not all files could be removed.
        :raises ServiceError: if the storage cannot be reached.
        :raises ConfigurationError: if the storage refuses the access.
        """

    def rights(self) -> Rights:
        """Try to list files and to remove one that does not exist.

        :raises ServiceError: if the storage cannot be reached.
        :raises ConfigurationError: if there is no such folder or bucket, or it refuses the credentials.
        """


@dataclass(frozen=True, slots=True)
class FolderStorage:
    """A storage in a folder that the workers have mounted."""

    root: Path

    def remove(self, dataset: str) -> bool:
        """Remove the files of a dataset, as in :class:`AssetStorage`."""
        folder = self.root / dataset_folder(dataset)
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise DatasetError(f"its files could not be removed: {error}") from error
        return True

    def rights(self) -> Rights:
        """Try the folder, as in :class:`AssetStorage`, with a file that has no name."""
        if not self.root.is_dir():
            raise ConfigurationError(f"There is no folder {self.root}: mount it where the workers run.")
        return folder_rights(self.root)


@dataclass(frozen=True, slots=True)
class BucketStorage:
    """A storage in a bucket of S3, below a prefix (without a slash at its ends; may be empty).

    ``client`` is boto3's client of the service ``s3``.
    """

    client: Any
    bucket: str
    prefix: str

    def remove(self, dataset: str) -> bool:
        """Remove the files of a dataset, as in :class:`AssetStorage`."""
        prefix = f"{self.prefix}/{dataset_folder(dataset)}/".lstrip("/")
        with self._explained_errors(f"remove s3://{self.bucket}/{prefix}"):
            return self._remove_prefix(prefix)

    def rights(self) -> Rights:
        """Try the bucket, as in :class:`AssetStorage`."""
        key = f"{self.prefix}/{_PROBE}".lstrip("/")
        here = (f"s3://{self.bucket}/{self.prefix}",)
        with self._explained_errors(f"try {here[0]}"):
            may_list = _is_allowed(
                lambda: self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)
            )
            may_remove = _is_allowed(lambda: self.client.delete_object(Bucket=self.bucket, Key=key))
        return Rights(() if may_list else here, () if may_remove else here)

    @contextmanager
    def _explained_errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            if _code(error) in _CONFIGURATION_ERRORS:
                raise ConfigurationError(
                    f"S3 refuses to {action}: {error}. Check the connection and the bucket."
                ) from error
            raise ServiceError(f"S3 fails to {action}: {error}") from error
        except BotoCoreError as error:
            raise ServiceError(f"S3 cannot be reached to {action}: {error}") from error

    def _remove_prefix(self, prefix: str) -> bool:
        found = False
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        for page in pages:
            keys = [{"Key": item["Key"]} for item in page.get("Contents", [])]
            if not keys:
                continue
            found = True
            answer = self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": keys, "Quiet": True})
            if errors := answer.get("Errors"):
                raise DatasetError(f"{len(errors)} of its files could not be removed: {errors[0]}")
        return found


def _is_allowed(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except ClientError as error:
        if _code(error) not in _REFUSALS:
            raise
        return False
    return True


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
