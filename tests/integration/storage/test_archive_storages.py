"""Both storages of archives: a folder, and a bucket of a real S3 server."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from dev.local_stack.ports import free_port
from dev.local_stack.s3_server import S3Server
from include.errors import ConfigurationError, DatasetError, ServiceError
from include.rights import Rights
from include.storage.archive_storage import ArchiveStorage
from include.storage.bucket_archive import BYTES_PER_PART, BucketArchive
from include.storage.folder_archive import FolderArchive

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "archives"
PATH = "2026-01-31/user/data/--/one.bson.gz"


@pytest.fixture
def s3(s3_server: S3Server) -> Iterator[S3Client]:
    client = s3_server.client()
    client.create_bucket(Bucket=BUCKET)
    yield client
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture(params=["folder", "bucket", "root of a bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, s3: S3Client) -> ArchiveStorage:
    if request.param == "folder":
        return FolderArchive(tmp_path / "archive")
    return BucketArchive(lambda: s3, BUCKET, "some/where" if request.param == "bucket" else "")


def put(storage: ArchiveStorage, path: str, *parts: bytes) -> None:
    with storage.create(path) as target:
        for part in parts:
            assert target.write(part) == len(part)


def put_in_part(storage: ArchiveStorage, size: int) -> None:
    with storage.create(PATH) as target:
        target.write(bytes(size))
        raise RuntimeError("on the way")


def read(storage: ArchiveStorage, path: str) -> bytes:
    with storage.open(path) as source:
        return b"".join(iter(lambda: source.read(1_000_000), b""))


def paths(storage: ArchiveStorage) -> list[str]:
    return sorted(file.path for folder in storage.folders() for file in storage.files(folder))


@pytest.mark.parametrize("size", [0, 1, BYTES_PER_PART, 2 * BYTES_PER_PART + 5])
def test_a_file_is_read_as_it_was_written(storage: ArchiveStorage, size: int) -> None:
    data = os.urandom(size)

    put(storage, PATH, data[:1000], data[1000:])

    assert read(storage, PATH) == data
    [file] = storage.files("2026-01-31")
    assert (file.path, file.size) == (PATH, size)


@pytest.mark.parametrize("size", [10, BYTES_PER_PART + 10])
def test_a_file_that_is_not_written_to_its_end_is_not_there(storage: ArchiveStorage, size: int) -> None:
    with pytest.raises(RuntimeError, match="on the way"):
        put_in_part(storage, size)

    assert paths(storage) == []
    with pytest.raises(DatasetError, match="does not exist"):
        read(storage, PATH)


def test_a_failed_upload_leaves_no_parts(s3: S3Client) -> None:
    with pytest.raises(RuntimeError, match="on the way"):
        put_in_part(BucketArchive(lambda: s3, BUCKET, ""), BYTES_PER_PART)

    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


def test_nothing_is_in_a_new_storage(storage: ArchiveStorage) -> None:
    assert storage.folders() == []
    assert list(storage.files("2026-01-31")) == []


def test_a_folder_is_removed_with_all_below_it_and_nothing_else(storage: ArchiveStorage) -> None:
    put(storage, "2026-01-30/user/data/--/a", b"a")
    put(storage, "2026-01-30/user/data/--/b", b"b")
    put(storage, "2026-01-30x/c", b"c")
    put(storage, "2026-01-31/user/data/--/d", b"d")

    storage.remove("2026-01-30")
    storage.remove("2026-01-30")

    assert paths(storage) == ["2026-01-30x/c", "2026-01-31/user/data/--/d"]


def test_a_storage_that_can_be_used_lacks_no_right_and_trying_leaves_nothing(
    storage: ArchiveStorage,
) -> None:
    assert storage.rights() == Rights()
    assert paths(storage) == []


# A folder


def test_a_file_is_for_its_user_alone(tmp_path: Path) -> None:
    put(FolderArchive(tmp_path / "archive"), PATH, b"rows of a private dataset")

    assert stat.S_IMODE((tmp_path / "archive" / PATH).stat().st_mode) == 0o600


@pytest.mark.parametrize("use", [put, read, lambda storage, _: storage.folders()])
def test_a_folder_that_is_not_mounted_is_a_configuration_error_and_is_not_created(
    tmp_path: Path, use: Callable[[ArchiveStorage, str], object]
) -> None:
    storage = FolderArchive(tmp_path / "storage" / "archive")

    if use is read:
        with pytest.raises(DatasetError, match="does not exist"):
            read(storage, PATH)
    else:
        with pytest.raises(ConfigurationError, match=f"Mount {tmp_path}/storage where the workers run"):
            use(storage, PATH)

    assert not (tmp_path / "storage").exists()
    with pytest.raises(ConfigurationError, match=f"There is no folder {tmp_path}/storage"):
        storage.rights()


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_an_error_of_the_dataset_and_leaves_nothing(tmp_path: Path) -> None:
    storage = FolderArchive(tmp_path / "archive")

    with files_limited_to(100_000), pytest.raises(DatasetError, match="File too large"):
        put(storage, PATH, bytes(90_000), bytes(90_000))

    assert paths(storage) == []


def test_a_name_that_is_too_long_for_the_file_system_is_an_error_of_the_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="File name too long"):
        put(FolderArchive(tmp_path / "archive"), f"2026-01-31/{'x' * 300}/--/one.bson.gz", b"")


# A bucket


def test_a_bucket_that_does_not_exist_is_a_configuration_error(s3: S3Client) -> None:
    with pytest.raises(ConfigurationError, match=f"S3 refuses to write s3://missing/archive/{PATH}: "):
        put(BucketArchive(lambda: s3, "missing", "archive"), PATH, b"")


def test_a_server_that_cannot_be_reached_is_a_service_error() -> None:
    nowhere = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{free_port()}",
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="secret-of-ours",
        config=Config(retries={"total_max_attempts": 1}),
    )

    with pytest.raises(ServiceError) as failed:
        put(BucketArchive(lambda: nowhere, BUCKET, "archive"), PATH, bytes(BYTES_PER_PART))

    assert str(failed.value).startswith(f"S3 cannot be reached to write s3://{BUCKET}/archive/{PATH}: ")
    assert "secret-of-ours" not in str(failed.value)
