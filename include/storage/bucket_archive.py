"""Archives in a bucket of S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, cast

from botocore.exceptions import BotoCoreError, ClientError

from include.errors import DatasetError, ServiceError
from include.rights import Rights
from include.storage.archive_storage import StoredFile, Target
from include.storage.bucket_storage import BucketStorage, error_code, explained_s3_errors, is_allowed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

#: A larger file is uploaded in parts of this size, of which S3 takes 10,000.
BYTES_PER_PART = 16 * 2**20

#: The name of a file that is never complete.
_PROBE = ".maintenance-probe"


@dataclass(frozen=True, slots=True)
class BucketArchive:
    """Archives in a bucket of S3, below a prefix, which may be empty and has no slash at either end.

    ``client`` is boto3's client for the service ``s3``. A process that is killed may leave an upload that is
    not complete: S3 removes it by itself if the bucket has the rule ``AbortIncompleteMultipartUpload``.
    """

    client: Callable[[], S3Client]
    bucket: str
    prefix: str

    @contextmanager
    def create(self, path: str) -> Iterator[Target]:
        """Write a file, as :meth:`ArchiveStorage.create` says: S3 shows it once the upload is complete."""
        upload = _Upload(self.client(), self.bucket, self._key(path))
        with explained_s3_errors(f"write s3://{self.bucket}/{self._key(path)}"):
            try:
                yield upload
                upload.complete()
            except BaseException:
                upload.abort()
                raise

    @contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        """Read a file, as :meth:`ArchiveStorage.open` says."""
        place = f"s3://{self.bucket}/{self._key(path)}"
        with explained_s3_errors(f"read {place}"):
            try:
                body = self.client().get_object(Bucket=self.bucket, Key=self._key(path))["Body"]
            except ClientError as error:
                if error_code(error) == "NoSuchKey":
                    raise DatasetError(f"its archive {place} does not exist") from error
                raise
            with body:
                yield cast("IO[bytes]", body)

    def folders(self) -> list[str]:
        """Return the names of the folders, as :meth:`ArchiveStorage.folders` says."""
        root = self._key("")
        with explained_s3_errors(f"list s3://{self.bucket}/{root}"):
            pages = (
                self.client()
                .get_paginator("list_objects_v2")
                .paginate(Bucket=self.bucket, Prefix=root, Delimiter="/")
            )
            found = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", [])]
        return [prefix[len(root) :].rstrip("/") for prefix in found]

    def files(self, folder: str) -> Iterator[StoredFile]:
        """Yield the files, as :meth:`ArchiveStorage.files` says."""
        root = self._key("")
        with explained_s3_errors(f"list s3://{self.bucket}/{root}{folder}"):
            pages = (
                self.client()
                .get_paginator("list_objects_v2")
                .paginate(Bucket=self.bucket, Prefix=f"{root}{folder}/")
            )
            for page in pages:
                for item in page.get("Contents", []):
                    yield StoredFile(item["Key"][len(root) :], item["Size"])

    def remove(self, folder: str) -> None:
        """Remove a folder, as :meth:`ArchiveStorage.remove` says."""
        try:
            BucketStorage(self.client, self.bucket, self.prefix).remove_folder(folder)
        except DatasetError as error:
            raise ServiceError(f"S3 fails to remove the old archives in {folder}: {error}") from error

    def rights(self) -> Rights:
        """Try the bucket, as :meth:`ArchiveStorage.rights` says."""
        found = BucketStorage(self.client, self.bucket, self.prefix).rights()
        here = (f"s3://{self.bucket}/{self.prefix}",)
        with explained_s3_errors(f"try {here[0]}"):
            may_write = is_allowed(self._begin_and_abort_upload)
        return Rights(found.unreadable, found.unwritable or (() if may_write else here))

    def _begin_and_abort_upload(self) -> None:
        key = self._key(_PROBE)
        upload = self.client().create_multipart_upload(Bucket=self.bucket, Key=key)
        self.client().abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload["UploadId"])

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}".lstrip("/")


@dataclass(slots=True)
class _Upload:
    """An upload of a file whose size is not known: in parts, if it is larger than one."""

    client: S3Client
    bucket: str
    key: str
    _buffer: bytearray = field(default_factory=bytearray)
    _id: str | None = None
    _parts: list[CompletedPartTypeDef] = field(default_factory=list)

    def write(self, data: bytes, /) -> int:
        """Add data, and upload each part that is full."""
        self._buffer += data
        while len(self._buffer) >= BYTES_PER_PART:
            self._upload_part(bytes(self._buffer[:BYTES_PER_PART]))
            del self._buffer[:BYTES_PER_PART]
        return len(data)

    def complete(self) -> None:
        """Upload the rest, and let the file exist."""
        if self._id is None:
            self.client.put_object(Bucket=self.bucket, Key=self.key, Body=bytes(self._buffer))
            return
        if self._buffer:
            self._upload_part(bytes(self._buffer))
        self.client.complete_multipart_upload(
            Bucket=self.bucket, Key=self.key, UploadId=self._id, MultipartUpload={"Parts": self._parts}
        )

    def abort(self) -> None:
        """Let S3 forget the parts, after an error that says more than one of this."""
        if self._id is not None:
            with suppress(ClientError, BotoCoreError):
                self.client.abort_multipart_upload(Bucket=self.bucket, Key=self.key, UploadId=self._id)

    def _upload_part(self, data: bytes) -> None:
        if self._id is None:
            self._id = self.client.create_multipart_upload(Bucket=self.bucket, Key=self.key)["UploadId"]
        number = len(self._parts) + 1
        part = self.client.upload_part(
            Bucket=self.bucket, Key=self.key, UploadId=self._id, PartNumber=number, Body=data
        )
        self._parts.append({"ETag": part["ETag"], "PartNumber": number})
