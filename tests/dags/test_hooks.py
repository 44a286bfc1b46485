"""The hooks: from the Connections to the services, with one clear error for each way to fail."""

from __future__ import annotations

import os
import signal
import time
import traceback
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.sdk import Connection, ExceptionRetryPolicy, RetryAction
from pymongo import ReadPreference
from pymongo.read_preferences import SecondaryPreferred

from datasets_server.hooks.assets import AssetsHook
from datasets_server.hooks.databases import CacheHook, QueueHook, explained_mongo_errors
from datasets_server.hooks.hub import HubHook, endpoint
from datasets_server.retries import RETRIES
from datasets_server.services import open_services
from dev.local_stack.mongod import REPLICA_SET, Mongod
from dev.local_stack.ports import free_port
from dev.local_stack.s3_server import ACCESS_KEY_ID, SECRET_ACCESS_KEY, S3Server
from include.databases.former_database import FORMER_DATABASE
from include.errors import ConfigurationError, ServiceError
from include.hub.block_list import BlockList
from include.planning.processing_graph import Release, load_release, release_names
from include.rights import Rights
from include.storage.bucket_storage import BucketStorage
from include.storage.folder_storage import FolderStorage
from tests.conftest import Databases
from tests.dags.conftest import set_connection, set_variable

PASSWORD = "a-very-secret-password"


def decision(error: Exception) -> RetryAction:
    policy: ExceptionRetryPolicy = RETRIES["retry_policy"]
    return policy.evaluate(error, 1, 5).action


def test_the_schema_of_the_connection_is_the_database(connections: None, databases: Databases) -> None:
    databases.cache.cachedResponsesBlue.insert_one({"dataset": "squad"})

    with CacheHook() as cache, QueueHook() as queue:
        assert list(cache.store().dataset_names()) == ["squad"]
        assert queue.database().name == databases.queue.name


@pytest.mark.parametrize("release", map(load_release, release_names()), ids=lambda release: release.name)
def test_without_a_schema_the_database_is_that_of_the_release(
    connections: None, mongod: Mongod, monkeypatch: pytest.MonkeyPatch, release: Release
) -> None:
    set_variable(monkeypatch, "datasets_server_release", release.name)
    for conn_id in ("datasets_server_cache", "datasets_server_queue"):
        extra = {"directConnection": True}
        set_connection(
            monkeypatch, conn_id, conn_type="mongo", host=mongod.host, port=mongod.port, extra=extra
        )

    with CacheHook() as cache, QueueHook() as queue:
        assert cache.database().name == release.cache_database
        assert queue.database().name == release.queue_database


def test_with_a_schema_the_release_does_not_matter(
    connections: None, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variable(monkeypatch, "datasets_server_release", "not a release")

    with CacheHook() as cache:
        assert cache.database().name == databases.cache.name


def test_the_read_preference_of_a_connection_is_for_candidates_and_counts_alone(
    sample: None, mongod: Mongod, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    for spec, database in (("cache", databases.cache), ("queue", databases.queue)):
        options = {"readPreference": "secondaryPreferred", "readPreferenceTags": ["dc:a", ""]}
        set_connection(
            monkeypatch,
            f"datasets_server_{spec}",
            conn_type="mongo",
            host=mongod.host,
            port=mongod.port,
            schema=database.name,
            extra={**options, "maxStalenessSeconds": 120, "replicaSet": REPLICA_SET},
        )

    with open_services() as services, CacheHook() as cache:
        assert cache.read_preference == SecondaryPreferred([{"dc": "a"}, {}], 120)
        assert cache.database().read_preference == ReadPreference.PRIMARY
        assert services.queue.remove(list(services.cache.dataset_names())) > 0  # in a transaction


def test_a_read_preference_that_does_not_exist_is_an_error(
    connections: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"readPreference": "nobody"}
    set_connection(monkeypatch, "datasets_server_cache", conn_type="mongo", host="127.0.0.1", extra=extra)

    with pytest.raises(ConfigurationError, match=r"datasets_server_cache cannot be used: .*nobody"):
        CacheHook()


def test_what_an_earlier_version_recorded_is_moved_when_the_databases_are_opened(
    connections: None, databases: Databases
) -> None:
    client = databases.queue.client
    client[FORMER_DATABASE]["unfinishedRebuilds"].insert_one({"_id": "user/data", "dataset": "user/data"})
    try:
        with open_services() as services:
            assert list(services.maintenance.unfinished_rebuilds()) == ["user/data"]
    finally:
        client.drop_database(FORMER_DATABASE)


def test_a_missing_connection_fails_at_once(airflow_database: None) -> None:
    with pytest.raises(
        ConfigurationError, match="no Connection datasets_server_cache: create it, with the type mongo"
    ) as e:
        CacheHook()

    assert decision(e.value) is RetryAction.FAIL


def test_a_connection_of_another_type_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(monkeypatch, "datasets_server_queue", conn_type="http", host="127.0.0.1")

    with pytest.raises(ConfigurationError, match=r"datasets_server_queue cannot be used.*must be 'mongo'"):
        QueueHook()


def test_an_unreachable_database_is_retried_and_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    set_connection(
        monkeypatch,
        "datasets_server_cache",
        conn_type="mongo",
        host="127.0.0.1",
        port=port,
        login="maintainer",
        password=PASSWORD,
        extra={"serverSelectionTimeoutMS": 200},
    )

    with CacheHook() as hook, pytest.raises(ServiceError) as e:
        hook.store()

    assert f"datasets_server_cache (127.0.0.1:{port}) cannot be reached" in str(e.value)
    assert PASSWORD not in str(e.value)
    assert decision(e.value) is not RetryAction.FAIL


def test_a_database_that_fails_during_a_task_is_named(
    connections: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("include.databases.mongo.RETRIED_FOR_SECONDS", 1.0)
    with Mongod(tmp_path / "mongod", cache_gigabytes=0.25) as mongod:
        extra = {"directConnection": True, "serverSelectionTimeoutMS": 200}
        fields = {"conn_type": "mongo", "host": mongod.host, "port": mongod.port, "extra": extra}
        set_connection(monkeypatch, "datasets_server_cache", **fields)
        with pytest.raises(ServiceError, match="datasets_server_cache"):
            read_and_stop(mongod)


def stop(pid: int) -> None:
    """Let a process do nothing any more, and wait until all its threads have stopped."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + 10
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_database_that_hangs_does_not_hold_a_task_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("include.databases.mongo.RETRIED_FOR_SECONDS", 1.0)
    with Mongod(tmp_path / "mongod", cache_gigabytes=0.25) as mongod:
        assert mongod.pid is not None
        extra = {"directConnection": True, "socketTimeoutMS": 500, "serverSelectionTimeoutMS": 500}
        fields = {"conn_type": "mongo", "host": mongod.host, "port": mongod.port, "extra": extra}
        set_connection(monkeypatch, "datasets_server_cache", **fields)
        with CacheHook() as hook:
            store = hook.store()
            stop(mongod.pid)
            try:
                started_at = time.monotonic()
                with pytest.raises(ServiceError, match="timed out"), explained_mongo_errors([hook]):
                    list(store.dataset_names())
                assert time.monotonic() - started_at < 10
            finally:
                os.kill(mongod.pid, signal.SIGCONT)


def test_no_reply_may_take_longer_than_five_minutes_unless_the_connection_says_so(
    connections: None,
) -> None:
    with CacheHook() as cache:
        assert cache.database().client.options.pool_options.socket_timeout == 300


def read_and_stop(mongod: Mongod) -> None:
    with open_services() as services:
        mongod.stop()
        list(services.cache.dataset_names())


@pytest.fixture(scope="module")
def mongod_with_users(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("mongod-with-users")
    with Mongod(folder, cache_gigabytes=0.25, auth=("maintainer", PASSWORD)) as mongod:
        yield mongod


@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
def test_the_user_is_looked_up_in_the_database_admin(
    monkeypatch: pytest.MonkeyPatch, mongod_with_users: Mongod, password: str
) -> None:
    set_connection(
        monkeypatch,
        "datasets_server_cache",
        conn_type="mongo",
        host=mongod_with_users.host,
        port=mongod_with_users.port,
        schema="datasets_server_cache",
        login="maintainer",
        password=password,
        extra={"directConnection": True},
    )

    with CacheHook() as hook:
        if password == PASSWORD:
            assert list(hook.store().dataset_names()) == []
            return
        with pytest.raises(ConfigurationError, match="refuses the user name or the password") as e:
            hook.store()
    assert password not in str(e.value)
    assert decision(e.value) is RetryAction.FAIL


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "https://huggingface.co"),
        ({"host": "https://hub.example.com"}, "https://hub.example.com"),
        ({"host": "https://hub.example.com/"}, "https://hub.example.com"),
        ({"host": "hub.example.com"}, "https://hub.example.com"),
        ({"host": "hub.example.com/", "schema": "http", "port": 8080}, "http://hub.example.com:8080"),
        ({"host": "http://127.0.0.1:5000/"}, "http://127.0.0.1:5000"),
    ],
)
def test_the_endpoint_has_a_scheme_and_no_trailing_slash(fields: dict[str, Any], expected: str) -> None:
    assert endpoint(Connection(conn_id="huggingface_hub", conn_type="generic", **fields)) == expected


def test_an_endpoint_that_is_not_a_url_is_an_error_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(monkeypatch, "huggingface_hub", conn_type="generic", host="ftp://hub", password=PASSWORD)

    with pytest.raises(ConfigurationError, match=r"huggingface_hub has the host 'ftp://hub'") as e:
        HubHook().hub(load_release(), BlockList())
    assert PASSWORD not in str(e.value)


@pytest.mark.parametrize("host", [f"https://me:{PASSWORD}@hub", f"me:{PASSWORD}@hub", "me:a/b@hub"])
def test_an_endpoint_with_credentials_is_refused_without_showing_them(host: str) -> None:
    with pytest.raises(
        ConfigurationError, match="write the host alone, https://hub, and the access token"
    ) as e:
        endpoint(Connection(conn_id="huggingface_hub", conn_type="generic", host=host))
    assert PASSWORD not in str(e.value)


@pytest.mark.parametrize("host", ["hub:12x", "https://[::1"])
def test_an_endpoint_that_cannot_be_parsed_is_explained(host: str) -> None:
    with pytest.raises(ConfigurationError, match="not a valid URL"):
        endpoint(Connection(conn_id="huggingface_hub", conn_type="generic", host=host))


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "127.0.0.1:27x"},
        {"host": "127.0.0.1", "port": 99_999},
        {"host": "127.0.0.1", "schema": "a.b"},
        {"host": "127.0.0.1", "extra": {"appname": 3}},
    ],
)
def test_a_connection_that_the_driver_cannot_use_is_explained(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    set_connection(monkeypatch, "datasets_server_cache", conn_type="mongo", **fields)

    with CacheHook() as hook, pytest.raises(ConfigurationError, match="is not a valid MongoDB URI") as e:
        hook.database()
    assert decision(e.value) is RetryAction.FAIL


@pytest.mark.parametrize(
    "fields",
    [
        {"host": f"me:{PASSWORD}@127.0.0.1"},
        {"host": f"me:{PASSWORD}@127.0.0.1", "login": "me", "password": "other"},
        {"host": f"me:a/{PASSWORD}@127.0.0.1"},
        {"host": f"mongodb://me:{PASSWORD}@127.0.0.1"},
    ],
)
def test_credentials_in_a_host_are_not_shown(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> None:
    extra = {"serverSelectionTimeoutMS": 200}
    set_connection(monkeypatch, "datasets_server_cache", conn_type="mongo", port=1, extra=extra, **fields)

    with (
        CacheHook() as hook,
        pytest.raises((ConfigurationError, ServiceError), match=r"127\.0\.0\.1:1\)") as e,
    ):
        hook.database()
    assert PASSWORD not in "".join(traceback.format_exception(e.value))


def test_the_storages_are_those_of_the_variables(connections: None, tmp_path: Path) -> None:
    assets, cached_assets = AssetsHook().storages()

    assert assets == FolderStorage(tmp_path / "assets")
    assert isinstance(cached_assets, BucketStorage)
    assert (cached_assets.bucket, cached_assets.prefix) == ("dataset-assets", "cached-assets")


def test_a_connection_to_s3_without_keys_takes_those_of_the_process(
    connections: None, monkeypatch: pytest.MonkeyPatch, s3_server: S3Server
) -> None:
    s3_server.create_bucket("dataset-assets")
    extra = {"endpoint_url": s3_server.endpoint_url, "region_name": "us-east-1"}
    set_connection(monkeypatch, "datasets_server_s3", conn_type="aws", extra=extra)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)

    _, cached_assets = AssetsHook().storages()

    assert cached_assets.rights() == Rights()
