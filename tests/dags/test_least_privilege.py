"""Each DAG does its work with the rights that docs/security.md lists, and needs every one of them."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest
from airflow.dag_processing.dagbag import DagBag
from botocore.exceptions import ClientError
from pymongo import MongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from datasets_server.checks import Finding, check_all
from dev.local_stack import sample_state
from dev.local_stack.hub_server import HubServer
from dev.local_stack.mongod import Mongod
from dev.local_stack.s3_server import REGION, S3Server
from include.databases import cache_store, queue_store
from include.databases.mongo import MAINTENANCE_DATABASE
from include.errors import ConfigurationError
from include.planning.processing_graph import load_release, release_names
from include.rights import Rights
from include.storage.bucket_storage import BucketStorage
from tests.conftest import Databases
from tests.dags.conftest import BUCKET, PROJECT, RunDag, set_connection, set_variable

Document = dict[str, Any]
#: By database and collection; that of our own database is "".
Actions = Mapping[tuple[str, str], set[str]]

#: By Connection, in the documented roles.
DATABASES = {name: name for name in ("datasets_server_cache", "datasets_server_queue")}
PASSWORD = "a-very-secret-password"
TEXT = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")
ROLES: dict[str, Document] = {
    role["role"]: role
    for role in map(json.loads, re.findall(r"^db\.createRole\((\{.*?^\})\)", TEXT, re.DOTALL | re.MULTILINE))
}
POLICY: Document = json.loads(re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)[0])
NEEDS = {
    dag_id: re.findall(r"`(datasets_server_\w+)`", role)
    for dag_ids, role in re.findall(r"^\| (`.+?) \| (.*?) \|", TEXT, re.MULTILINE)
    for dag_id in re.findall(r"`([\w-]+)`", dag_ids)
}
WITH_ROLE = {dag_id: roles[0] for dag_id, roles in NEEDS.items() if roles}
NOTHING = "without-roles"

ACTIONS = {
    **{name: {"find"} for name in ("find", "aggregate", "count", "distinct")},
    "insert": {"insert"},
    "update": {"update"},
    "delete": {"remove"},
    "findAndModify": {"find", "update"},
    "createIndexes": {"createIndex"},
    "listIndexes": {"listIndexes"},
    "dropIndexes": {"dropIndex"},
    "drop": {"dropCollection"},
    "listCollections": {"listCollections"},
}
NEEDS_NO_RIGHT = ("hello", "ping", "endSessions", "getMore", "commitTransaction", "abortTransaction")


class Watch(CommandListener):
    """Gathers which actions the commands of a client need."""

    def __init__(self) -> None:
        self.used: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.is_on = True

    def started(self, event: CommandStartedEvent) -> None:
        name, command = event.command_name, event.command
        if not self.is_on or name in NEEDS_NO_RIGHT or name.startswith("sasl"):
            return
        if command.get("authorizedCollections"):
            return  # It lists what the user may read, which needs no right.
        collection = "" if event.database_name == MAINTENANCE_DATABASE else str(command[name])
        updates = command.get("updates", [command])
        upserts = {"insert"} if any(update.get("upsert") for update in updates) else set()
        self.used[event.database_name, collection] |= ACTIONS[name] | upserts

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


def granted(role: Document) -> Actions:
    return {
        (each["resource"]["db"], each["resource"]["collection"]): set(each["actions"])
        for each in role["privileges"]
    }


@pytest.fixture(scope="module")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """A MongoDB with the documented roles, a user for each of them, one with all and one with none."""
    folder = tmp_path_factory.mktemp("mongod-with-documented-roles")
    with Mongod(folder, cache_gigabytes=0.25, auth=("root", PASSWORD)) as mongod:
        with MongoClient[Document](mongod.uri) as root:
            for name, role in ROLES.items():
                root.admin.command("createRole", name, privileges=role["privileges"], roles=role["roles"])
            users = {**{name: [name] for name in ROLES}, "all": list(ROLES), NOTHING: []}
            for user, roles in users.items():
                root.admin.command("createUser", user, pwd=PASSWORD, roles=roles)
        yield mongod


@pytest.fixture
def databases(mongod: Mongod) -> Iterator[Databases]:
    """The databases of the documented roles, as root sees them."""
    with MongoClient[Document](mongod.uri) as root:
        names = (*DATABASES.values(), MAINTENANCE_DATABASE)
        for name in names:
            root.drop_database(name)
        yield Databases(*(root[name] for name in names))


def connect_as(monkeypatch: pytest.MonkeyPatch, mongod: Mongod, user: str) -> None:
    for conn_id, database in DATABASES.items():
        set_connection(
            monkeypatch,
            conn_id,
            conn_type="mongo",
            host=mongod.host,
            port=mongod.port,
            schema=database,
            login=user,
            password=PASSWORD,
            extra={"directConnection": True},
        )


@contextmanager
def all_rights(monkeypatch: pytest.MonkeyPatch, mongod: Mongod, watch: Watch, role: str) -> Iterator[None]:
    """Do what comes before a DAG with the user that has all roles, unwatched."""
    watch.is_on = False
    connect_as(monkeypatch, mongod, "all")
    yield
    connect_as(monkeypatch, mongod, role)
    watch.is_on = True


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(
        "airflow.providers.mongo.hooks.mongo.MongoClient", partial(MongoClient, event_listeners=[watch])
    )
    return watch


@pytest.fixture
def fill(
    sample: None,
    monkeypatch: pytest.MonkeyPatch,
    databases: Databases,
    hub_server: HubServer,
    s3_server: S3Server,
    tmp_path: Path,
) -> Any:
    """Fill the services with the sample of a release, and with what the past has left."""

    def fill(release_name: str) -> None:
        release = load_release(release_name)
        databases.maintenance.client.drop_database(databases.maintenance)
        set_variable(monkeypatch, "datasets_server_release", release_name)
        hub_server.load(
            sample_state.fill(
                databases.cache, databases.queue, tmp_path / "assets", s3_server.client(), BUCKET, release
            )
        )
        hub_server.state.tokens = {}
        databases.cache["cacheTotalMetric"].insert_one({"kind": "gone", "total": 1})
        databases.queue["jobTotalMetric"].insert_one({"job_type": "gone", "total": 1})
        databases.queue["workerTypeJobCounts"].insert_one({"worker_size": "gone", "jobs_count": 1})
        databases.maintenance["metricsHistory"].create_index("collected_at", expireAfterSeconds=600_000)
        old = {"_id": 0, "endpoint": "", "release": "", "begun_at": datetime.now(UTC) - timedelta(days=2)}
        databases.maintenance["hubListing.old"].insert_one(old)

    return fill


def test_the_document_has_each_dag_and_each_role() -> None:
    assert NEEDS.keys() == DagBag(PROJECT / "dags").dags.keys()
    assert sorted(set(WITH_ROLE.values())) == sorted(ROLES)
    own = {database for role in ROLES.values() for database, collection in granted(role) if not collection}
    assert own == {MAINTENANCE_DATABASE}


def test_the_checks_try_what_the_documented_roles_allow() -> None:
    allowed: dict[tuple[str, str], set[str]] = defaultdict(set)
    for role in ROLES.values():
        for place, actions in granted(role).items():
            allowed[place] |= actions
    # Only one release has blockages.
    tried = {
        (database, name): set(actions)
        for database, collections in (
            (DATABASES["datasets_server_cache"], cache_store.COLLECTIONS),
            (DATABASES["datasets_server_queue"], queue_store.COLLECTIONS | {"datasetBlockages": ("find",)}),
        )
        for name, actions in collections.items()
    }

    # A user who may find documents may also list the indexes, with each built-in role.
    assert tried == {place: actions - {"listIndexes"} for place, actions in allowed.items() if place[1]}


#: The tokens of the Hub that are valid for a DAG.
TOKENS = {
    "backfill": {"hf_token": "somebody"},
    "backfill-retryable-errors": {"hf_token": "somebody"},
    "post-messages": {"hf_bot": "parquet-bot"},
    "refresh-datasets": {"hf_token": "somebody"},
}
PARAMETERS: dict[str, Document] = {
    "post-messages": {"updated_from": "2020-01-01T00:00:00Z"},
    "refresh-datasets": {"datasets": ["glue"], "recreate": True},
    "restore-datasets": {"datasets": ["*", "*/*"]},
}
#: The requests to the Hub that change something.
CHANGES = {"post-messages": {"new_discussion"}}


def slow_but(quick: str, names: Iterable[str]) -> list[Any]:
    """Return parameters of which `make test` tries one, and `make test-faults` all."""
    slow = pytest.mark.slow_fault
    return [name if name == quick else pytest.param(name, marks=slow) for name in names]


@pytest.mark.parametrize("role", slow_but("datasets_server_backfill", ROLES))
def test_the_dags_of_a_role_need_all_of_it_and_nothing_else(
    fill: Any,
    monkeypatch: pytest.MonkeyPatch,
    mongod: Mongod,
    watch: Watch,
    run_dag: RunDag,
    hub_server: HubServer,
    role: str,
) -> None:
    connect_as(monkeypatch, mongod, role)
    for dag_id in (dag_id for dag_id, needed in WITH_ROLE.items() if needed == role):
        for release in release_names():
            fill(release)
            if dag_id == "restore-datasets":
                with all_rights(monkeypatch, mongod, watch, role):
                    hub_server.state.tokens = TOKENS["backfill"]
                    assert run_dag("backfill").report["datasets"]["removed"]
            hub_server.state.tokens = TOKENS.get(dag_id, {})

            finished = run_dag(dag_id, **PARAMETERS.get(dag_id, {}))

            assert finished.state == "success"
            changed = hub_server.state.requests_by_route.keys() & {"new_discussion"}
            assert changed == CHANGES.get(dag_id, set())

    assert watch.used == granted(ROLES[role])


@pytest.mark.parametrize("dag_id", slow_but("collect-queue-metrics", WITH_ROLE))
def test_without_its_role_a_dag_fails_and_says_what_to_do(
    fill: Any,
    monkeypatch: pytest.MonkeyPatch,
    mongod: Mongod,
    databases: Databases,
    run_dag: RunDag,
    hub_server: HubServer,
    capsys: pytest.CaptureFixture[str],
    dag_id: str,
) -> None:
    fill(release_names()[0])
    hub_server.state.tokens = TOKENS.get(dag_id, {})
    connect_as(monkeypatch, mongod, NOTHING)

    assert run_dag(dag_id, **PARAMETERS.get(dag_id, {})).state == "failed"

    output = capsys.readouterr().out
    asked_first = "datasets_server_cache" if dag_id == "collect-cache-metrics" else "datasets_server_queue"
    assert f"MongoDB at the Connection {asked_first} (" in output
    assert "does not allow this operation: grant the user the role readWrite, or the DAG's in docs/" in output


@pytest.mark.parametrize(
    "dag_id", [dag_id for dag_id, roles in NEEDS.items() if not roles and dag_id != "check-connections"]
)
def test_a_dag_without_a_role_needs_no_connection(
    airflow_database: None, monkeypatch: pytest.MonkeyPatch, run_dag: RunDag, tmp_path: Path, dag_id: str
) -> None:
    directory = tmp_path / "to" / "clean"
    cleaning = [{"name": "any", "directory": str(directory)}]
    set_variable(monkeypatch, "datasets_server_directory_cleaning", json.dumps(cleaning))

    assert run_dag(dag_id).state == "success"


def findings_of_mongodb() -> list[Finding]:
    return [each for each in check_all() if "_cache" in each.subject or "_queue" in each.subject]


@pytest.mark.parametrize(
    ("user", "refused"),
    [
        ("all", {}),
        (
            "datasets_server_collect_cache_metrics",
            {
                "datasets_server_cache": "may read, may not write cachedResponsesBlue",
                "datasets_server_queue": "may not read jobsBlue, jobTotalMetric, workerTypeJobCounts,"
                " may not write jobsBlue, jobTotalMetric, workerTypeJobCounts, locks",
            },
        ),
    ],
)
def test_check_connections_reports_what_the_roles_do_not_allow(
    connections: None, monkeypatch: pytest.MonkeyPatch, mongod: Mongod, user: str, refused: dict[str, str]
) -> None:
    connect_as(monkeypatch, mongod, user)

    found = {each.subject.removeprefix("Connection "): each for each in findings_of_mongodb()}

    for conn_id in DATABASES:
        facts = refused.get(conn_id, "may read, may write")
        assert found[conn_id].facts == f"reachable, {facts}"
        assert (found[conn_id].fix is None) == (conn_id not in refused)


# S3


@pytest.fixture(scope="module")
def guarded_s3() -> Iterator[S3Server]:
    """An S3 server that knows the documented policy, and checks the rights of each request."""
    with S3Server() as server:
        server.create_bucket(BUCKET)
        for key in (
            "assets/a/b/--/file",
            "cached-assets/a/b/--/file",
            "other/a/b/--/file",
            "assets/c/d/--/file",
        ):
            server.client().put_object(Bucket=BUCKET, Key=key)
        yield server


def client_of(server: S3Server, policy: Document) -> Any:
    """Return a client of a user with a policy."""
    connect = partial(boto3.client, endpoint_url=server.endpoint_url, region_name=REGION)
    httpx2.post(f"{server.endpoint_url}/moto-api/reset-auth", content=b"inf").raise_for_status()
    iam = connect("iam", aws_access_key_id="root", aws_secret_access_key="root")
    name = f"user-{len(iam.list_users()['Users'])}"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    httpx2.post(f"{server.endpoint_url}/moto-api/reset-auth", content=b"0").raise_for_status()
    return connect(
        "s3",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )


#: This server asks whether a request for many keys may delete the bucket; S3 asks about each key.
MANY_KEYS = {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{BUCKET}"}


def allowing(*actions: str) -> Document:
    """Return the policy with its statements for some actions."""
    return POLICY | {"Statement": [each for each in POLICY["Statement"] if each["Action"] in actions]}


@pytest.mark.parametrize("prefix", ["assets", "cached-assets"])
def test_the_policy_allows_to_remove_the_files_of_a_dataset(guarded_s3: S3Server, prefix: str) -> None:
    policy = POLICY | {"Statement": [*POLICY["Statement"], MANY_KEYS]}
    storage = BucketStorage(partial(client_of, guarded_s3, policy), BUCKET, prefix)

    assert storage.rights() == Rights()
    assert storage.remove("a/b")
    assert not storage.remove("a/b")


def test_the_policy_allows_nothing_else(guarded_s3: S3Server) -> None:
    client = client_of(guarded_s3, POLICY)

    for refused in (
        partial(client.delete_object, Key="other/a/b/--/file"),
        partial(client.get_object, Key="assets/kept"),
        partial(client.put_object, Key="assets/kept"),
        client.delete_bucket,
    ):
        with pytest.raises(ClientError, match=r"AccessDenied|Forbidden"):
            refused(Bucket=BUCKET)


@pytest.mark.parametrize(
    ("action", "rights"),
    [
        ("s3:ListBucket", Rights((), (f"s3://{BUCKET}/assets",))),
        ("s3:DeleteObject", Rights((f"s3://{BUCKET}/assets",), ())),
    ],
)
def test_with_one_statement_of_the_policy_alone_the_other_right_is_missing(
    guarded_s3: S3Server, action: str, rights: Rights
) -> None:
    storage = BucketStorage(partial(client_of, guarded_s3, allowing(action)), BUCKET, "assets")

    assert storage.rights() == rights
    with pytest.raises(ConfigurationError, match="S3 refuses to remove"):
        storage.remove("c/d")
