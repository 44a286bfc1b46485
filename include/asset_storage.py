"""The storages of the files that dataset pages show: the only place that knows folders and S3.

A storage holds the files of a dataset at ``<root>/<dataset, each part URL-quoted>/--/<revision>/...``.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from include.errors import ConfigurationError, DatasetError, ServiceError

_UNSAFE_PARTS = frozenset({"", ".", "..", "--"})
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
        try:
            return self._remove_prefix(prefix)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _CONFIGURATION_ERRORS:
                raise ConfigurationError(
                    f"S3 refuses to remove s3://{self.bucket}/{prefix}: {error}."
                    " Check the connection and the bucket."
                ) from error
            raise ServiceError(f"S3 fails to remove s3://{self.bucket}/{prefix}: {error}") from error
        except BotoCoreError as error:
            raise ServiceError(
                f"S3 cannot be reached to remove s3://{self.bucket}/{prefix}: {error}"
            ) from error

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
