"""The DAG check-connections on real services, and on each way in which one of them may be wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from datasets_server import settings
from datasets_server.checks import Finding, check_all
from dev.local_stack.hub_server import HubServer
from dev.local_stack.mongod import Mongod
from dev.local_stack.ports import free_port
from dev.local_stack.s3_server import S3Server
from include.databases.mongo import MAINTENANCE_DATABASE, rights
from include.errors import ConfigurationError
from include.planning.processing_graph import DEFAULT_RELEASE
from include.rights import Rights
from include.storage.bucket_archive import BucketArchive
from include.storage.bucket_storage import BucketStorage
from include.storage.folder_storage import FolderStorage
from tests.conftest import Databases
from tests.dags.conftest import RunDag, set_connection, set_variable

PASSWORD = "a-very-secret-password"
CACHE = "Connection datasets_server_cache"
QUEUE = "Connection datasets_server_queue"


@pytest.fixture
def places(connections: None, s3_server: S3Server, hub_server: HubServer, tmp_path: Path) -> None:
    """Create what the Connections and Variables name: users, the folder and the bucket of the storages."""
    hub_server.state.tokens = {"hf_token": "somebody", "hf_bot": "parquet-bot"}
    (tmp_path / "assets").mkdir()
    s3_server.create_bucket("dataset-assets")


def findings() -> dict[str, Finding]:
    return {finding.subject: finding for finding in check_all()}


def fixes() -> dict[str, str]:
    return {subject: finding.fix for subject, finding in findings().items() if finding.fix}


def test_with_nothing_to_fix_the_run_succeeds(places: None, run_dag: RunDag) -> None:
    run = run_dag("check-connections")

    assert run.state == "success"
    assert run.report == {"checked": len(findings()), "to_fix": []}


def test_with_something_to_fix_all_checks_run_and_the_run_fails(
    places: None, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection(monkeypatch, "datasets_server_cache", conn_type="http", host="127.0.0.1")
    set_variable(monkeypatch, "datasets_server_release", "2025")

    run = run_dag("check-connections")

    assert run.state == "failed"
    assert run.report["checked"] == len(findings())
    assert [line.split(":")[0] for line in run.report["to_fix"]] == [
        "FIX  Connection datasets_server_cache",
        "FIX  Connection datasets_server_cache, database datasets_server_airflow",
        "FIX  Variable datasets_server_release",
    ]


def test_each_line_has_a_subject_and_facts(airflow_database: None, places: None, tmp_path: Path) -> None:
    lines = [str(finding) for finding in check_all()]

    expected = (
        f"ok   {CACHE}: reachable, may read, may write",
        f"ok   {CACHE}, database datasets_server_airflow: reachable, may read, may write",
        f"ok   {QUEUE}: reachable, may read, may write",
        f"ok   {QUEUE}, database datasets_server_airflow: reachable, may read, may write",
        "ok   Connection huggingface_hub: reachable, the token is valid, may read (it need not write)",
        "ok   Connection huggingface_hub_bot: reachable, the token is the bot's, may read,"
        " may write as far as the Hub reports",
        f"ok   Folder of assets {tmp_path / 'assets'}: reachable, may read, may write",
        "ok   Connection datasets_server_s3, cached assets at s3://dataset-assets/cached-assets:"
        " reachable, may read, may write",
        f"ok   Folder of archives {tmp_path / 'removed-datasets'}: reachable, may read, may write",
        "ok   Connection datasets_server_notices: missing, but required only by notices to operators",
        f"ok   Variable datasets_server_release: valid, not set (default: {DEFAULT_RELEASE})",
    )
    assert [line for line in expected if line not in lines] == []
    assert len(lines) == 10 + len(settings.SETTINGS)


def test_every_missing_connection_that_is_required_is_reported(airflow_database: None) -> None:
    found = fixes()

    for subject in (CACHE, QUEUE, "Connection huggingface_hub"):
        assert "There is no Connection" in found[subject]
    assert "There is no folder /storage/assets" in found["Folder of assets /storage/assets"]
    assert found.keys() & {"Connection huggingface_hub_bot", "Connection datasets_server_s3"} == set()
    facts = {subject: finding.facts for subject, finding in findings().items()}
    assert facts["Connection huggingface_hub_bot"] == "missing, but required only by the DAG post-messages"
    assert facts["Connection datasets_server_s3"] == "not required, because no storage is in S3"


def test_the_checks_leave_no_trace(
    places: None, databases: Databases, s3_server: S3Server, tmp_path: Path
) -> None:
    def everything() -> dict[str, Any]:
        maintenance = databases.cache.client[MAINTENANCE_DATABASE]
        return {
            f"{database.name}.{name}": database[name].count_documents({})
            for database in (databases.cache, databases.queue, maintenance)
            for name in database.list_collection_names()
        } | {
            "files": list((tmp_path / "assets").iterdir()),
            "objects": s3_server.client().list_objects_v2(Bucket="dataset-assets")["KeyCount"],
        }

    before = everything()
    findings()

    assert everything() == before


# MongoDB


@pytest.fixture(scope="module")
def mongod_with_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    folder = tmp_path_factory.mktemp("mongod-with-roles")
    with Mongod(folder, cache_gigabytes=0.25, auth=("root", PASSWORD)) as mongod:
        with MongoClient[dict[str, Any]](mongod.uri) as client:
            for user, role in (("reader", "read"), ("writer", "readWrite")):
                roles = [{"role": role, "db": "cache"}]
                client.admin.command("createUser", user, pwd=PASSWORD, roles=roles)
        yield mongod


@pytest.mark.parametrize(
    ("user", "password", "facts", "fix"),
    [
        ("writer", PASSWORD, "reachable, may read, may write", None),
        (
            "reader",
            PASSWORD,
            "reachable, may read, may not write cachedResponsesBlue, cacheTotalMetric",
            "Grant its user the role readWrite on the database cache, or those in docs/security.md.",
        ),
        ("writer", "wrong-password", "cannot be used", "refuses the user name or the password"),
    ],
)
def test_a_mongodb_user_without_the_right_to_write_is_reported(
    places: None,
    monkeypatch: pytest.MonkeyPatch,
    mongod_with_users: Mongod,
    user: str,
    password: str,
    facts: str,
    fix: str | None,
) -> None:
    set_connection(
        monkeypatch,
        "datasets_server_cache",
        conn_type="mongo",
        host=mongod_with_users.host,
        port=mongod_with_users.port,
        schema="cache",
        login=user,
        password=password,
        extra={"directConnection": True},
    )

    finding = findings()[CACHE]

    assert finding.facts == facts
    assert (finding.fix is None) == (fix is None)
    assert fix is None or fix in str(finding)
    assert password not in str(finding)


def test_a_mongodb_user_without_any_right_can_neither_read_nor_write(mongod_with_users: Mongod) -> None:
    server = mongod_with_users
    with MongoClient[dict[str, Any]](
        server.host, server.port, username="writer", password=PASSWORD, directConnection=True
    ) as client:
        assert rights(client["queue"], {"jobsBlue": ["find", "insert"]}) == Rights(
            ("jobsBlue",), ("jobsBlue",)
        )


def test_a_write_that_a_unique_index_refuses_is_allowed(databases: Databases) -> None:
    collection = databases.cache["unique"]
    collection.create_index("kind", unique=True)
    collection.insert_one({"_id": "without a kind"})

    assert rights(databases.cache, {"unique": ["find", "insert", "update", "remove"]}) == Rights()
    assert collection.count_documents({}) == 1


def test_an_unreachable_mongodb_is_reported(places: None, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    extra = {"serverSelectionTimeoutMS": 200}
    set_connection(
        monkeypatch, "datasets_server_cache", conn_type="mongo", host="127.0.0.1", port=port, extra=extra
    )

    finding = findings()[CACHE]

    assert finding.facts == "not reachable"
    assert f"(127.0.0.1:{port}) cannot be reached" in str(finding.fix)


# The Hub


def test_a_revoked_token_is_reported(places: None, hub_server: HubServer) -> None:
    hub_server.state.tokens = {}

    assert "refuses the token" in fixes()["Connection huggingface_hub"]


def test_a_missing_token_is_allowed_but_mentioned(
    places: None, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection(monkeypatch, "huggingface_hub", conn_type="generic", host=hub_server.url)

    assert "a dataset that is not found is an error" in findings()["Connection huggingface_hub"].facts


@pytest.mark.parametrize(
    ("login", "fix"),
    [("parquet-bot", None), ("another-bot", "The token in the Connection huggingface_hub_bot")],
)
def test_a_token_of_another_user_than_the_bot_is_reported(
    places: None, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch, login: str, fix: str | None
) -> None:
    set_connection(monkeypatch, "huggingface_hub_bot", conn_type="generic", login=login, password="hf_bot")

    finding = findings()["Connection huggingface_hub_bot"]

    assert (finding.fix is None) == (fix is None)
    assert fix is None or fix in str(finding.fix)


# The release


@pytest.mark.parametrize(
    ("variable", "option", "note"),
    [
        ("2026-08", "2026-08", ""),
        (
            "2026-08",
            "2024-03",
            "; the schedules are those of 2024-03 (option schedules_of_release)",
        ),
    ],
)
def test_schedules_of_another_release_than_the_tasks_are_mentioned(
    places: None, monkeypatch: pytest.MonkeyPatch, variable: str, option: str, note: str
) -> None:
    set_variable(monkeypatch, "datasets_server_release", variable)
    monkeypatch.setenv("AIRFLOW__DATASETS_SERVER__SCHEDULES_OF_RELEASE", option)

    finding = findings()["Variable datasets_server_release"]

    assert finding == Finding(finding.subject, f"valid, set to {variable}{note}")


# Storages


def test_a_missing_bucket_is_reported(connections: None, monkeypatch: pytest.MonkeyPatch) -> None:
    set_variable(monkeypatch, "datasets_server_cached_assets_storage_root", "no-such-bucket/cached-assets")

    fix = fixes()["Connection datasets_server_s3, cached assets at s3://no-such-bucket/cached-assets"]

    assert "NoSuchBucket" in fix


def test_archives_in_a_folder_that_is_not_mounted_are_reported(
    places: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "storage" / "archives"
    set_variable(monkeypatch, "datasets_server_archive_storage_root", str(root))

    assert f"There is no folder {root.parent}" in fixes()[f"Folder of archives {root}"]


def test_archives_that_are_switched_off_are_mentioned(places: None, monkeypatch: pytest.MonkeyPatch) -> None:
    set_variable(monkeypatch, "datasets_server_archive_storage_protocol", "off")

    assert findings()["Archives"].facts == "switched off: nothing that is removed can be restored"
    assert fixes() == {}


def test_archives_in_s3_need_the_connection(
    places: None, monkeypatch: pytest.MonkeyPatch, s3_server: S3Server
) -> None:
    set_variable(monkeypatch, "datasets_server_archive_storage_protocol", "s3")
    set_variable(monkeypatch, "datasets_server_archive_storage_root", "s3://dataset-assets/archives/")

    place = "Connection datasets_server_s3, archives at s3://dataset-assets/archives"
    assert findings()[place].facts == "reachable, may read, may write"


class RefusingS3:
    """Refuses to write and to delete, which the S3 server of the tests cannot."""

    def list_objects_v2(self, **_: Any) -> None: ...

    def delete_object(self, **_: Any) -> None:
        from botocore.exceptions import ClientError

        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}, "DeleteObject")

    def create_multipart_upload(self, **_: Any) -> None:
        self.delete_object()


def test_a_read_only_bucket_is_unwritable() -> None:
    client: Any = RefusingS3()

    assert BucketStorage(lambda: client, "bucket", "assets").rights() == Rights((), ("s3://bucket/assets",))
    assert BucketArchive(lambda: client, "bucket", "archive").rights() == Rights((), ("s3://bucket/archive",))


# Directories to clean


def set_cleanings(monkeypatch: pytest.MonkeyPatch, **directories: Path) -> None:
    entries = [{"name": name, "directory": str(directory)} for name, directory in directories.items()]
    set_variable(monkeypatch, "datasets_server_directory_cleaning", json.dumps(entries))


def test_each_directory_to_clean_has_a_line(
    places: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    missing, below_file = tmp_path / "not/there", tmp_path / "file/below"
    set_cleanings(monkeypatch, there=tmp_path / "there", missing=missing, below_file=below_file)
    before = sorted(tmp_path.rglob("*"))

    lines = [str(finding) for finding in check_all() if "to clean" in finding.subject]

    assert lines == [
        f"ok   Directory to clean {tmp_path}/there (there): reachable, may read, may write",
        f"ok   Directory to clean {missing} (missing): does not exist yet, will be created in {tmp_path}:"
        " reachable, may read, may write",
        f"FIX  Directory to clean {below_file} (below_file): does not exist yet, will be created in"
        f" {tmp_path}/file: reachable, may not read {tmp_path}/file, may not write {tmp_path}/file."
        f" {tmp_path}/file must be a folder on the workers that they may read and write.",
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_to_a_directory_of_the_system_is_reported(
    places: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "alias").symlink_to("/etc")
    set_cleanings(monkeypatch, alias=tmp_path / "alias")

    assert "which is '/etc', is not cleaned" in fixes()[f"Directory to clean {tmp_path}/alias (alias)"]


def test_an_invalid_list_of_directories_is_reported_once_for_its_variable(
    places: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variable(monkeypatch, "datasets_server_directory_cleaning", "/storage")

    assert list(fixes()) == ["Variable datasets_server_directory_cleaning"]


def test_a_read_only_folder_is_unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # The tests may run as root, who may do all.

    assert FolderStorage(tmp_path).rights() == Rights((), (str(tmp_path),))


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no folder"):
        FolderStorage(tmp_path / "missing").rights()
