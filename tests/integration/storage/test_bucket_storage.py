"""The removal of a dataset's files from a bucket of a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from dev.local_stack.ports import free_port
from dev.local_stack.s3_server import S3Server
from include.errors import ConfigurationError, DatasetError, ServiceError
from include.storage.asset_storage import dataset_folder
from include.storage.bucket_storage import BucketStorage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "files"


@pytest.fixture
def s3(s3_server: S3Server) -> Iterator[S3Client]:
    """A client of the server, with an empty bucket."""
    client = s3_server.client()
    client.create_bucket(Bucket=BUCKET)
    yield client
    while found := keys(client):
        client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in found[:1000]]})
    client.delete_bucket(Bucket=BUCKET)


def put(client: S3Client, *names: str) -> None:
    for name in names:
        client.put_object(Bucket=BUCKET, Key=name, Body=b"a row")


def keys(client: S3Client) -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


@pytest.mark.parametrize("prefix", ["assets", "some/where/assets", ""])
@pytest.mark.parametrize(
    ("dataset", "others"),
    [
        ("squad", ["squad/other", "squad2", "user/squad"]),
        ("squad/other", ["squad", "squad/other2", "squad/othe"]),
        ("user/data", ["user/data2", "user/dat", "user", "data"]),
        ("user/é b", ["user/é", "user/e b"]),
    ],
)
def test_only_the_files_of_the_dataset_are_removed(
    s3: S3Client, prefix: str, dataset: str, others: list[str]
) -> None:
    root = f"{prefix}/" if prefix else ""
    kept = [f"{root}{dataset_folder(other)}/revision/--/config/train/0/image/image.jpg" for other in others]
    kept += [f"elsewhere/{dataset_folder(dataset)}/revision/--/x", f"{root}{dataset_folder(dataset)}x"]
    put(s3, *kept)
    put(s3, *(f"{root}{dataset_folder(dataset)}/{revision}/--/x" for revision in ("one", "two")))
    storage = BucketStorage(lambda: s3, BUCKET, prefix)

    assert storage.remove(dataset) is True

    assert sorted(keys(s3)) == sorted(kept)
    assert storage.remove(dataset) is False


def test_more_files_than_s3_lists_at_a_time_are_removed(s3: S3Client) -> None:
    put(s3, *(f"assets/squad/--/revision/--/{number:04}" for number in range(1_005)))
    put(s3, "assets/squad2/--/revision/--/a")

    assert BucketStorage(lambda: s3, BUCKET, "assets").remove("squad") is True

    assert keys(s3) == ["assets/squad2/--/revision/--/a"]


@pytest.mark.parametrize("dataset", ["", "..", "user/..", "/", "--", "user/--", "user//data"])
def test_a_dataset_with_an_unsafe_name_is_refused_and_nothing_is_removed(s3: S3Client, dataset: str) -> None:
    files = ["assets/--/a", "assets/user/--/a", "assets/user/data/--/a"]
    put(s3, *files)

    with pytest.raises(DatasetError, match="not safe"):
        BucketStorage(lambda: s3, BUCKET, "assets").remove(dataset)

    assert sorted(keys(s3)) == sorted(files)


def test_a_bucket_that_does_not_exist_is_a_configuration_error(s3: S3Client) -> None:
    with pytest.raises(ConfigurationError) as refused:
        BucketStorage(lambda: s3, "missing", "assets").remove("squad")

    assert str(refused.value).startswith("S3 refuses to remove s3://missing/assets/squad/--/: ")
    assert str(refused.value).endswith(". Check the connection and the bucket.")


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
        BucketStorage(lambda: nowhere, BUCKET, "assets").remove("squad")

    assert str(failed.value).startswith("S3 cannot be reached to remove s3://files/assets/squad/--/: ")
    assert "secret-of-ours" not in str(failed.value)
