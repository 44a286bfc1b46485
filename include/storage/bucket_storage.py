"""A storage in a bucket of S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from include.errors import ConfigurationError, DatasetError, ServiceError
from include.rights import Rights
from include.storage.asset_storage import dataset_folder

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ErrorTypeDef, ObjectIdentifierTypeDef

#: The name of an object that does not exist; removing it changes nothing.
_PROBE = ".maintenance-probe"
_REFUSALS = frozenset({"AccessDenied", "403"})
_CONFIGURATION_ERRORS = _REFUSALS | {"InvalidAccessKeyId", "NoSuchBucket", "SignatureDoesNotMatch"}


@dataclass(frozen=True, slots=True)
class BucketStorage:
    """A storage in a bucket of S3, below a prefix, which may be empty and has no slash at either end.

    ``client`` returns boto3's client for the service ``s3``. It is called when the storage is used: making a
    client takes a while, and most tasks remove nothing.
    """

    client: Callable[[], S3Client]
    bucket: str
    prefix: str

    def remove(self, dataset: str) -> bool:
        """Remove the files of a dataset, as :meth:`AssetStorage.remove` says."""
        return self.remove_folder(dataset_folder(dataset))

    def remove_folder(self, folder: str) -> bool:
        """Remove all files below a folder, and return whether there were any."""
        prefix = f"{self.prefix}/{folder}/".lstrip("/")
        with explained_s3_errors(f"remove s3://{self.bucket}/{prefix}"):
            return self._remove_prefix(prefix)

    def rights(self) -> Rights:
        """Try the bucket, as :meth:`AssetStorage.rights` says."""
        key = f"{self.prefix}/{_PROBE}".lstrip("/")
        here = (f"s3://{self.bucket}/{self.prefix}",)
        with explained_s3_errors(f"try {here[0]}"):
            may_list = is_allowed(
                lambda: self.client().list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)
            )
            may_remove = is_allowed(lambda: self.client().delete_object(Bucket=self.bucket, Key=key))
        return Rights(() if may_list else here, () if may_remove else here)

    def _remove_prefix(self, prefix: str) -> bool:
        found = False
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        for page in pages:
            keys: list[ObjectIdentifierTypeDef] = [{"Key": item["Key"]} for item in page.get("Contents", [])]
            if not keys:
                continue
            found = True
            answer = self.client().delete_objects(Bucket=self.bucket, Delete={"Objects": keys, "Quiet": True})
            if errors := answer.get("Errors"):
                _raise(errors)
        return found


@contextmanager
def explained_s3_errors(action: str) -> Iterator[None]:
    """Turn an error of S3 into one that says what could not be done.

    :raises ConfigurationError: if the bucket does not exist, or refuses the credentials.
    :raises ServiceError: for any other error.
    """
    try:
        yield
    except ClientError as error:
        if error_code(error) in _CONFIGURATION_ERRORS:
            raise ConfigurationError(
                f"S3 refuses to {action}: {error}. Check the connection and the bucket."
            ) from error
        raise ServiceError(f"S3 fails to {action}: {error}") from error
    except BotoCoreError as error:
        raise ServiceError(f"S3 cannot be reached to {action}: {error}") from error


def _raise(errors: Sequence[ErrorTypeDef]) -> NoReturn:
    """Raise the errors that S3 reports for some keys of a request that it has accepted."""
    if refused := [error for error in errors if error.get("Code") in _REFUSALS]:
        raise ConfigurationError(
            f"S3 refuses to remove {len(refused)} files: {refused[0]}. Allow the user of the Connection the"
            " action s3:DeleteObject."
        )
    raise DatasetError(f"{len(errors)} of its files could not be removed: {errors[0]}")


def is_allowed(attempt: Callable[[], object]) -> bool:
    """Return whether S3 does something, instead of denying access."""
    try:
        attempt()
    except ClientError as error:
        if error_code(error) not in _REFUSALS:
            raise
        return False
    return True


def error_code(error: ClientError) -> str:
    """Return the code of an error, such as ``NoSuchKey``."""
    return str(error.response.get("Error", {}).get("Code", ""))
