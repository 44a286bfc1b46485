"""The local stack: real servers, and data on which maintenance finds what they are said to hold."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import DisabledRepoError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import parse_ratelimit_headers
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from dev.local_stack import mongod as mongod_module
from dev.local_stack import ports
from dev.local_stack.documents import CACHE, CACHE_TOTALS, JOB_TOTALS, JOBS, LOCKS, WORKER_SIZES
from dev.local_stack.generated_cache import generate
from dev.local_stack.hub_server import (
    HubDataset,
    HubDiscussion,
    HubProcess,
    HubServer,
    HubState,
    HubUser,
    RateLimit,
    load_state,
    save_state,
)
from dev.local_stack.mongod import Mongod, find_mongod
from dev.local_stack.process import ServerProcess
from dev.local_stack.s3_server import S3Server
from dev.local_stack.sample_state import (
    BLOCKED_DATASETS,
    BOT_NAME,
    BOT_TOKEN,
    CACHED_ASSETS_PREFIX,
    DATASETS,
    HUB_TOKEN,
    Outcome,
    datasets_by_outcome,
    fill,
)
from include.databases.cache_store import CacheStore
from include.databases.queue_store import QueueStore
from include.errors import ConfigurationError, DatasetError, ServiceError
from include.hub.answers import Unsupported
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.planning.plan import plan_dataset
from include.planning.processing_graph import Release, load_release, release_names
from tests.conftest import Databases

Value = TypeVar("Value")

# Ports


@contextmanager
def listener() -> Iterator[int]:
    with socket.create_server((ports.HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_is_claimed_as_it_is() -> None:
    port = ports.free_port()
    assert ports.is_free(port)
    assert not ports.is_listening(port)
    assert ports.claim(port, "the console") == port


def test_another_port_is_claimed_in_place_of_a_taken_one(caplog: pytest.LogCaptureFixture) -> None:
    with listener() as taken:
        assert not ports.is_free(taken)
        assert ports.is_listening(taken)
        claimed = ports.claim(taken, "the console")
        assert claimed != taken
        assert ports.is_free(claimed)
    assert f"the console listens on port {claimed}" in caplog.text


# Processes


def shell(script: str, folder: Path, ready_file: str = "ready") -> ServerProcess:
    return ServerProcess(
        "The shell",
        ["sh", "-c", script],
        log_file=folder / "logs" / "shell.log",
        is_ready=(folder / ready_file).exists,
        environment={"FOLDER": str(folder)},
    )


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until_dead(pid: int, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)


def test_stopping_a_process_ends_its_children(tmp_path: Path) -> None:
    with shell("sleep 300 & echo $! > $FOLDER/child; touch $FOLDER/ready; wait", tmp_path) as process:
        child = int((tmp_path / "child").read_text())
        assert process.is_running
        assert is_alive(child)
    assert wait_until_dead(child)


def test_a_process_that_will_not_end_is_killed(tmp_path: Path) -> None:
    process = shell("trap '' TERM; touch $FOLDER/ready; while :; do sleep 0.1; done", tmp_path)
    process.start()
    pid = process.pid
    assert pid is not None
    process.stop(timeout=0.2)
    assert wait_until_dead(pid)


def test_a_killed_process_leaves_no_descendant_in_any_group(tmp_path: Path) -> None:
    script = "setsid sh -c 'sleep 300 & echo $! > $FOLDER/grandchild; touch $FOLDER/ready; wait' & wait"
    process = shell(script, tmp_path)
    process.start()
    pid, grandchild = process.pid, int((tmp_path / "grandchild").read_text())
    assert pid is not None
    assert is_alive(grandchild)

    process.kill()

    assert not is_alive(pid)
    assert wait_until_dead(grandchild)


def test_the_error_of_a_process_that_ends_shows_its_log(tmp_path: Path) -> None:
    process = shell("echo no such option; exit 3", tmp_path)
    with pytest.raises(ServiceError, match=r"(?s)ended with code 3.*shell\.log:\nno such option"):
        process.start()


def test_the_error_of_a_process_that_never_becomes_ready_shows_its_log(tmp_path: Path) -> None:
    process = shell("echo still loading; sleep 300", tmp_path)
    with pytest.raises(ServiceError, match=r"(?s)not ready within 0\.3 s.*still loading"):
        process.start(timeout=0.3)
    assert not process.is_running


def test_a_process_ends_with_its_parent(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
import psutil
from dev.local_stack.process import ServerProcess
log = Path({str(tmp_path)!r}) / "log"
sleeps = lambda: psutil.Process(process.pid).name() == "sleep"
process = ServerProcess("sleep", ["sleep", "300"], log_file=log, is_ready=sleeps)
process.start()
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[3]
    parent = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, check=False)
    assert wait_until_dead(int(parent.stdout))


# MongoDB


def test_mongod_is_taken_from_the_environment_before_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "mongod"
    own.touch()
    monkeypatch.setenv("MONGOD", str(own))
    assert find_mongod() == own
    monkeypatch.delenv("MONGOD")
    assert find_mongod() != own


def test_a_mongod_that_is_named_but_missing_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no mongod at"):
        find_mongod(tmp_path / "mongod")


def test_a_machine_without_mongod_is_a_configuration_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MONGOD", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mongod_module, "WHEEL", "no-such-wheel")
    with pytest.raises(ConfigurationError, match=r"MONGOD=/path/to/mongod.*docker-compose\.yaml"):
        find_mongod()


def test_mongod_supports_transactions(databases: Databases) -> None:
    databases.cache["numbers"].insert_one({"n": 1})
    with databases.cache.client.start_session() as session, session.start_transaction():
        databases.cache["numbers"].insert_one({"n": 2}, session=session)
        session.abort_transaction()
    assert [document["n"] for document in databases.cache["numbers"].find()] == [1]


def test_mongod_keeps_its_data_after_a_restart_on_another_port(tmp_path: Path) -> None:
    credentials = ("main@tainer", "p:w/d")
    with (
        Mongod(tmp_path, cache_gigabytes=0.25, auth=credentials) as server,
        MongoClient[dict[str, int]](server.uri) as client,
    ):
        client["test"]["numbers"].insert_one({"n": 1})
        server.stop()
        server.start()
        client["test"]["numbers"].insert_one({"n": 2})
    with (
        Mongod(tmp_path, cache_gigabytes=0.25, auth=credentials) as server,
        MongoClient[dict[str, int]](server.uri) as client,
    ):
        assert client["test"]["numbers"].count_documents({}) == 2
        client["test"]["numbers"].insert_one({"n": 3})
        no_credentials = f"mongodb://{server.host}:{server.port}/?directConnection=true"
        for uri in (no_credentials, server.uri.replace("tainer", "tenance")):
            with (
                MongoClient[dict[str, int]](uri) as intruder,
                pytest.raises(OperationFailure, match=r"(?i)authentication"),
            ):
                intruder["test"]["numbers"].insert_one({"n": 4})


# S3


def test_the_s3_server_keeps_objects(s3_server: S3Server) -> None:
    s3_server.create_bucket("pictures")
    s3_server.create_bucket("pictures")
    client = s3_server.client()
    client.put_object(Bucket="pictures", Key="a b/%2F", Body=b"image")
    assert client.get_object(Bucket="pictures", Key="a b/%2F")["Body"].read() == b"image"


# The stand-in for the Hub, asked by the real client


def api(server: HubServer, token: str | bool = False) -> HfApi:
    return HfApi(server.url, token=token)


def test_the_hub_describes_canonical_and_namespaced_datasets(hub_server: HubServer) -> None:
    hub_server.state.put(
        HubDataset("squad", "sha1"),
        HubDataset("user/Data.v2", "sha2", card_data={"viewer": False}, tags=("nsfw",), disabled=True),
    )
    squad = api(hub_server).dataset_info("squad")
    data = api(hub_server).dataset_info("user/Data.v2")
    assert (squad.id, squad.sha, squad.author, squad.private, squad.disabled) == (
        "squad",
        "sha1",
        None,
        False,
        False,
    )
    assert (data.sha, data.author, data.tags, data.disabled) == ("sha2", "user", ["nsfw"], True)
    assert data.card_data is not None
    assert data.card_data.get("viewer") is False


def test_the_hub_expands_the_wanted_fields_alone(hub_server: HubServer) -> None:
    hub_server.state.put(HubDataset("squad", "sha1", tags=("a",)))
    squad = api(hub_server).dataset_info("squad", expand=["sha"])
    assert (squad.sha, squad.tags, squad.private) == ("sha1", None, None)


@pytest.mark.parametrize("token", [False, "hf_token"])
def test_an_unknown_dataset_is_not_found_with_or_without_a_token(
    hub_server: HubServer, token: str | bool
) -> None:
    with pytest.raises(RepositoryNotFoundError) as caught:
        api(hub_server, token).dataset_info("user/gone")
    assert caught.value.response.status_code == (404 if token else 401)


def test_a_private_dataset_needs_a_token(hub_server: HubServer) -> None:
    hub_server.state.put(HubDataset("user/notes", "sha1", private=True))
    with pytest.raises(RepositoryNotFoundError):
        api(hub_server).dataset_info("user/notes")
    assert api(hub_server, "hf_token").dataset_info("user/notes").private is True
    assert not list(api(hub_server).list_datasets())
    assert [dataset.id for dataset in api(hub_server, "hf_token").list_datasets()] == ["user/notes"]


def test_a_wrong_token_is_refused_everywhere(hub_server: HubServer) -> None:
    hub_server.state.tokens = {"hf_good": "bot"}
    hub_server.state.put(HubDataset("squad", "sha1"))
    wrong = api(hub_server, "hf_wrong")
    for request in (
        lambda: wrong.dataset_info("squad"),
        lambda: list(wrong.list_datasets()),
        lambda: wrong.whoami(),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            request()
        assert not isinstance(caught.value, RepositoryNotFoundError)
        assert caught.value.response.status_code == 401
    assert api(hub_server, "hf_good").whoami()["name"] == "bot"


def test_the_hub_answers_with_the_fault_of_a_dataset(hub_server: HubServer) -> None:
    hub_server.state.put(
        HubDataset("disabled", "sha1", fault="disabled_403"),
        HubDataset("broken", "sha1", fault="server_error"),
        HubDataset("hanging", "sha1", fault="timeout"),
    )
    with pytest.raises(DisabledRepoError):
        api(hub_server).dataset_info("disabled")
    with pytest.raises(HfHubHTTPError, match="503"):
        api(hub_server).dataset_info("broken")
    with pytest.raises(httpx2.ReadTimeout):
        api(hub_server).dataset_info("hanging", timeout=0.1)


def test_an_old_name_is_redirected_and_not_listed(hub_server: HubServer) -> None:
    hub_server.state.put(
        HubDataset("old/name", "sha1", renamed_to="new/name"), HubDataset("new/name", "sha1")
    )
    renamed = api(hub_server).dataset_info("old/name", expand=["sha"])
    assert (renamed.id, renamed.sha, renamed.tags) == ("new/name", "sha1", None)
    assert [dataset.id for dataset in api(hub_server).list_datasets()] == ["new/name"]


def test_the_listing_comes_in_pages_sorted_by_name(hub_server: HubServer) -> None:
    hub_server.state.page_size = 10
    names = {f"user/data-{number}" for number in range(35)} | {"squad", "Canonical"}
    hub_server.state.put(*(HubDataset(name, f"sha of {name}") for name in names))
    hub_server.state.put(HubDataset("unlisted", "sha1", in_listing=False))
    listed = list(api(hub_server).list_datasets(expand=["sha", "author"]))
    assert [dataset.id for dataset in listed] == sorted(names)
    assert all(dataset.sha == f"sha of {dataset.id}" and dataset.tags is None for dataset in listed)
    assert hub_server.state.requests_by_route == {"listing": 4}
    assert len(list(api(hub_server).list_datasets(limit=3))) == 3
    assert hub_server.state.requests == 5


def test_the_listing_has_no_card_data_unless_asked(hub_server: HubServer) -> None:
    hub_server.state.put(HubDataset("squad", "sha1", card_data={"viewer": True}))
    (plain,) = api(hub_server).list_datasets()
    (expanded,) = api(hub_server).list_datasets(expand=["cardData"])
    assert plain.card_data is None
    assert plain.sha == "sha1"
    assert expanded.card_data is not None
    assert expanded.card_data.get("viewer") is True


def test_the_hub_tells_who_a_user_is(hub_server: HubServer) -> None:
    hub_server.state.users["acme"] = HubUser("acme", plan="enterprise", is_enterprise=True)
    answer = httpx2.get(f"{hub_server.url}/api/whoisthis", params={"name": "acme"})
    assert answer.json() == {"isPro": False, "isEnterprise": True, "plan": "enterprise"}
    assert httpx2.get(f"{hub_server.url}/api/whoisthis", params={"name": "nobody"}).status_code == 404


def test_beyond_the_rate_limit_requests_are_refused_until_the_window_ends(hub_server: HubServer) -> None:
    hub_server.state.put(HubDataset("squad", "sha1"))
    hub_server.state.rate_limit = RateLimit(requests=2, window_seconds=1)
    url = f"{hub_server.url}/api/datasets/squad"
    first, second, third = (httpx2.get(url) for _ in range(3))
    info = parse_ratelimit_headers(first.headers)
    assert info is not None
    assert (info.remaining, info.limit, info.window_seconds) == (1, 2, 1)
    assert [answer.status_code for answer in (first, second, third)] == [200, 200, 429]
    wait = int(third.headers["Retry-After"])
    assert parse_ratelimit_headers(third.headers) == parse_ratelimit_headers(second.headers)
    time.sleep(wait)
    assert httpx2.get(url).status_code == 200


def test_discussions_are_created_once_and_found_by_author_and_status(hub_server: HubServer) -> None:
    hub_server.state.tokens = {"hf_bot": "bot"}
    hub_server.state.put(HubDataset("user/data", "sha1"))
    others = [
        HubDiscussion(number, "A question", "?", "somebody", "2024-01-18T11:05:32.000Z", status="closed")
        for number in range(1, 26)
    ]
    hub_server.state.discussions["user/data"] = list(others)
    bot = api(hub_server, "hf_bot")
    created = bot.create_discussion("user/data", "Parquet", description="Converted.", repo_type="dataset")
    assert (created.num, created.author, created.status) == (26, "bot", "open")
    assert created.events[0].content == "Converted."  # type: ignore[attr-defined]

    def found(**filters: str) -> list[int]:
        discussions = bot.get_repo_discussions("user/data", repo_type="dataset", **filters)  # type: ignore[arg-type]
        return sorted(discussion.num for discussion in discussions)

    assert found() == list(range(1, 27))
    assert found(author="bot", discussion_type="discussion") == [26]
    assert found(discussion_status="closed") == list(range(1, 26))
    assert found(author="bot", discussion_status="closed") == []


def test_discussions_need_a_token_and_can_be_disabled(hub_server: HubServer) -> None:
    hub_server.state.put(
        HubDataset("user/data", "sha1"), HubDataset("quiet/data", "sha1", discussions_disabled=True)
    )
    with pytest.raises(HfHubHTTPError, match="401"):
        api(hub_server).create_discussion("user/data", "Parquet", repo_type="dataset")
    with pytest.raises(HfHubHTTPError, match="403 Forbidden: Discussions are disabled"):
        api(hub_server, "hf_bot").create_discussion("quiet/data", "Parquet", repo_type="dataset")
    assert not hub_server.state.discussions.get("user/data")


def test_a_stopped_hub_refuses_connections() -> None:
    with HubServer() as server:
        assert httpx2.get(f"{server.url}/api/datasets").json() == []
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{server.url}/api/datasets")


def full_state() -> HubState:
    state = HubState(
        users={"user": HubUser("user", is_pro=True)},
        tokens={"hf_token": "maintainer"},
        discussions={"squad": [HubDiscussion(1, "Hi", "Text", "user", "2024-01-18T11:05:32.000Z")]},
        rate_limit=RateLimit(1000, 300),
        page_size=7,
    )
    state.put(
        HubDataset("squad", "sha1", card_data={"viewer": True}, tags=("a", "b")), HubDataset("user/new", None)
    )
    return state


def test_a_state_can_be_saved_and_loaded(tmp_path: Path) -> None:
    save_state(full_state(), tmp_path / "state.json")
    assert load_state(tmp_path / "state.json") == full_state()


def test_the_hub_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    with HubProcess(full_state(), tmp_path) as hub:
        assert HfApi(hub.url, token="hf_token").dataset_info("squad").sha == "sha1"
        assert hub.requests_by_route() == Counter({"dataset": 1})


# Data


def outcomes(databases: Databases, hub: Hub, release: Release) -> dict[str, Outcome]:
    """Find what a backfill would do to each cached dataset, asking the Hub about every one."""
    cache, queue = CacheStore(databases.cache), QueueStore(databases.queue, release)
    names = list(cache.dataset_names())
    cached, jobs = cache.read(names), queue.pending_jobs(names)

    def outcome(name: str) -> Outcome:
        try:
            support = hub.support(name)
            if isinstance(support, Unsupported):
                return Outcome.REMOVED
            plan = plan_dataset(
                release, value_or_raise(cached[name]), value_or_raise(jobs.get(name, [])), support.revision
            )
        except DatasetError:
            return Outcome.FAILED
        return Outcome.UNTOUCHED if plan.is_empty else Outcome.BACKFILLED

    return {name: outcome(name) for name in names}


def value_or_raise(value: Value | DatasetError) -> Value:
    if isinstance(value, DatasetError):
        raise value
    return value


def assert_totals_are_right(databases: Databases) -> None:
    entries = Counter((e["kind"], e["http_status"], e["error_code"]) for e in databases.cache[CACHE].find())
    jobs = list(databases.queue[JOBS].find())
    assert entries == {
        (total["kind"], total["http_status"], total["error_code"]): total["total"]
        for total in databases.cache[CACHE_TOTALS].find()
    }
    assert Counter((job["type"], job["status"]) for job in jobs) == {
        (total["job_type"], total["status"]): total["total"] for total in databases.queue[JOB_TOTALS].find()
    }
    assert {size["worker_size"] for size in databases.queue[WORKER_SIZES].find()} == {
        "light",
        "medium",
        "heavy",
    }
    assert sum(size["jobs_count"] for size in databases.queue[WORKER_SIZES].find()) == len(jobs)


@pytest.mark.parametrize("release_name", release_names())
def test_a_generated_cache_is_as_up_to_date_as_wanted(
    release_name: str, databases: Databases, hub_server: HubServer
) -> None:
    release = load_release(release_name)
    state = generate(databases.cache, databases.queue, 120, release, up_to_date=0.75)
    hub_server.state.datasets = state.datasets
    found = outcomes(databases, Hub(hub_server.url, "hf_token", release, BlockList()), release)
    assert Counter(found.values()) == {Outcome.UNTOUCHED: 90, Outcome.BACKFILLED: 30}
    assert found.keys() == state.datasets.keys()
    assert_totals_are_right(databases)
    entries = databases.cache[CACHE].estimated_document_count()
    assert 40 < entries / 120 < 70


def test_a_generated_cache_is_the_same_for_the_same_seed(databases: Databases) -> None:
    def made(seed: int) -> dict[str, HubDataset]:
        for database, collection in ((databases.cache, CACHE), (databases.queue, JOBS)):
            database[collection].delete_many({})
        return generate(databases.cache, databases.queue, 20, load_release(), seed=seed).datasets

    first = made(1)
    assert made(1) == first
    assert made(2) != first


def test_a_generated_cache_has_the_indexes_that_datasets_server_has(databases: Databases) -> None:
    generate(databases.cache, databases.queue, 2, load_release())

    def indexes(name: str) -> set[tuple[str, ...]]:
        database = databases.cache if name in (CACHE, CACHE_TOTALS) else databases.queue
        return {
            tuple(field for field, _ in index["key"]) for index in database[name].index_information().values()
        }

    assert indexes(CACHE) == {
        ("_id",),
        ("kind", "dataset", "config", "split"),
        ("dataset", "kind", "http_status"),
        ("kind", "http_status", "error_code"),
        ("kind", "http_status", "_id"),
        ("kind", "_id"),
        ("error_code", "kind", "details.copied_from_artifact"),
        ("http_status", "error_code", "kind", "updated_at"),
    }
    assert {("dataset", "status"), ("status", "type"), ("unicity_id", "status", "created_at")} < indexes(JOBS)


@pytest.mark.parametrize("release_name", release_names())
def test_the_sample_has_every_outcome_it_names_even_if_filled_twice(
    release_name: str, databases: Databases, hub_server: HubServer, s3_server: S3Server, tmp_path: Path
) -> None:
    release = load_release(release_name)
    s3_server.create_bucket("sample")
    fill(databases.cache, databases.queue, tmp_path, s3_server.client(), "sample", release)
    state = fill(databases.cache, databases.queue, tmp_path, s3_server.client(), "sample", release)
    hub_server.state.datasets = state.datasets
    hub_server.state.users = state.users
    hub_server.state.tokens = state.tokens
    found = outcomes(
        databases,
        Hub(hub_server.url, HUB_TOKEN, release, BlockList.parse(BLOCKED_DATASETS.split(","))),
        release,
    )
    expected = {name: outcome for outcome, names in datasets_by_outcome(release).items() for name in names}
    assert found == expected
    assert len(found) == DATASETS
    assert_totals_are_right(databases)
    assert 0 < databases.queue[LOCKS].count_documents({}) < databases.queue[JOBS].count_documents({})


def test_the_sample_has_assets_in_both_storages(
    databases: Databases, s3_server: S3Server, tmp_path: Path
) -> None:
    release = load_release()
    s3_server.create_bucket("assets")
    client = s3_server.client()
    fill(databases.cache, databases.queue, tmp_path, client, "assets", release)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jpg")}
    objects = client.list_objects_v2(Bucket="assets")["Contents"]
    assert {item["Key"] for item in objects} == {f"{CACHED_ASSETS_PREFIX}/{file}" for file in files}
    with_assets = {file.partition("/--/")[0] for file in files}
    assert datasets_by_outcome(release)[Outcome.REMOVED] | {"squad/other", "user/data2"} <= with_assets
    assert any(quote("plain text") in file for file in files)


def test_the_sample_has_datasets_for_the_bot(
    databases: Databases, s3_server: S3Server, tmp_path: Path
) -> None:
    s3_server.create_bucket("bot")
    state = fill(databases.cache, databases.queue, tmp_path, s3_server.client(), "bot", load_release())
    yesterday = datetime.now(UTC) - timedelta(days=1)
    converted = {"kind": "config-parquet", "http_status": 200, "updated_at": {"$gt": yesterday}}
    assert set(databases.cache[CACHE].distinct("dataset", converted)) == {
        *(
            "climate-lab/ice-cores",
            "climate-lab/tide-gauges",
            "speech-group/Read-Aloud",
            "rare.languages/lexicon",
        ),
        *("greeted-team/corpus", "quiet-team/corpus", "rotten_tomatoes"),
    }
    assert [discussion.author for discussion in state.discussions["greeted-team/corpus"]] == [BOT_NAME]
    assert state.datasets["quiet-team/corpus"].discussions_disabled
    assert state.tokens is not None
    assert state.tokens[BOT_TOKEN] == BOT_NAME
