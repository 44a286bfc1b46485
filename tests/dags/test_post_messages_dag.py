"""The DAGs ``post-messages`` and ``skip``, run whole on a real Airflow, MongoDB and client of the Hub."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from datasets_server.hooks.hub_bot import HubBotHook
from dev.local_stack.documents import CACHE
from dev.local_stack.hub_server import HubDataset, HubServer
from include.errors import ConfigurationError
from tests.builders import REVISION
from tests.conftest import Databases
from tests.dags.conftest import RunDag, set_connection, set_variable

BOT = "parquet-bot"
NAMES = ["squad", "user/data", "user/other", "org/data"]


@pytest.fixture
def converted(connections: None, databases: Databases, hub_server: HubServer) -> None:
    """Datasets that were converted an hour ago, and one that was converted three days ago."""
    now = datetime.now(UTC)
    times = dict.fromkeys(NAMES, now - timedelta(hours=1)) | {"old/data": now - timedelta(days=3)}
    databases.cache[CACHE].insert_many(
        {
            "kind": "config-parquet",
            "dataset": name,
            "config": "default",
            "split": None,
            "http_status": 200,
            "error_code": None,
            "updated_at": updated_at,
        }
        for name, updated_at in times.items()
    )
    hub_server.state.put(*(HubDataset(name, REVISION) for name in times))
    hub_server.state.tokens = {"hf_bot": BOT, "hf_token": "maintainer"}


def posted(hub: HubServer) -> list[str]:
    return sorted(name for name, found in hub.state.discussions.items() for _ in found)


def test_the_bot_posts_once_to_one_dataset_of_each_namespace(
    converted: None, run_dag: RunDag, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variable(monkeypatch, "datasets_server_discussions_parquet_revision", "refs/pr/1")

    first, second = run_dag("post-messages"), run_dag("post-messages")

    assert first.state == second.state == "success"
    assert posted(hub_server) == ["org/data", "user/data"]
    [discussion] = hub_server.state.discussions["user/data"]
    assert discussion.author == BOT
    assert f"({hub_server.url}/datasets/user/data/tree/refs%2Fpr%2F1)" in discussion.description
    assert not first.report["dry_run"]
    counts = ("candidates", "posted", "already_posted", "without_namespace", "other_of_namespace", "failed")
    assert [first.report[count] for count in counts] == [4, 2, 0, 1, 1, 0]
    assert [second.report[count] for count in counts] == [4, 0, 2, 1, 1, 0]


def test_a_dry_run_shows_the_messages_and_posts_nothing(
    converted: None, run_dag: RunDag, hub_server: HubServer
) -> None:
    report = run_dag("post-messages", dry_run=True).report

    assert posted(hub_server) == []
    assert report["dry_run"]
    assert report["posted"] == len(report["message_sample"]) == 2
    assert f"{hub_server.url}/datasets/org/data/tree/refs%2Fconvert%2Fparquet" in report["message_sample"][0]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"datasets": ["user/other"]}, ["user/other"]),
        ({"datasets": ["org/*"]}, ["org/data"]),
        ({"max_messages": 1}, ["org/data"]),
        ({"updated_from": "2024-03-01T00:00:00+00:00"}, ["old/data", "org/data", "user/data"]),
        ({"updated_to": "2024-03-01T00:00:00+00:00"}, []),
    ],
    ids=repr,
)
def test_the_parameters_select_the_datasets(
    converted: None, run_dag: RunDag, hub_server: HubServer, params: dict[str, Any], expected: list[str]
) -> None:
    assert run_dag("post-messages", **params).state == "success"

    assert posted(hub_server) == sorted(expected)


def test_too_many_errors_fail_the_task_and_are_reported(
    converted: None, run_dag: RunDag, hub_server: HubServer
) -> None:
    hub_server.state.put(HubDataset("org/data", REVISION, fault="server_error"))

    finished = run_dag("post-messages", error_limit=0)

    assert finished.state == "failed"
    assert (finished.report["posted"], finished.report["failed"]) == (1, 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"login": BOT}, "huggingface_hub_bot has no password: set it to the bot's access token"),
        ({"password": "hf_bot"}, "huggingface_hub_bot has no login: set it to the bot's user name"),
        (
            {"login": "somebody", "password": "hf_bot"},
            "belongs to 'parquet-bot', but the login is",
        ),
        ({"login": BOT, "password": "hf_revoked"}, "refuses the bot's token"),
    ],
)
def test_a_bot_without_a_name_or_a_valid_token_is_a_clear_error(
    converted: None,
    run_dag: RunDag,
    hub_server: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, str],
    message: str,
) -> None:
    set_connection(monkeypatch, "huggingface_hub_bot", conn_type="generic", **fields)

    assert run_dag("post-messages").state == "failed"

    with pytest.raises(ConfigurationError, match=message):
        HubBotHook().bot()
    assert posted(hub_server) == []
    assert hub_server.state.requests_by_route["discussions"] == 0


def test_a_missing_connection_is_a_clear_error(
    connections: None, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_HUGGINGFACE_HUB_BOT")

    assert run_dag("post-messages").state == "failed"
    with pytest.raises(ConfigurationError, match="There is no Connection huggingface_hub_bot: create it"):
        HubBotHook()


def test_skip_does_nothing_and_succeeds(run_dag: RunDag) -> None:
    finished = run_dag("skip")

    assert finished.state == "success"
    assert finished.tasks == {"skip": "success"}
