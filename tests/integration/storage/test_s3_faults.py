"""A removal whose S3 refuses, fails or dies on the way: the next run finishes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import httpx2
import pytest
from botocore.config import Config

from dev.local_stack.hub_server import HubDataset, HubServer
from dev.local_stack.s3_server import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, S3Server
from include.actions.backfill.removal import Remover, UnsupportedRemoval
from include.actions.backfill.removal_limit import RemovalLimit
from include.errors import ConfigurationError, ServiceError
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.planning.processing_graph import DEFAULT_RELEASE, Release
from include.storage.bucket_storage import BucketStorage
from tests.builders import REVISION, insert_up_to_date
from tests.integration.conftest import Stores

BUCKET = "faults"
FILES = ["assets/gone/--/r/one", "assets/gone/--/r/other"]
#: More than S3 lists, or deletes, in one request.
MANY_FILES = [f"assets/gone/--/r/{number:04}" for number in range(1_010)]
NOT_DELETED = (
    b"<DeleteResult><Error><Key>assets/gone/--/r/one</Key><Code>InternalError</Code>"
    b"<Message>We encountered an internal error. Please try again.</Message></Error></DeleteResult>"
)


class Proxy(ThreadingHTTPServer):
    """Passes requests on to S3, or fails those of a method with a status, after some that it spares.

    With the status 0, it hangs up. With the status 200, it says that it could not delete a file.
    """

    def __init__(self, s3_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.s3_url = s3_url
        self.failing: tuple[str, int] | None = None
        self.spared = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        method, status = self.server.failing or ("", 0)
        if method == self.command and self.server.spared:
            self.server.spared -= 1
            method = ""
        if method == self.command and not status:
            self.close_connection = True
            return
        if method == self.command:
            self._answer(status, NOT_DELETED if status == 200 else b"", "application/xml")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        answer = httpx2.request(self.command, self.server.s3_url + self.path, headers=headers, content=body)
        self._answer(answer.status_code, answer.content, answer.headers["Content-Type"])

    def _answer(self, status: int, content: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[Proxy]:
    with Proxy(s3_server.endpoint_url) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


@pytest.fixture
def s3(s3_server: S3Server) -> Any:
    """A bucket with two files of a dataset, reached directly."""
    client = s3_server.client()
    with suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=BUCKET)
    for key in FILES:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"")
    return client


def keys(s3: Any) -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


@pytest.fixture
def removal(stores: Stores, release: Release, shared_hub: HubServer, proxy: Proxy) -> UnsupportedRemoval:
    """A removal of one dataset, which reaches S3 through the proxy."""
    shared_hub.state.put(HubDataset("known", REVISION))
    insert_up_to_date(stores.databases.cache, release, "gone")
    stores.maintenance.add_removal_candidates("run", {"gone": "it is not found on the Hub"})
    client = boto3.client(
        "s3",
        endpoint_url=proxy.url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
        config=Config(retries={"total_max_attempts": 1}),
    )
    remover = Remover(stores.cache, stores.queue, [BucketStorage(lambda: client, BUCKET, "assets")])
    hub = Hub(shared_hub.url, "hf_token", release, BlockList())
    return UnsupportedRemoval(remover, hub, stores.maintenance, RemovalLimit(100), ["known"])


@pytest.mark.parametrize("release_name", [DEFAULT_RELEASE])
@pytest.mark.parametrize(
    ("status", "error"), [(403, ConfigurationError), (503, ServiceError), (0, ServiceError)]
)
@pytest.mark.parametrize("method", ["GET", "POST"], ids=["while listing", "while deleting"])
def test_the_next_run_finishes_a_removal_in_which_s3_failed(
    stores: Stores,
    removal: UnsupportedRemoval,
    proxy: Proxy,
    s3: Any,
    method: str,
    status: int,
    error: type[Exception],
) -> None:
    proxy.failing = (method, status)
    with pytest.raises(error, match=f"remove s3://{BUCKET}/assets/gone/--/"):
        removal.run("run")
    assert keys(s3) == FILES
    assert removal.maintenance.removal_ledger().unfinished().keys() == {"gone"}

    proxy.failing = None
    removal.run("next run")

    assert keys(s3) == []
    assert list(stores.cache.dataset_names()) == []
    assert removal.maintenance.removal_ledger().unfinished() == {}


@pytest.mark.parametrize("release_name", [DEFAULT_RELEASE])
@pytest.mark.parametrize("method", ["GET", "POST"], ids=["while listing", "while deleting"])
def test_the_next_run_deletes_the_other_files_of_a_dataset_half_of_which_are_gone(
    stores: Stores, removal: UnsupportedRemoval, proxy: Proxy, s3: Any, method: str
) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: s3.put_object(Bucket=BUCKET, Key=key, Body=b""), MANY_FILES))
    proxy.failing, proxy.spared = (method, 503), 1

    with pytest.raises(ServiceError, match=f"remove s3://{BUCKET}/assets/gone/--/"):
        removal.run("run")

    left = len(keys(s3))
    assert 0 < left < len(MANY_FILES)
    assert removal.maintenance.removal_ledger().unfinished().keys() == {"gone"}

    proxy.failing = None
    removal.run("next run")

    assert keys(s3) == []
    assert removal.maintenance.removal_ledger().unfinished() == {}


@pytest.mark.parametrize("release_name", [DEFAULT_RELEASE])
def test_the_next_run_deletes_a_file_that_s3_could_not_delete(
    stores: Stores, removal: UnsupportedRemoval, proxy: Proxy, s3: Any
) -> None:
    proxy.failing = ("POST", 200)

    summary = removal.run("run")

    assert (summary.removed, summary.failed) == (0, 1)
    assert "1 of its files could not be removed" in summary.error_sample[0]
    assert removal.maintenance.removal_ledger().unfinished().keys() == {"gone"}

    proxy.failing = None
    removal.run("next run")

    assert keys(s3) == []
    assert removal.maintenance.removal_ledger().unfinished() == {}
