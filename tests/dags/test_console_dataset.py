"""The pages *One dataset* and *Errors* within Airflow's API server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from fastapi.testclient import TestClient
from pymongo.database import Database

from datasets_server.console import hub
from datasets_server.console.answers import forget_answers
from dev.local_stack.documents import (
    CACHE,
    JOBS,
    Shape,
    as_error,
    create_indexes,
    new_job,
    up_to_date_entries,
    utc_now,
)
from dev.local_stack.hub_server import HubDataset, HubServer
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import MaintenanceStore
from include.planning.artifact_name import ArtifactName
from tests.builders import REVISION
from tests.conftest import Databases
from tests.dags.conftest import RELEASE, set_connection
from tests.dags.pages import HOSTILE_NAMES, parsed_page

HTML = {"Accept": "text/html"}
LogIn = Callable[[str | None], TestClient]

pytestmark = pytest.mark.usefixtures("connections")


@pytest.fixture(autouse=True)
def forgotten_answers() -> None:
    """Let no answer to an earlier test be kept."""
    forget_answers()


@pytest.fixture
def page(log_in: LogIn) -> Callable[..., str]:
    def page(path: str, **query: str) -> str:
        answer = log_in("viewer").get(f"/datasets-server/{path}?{urlencode(query)}", headers=HTML)
        assert answer.status_code == 200, answer.text
        return answer.text

    return page


def put(databases: Databases, hub_server: HubServer, name: str, splits: dict[str, list[str]]) -> None:
    """A dataset whose every third entry has an error, with two pending jobs."""
    create_indexes(databases.cache, databases.queue, RELEASE)
    entries = up_to_date_entries(RELEASE, Shape(name, REVISION, splits), utc_now() - timedelta(days=1))
    for number, entry in enumerate(entries[1:]):
        if number % 3 == 0 and entry["kind"] != "config-split-names":
            as_error(entry, HOSTILE_NAMES[number % len(HOSTILE_NAMES)], 1)
            entry["content"] = {"error": "<script>alert('message')</script>"}
    databases.cache[CACHE].insert_many(entries)
    databases.queue[JOBS].insert_many(
        new_job(RELEASE.step("config-size"), name, REVISION, config, created_at=utc_now())
        for config in splits
    )
    CacheStore(databases.cache).collect_metrics()
    hub_server.state.put(HubDataset(name, REVISION, tags=tuple(HOSTILE_NAMES)))


def test_hostile_names_are_text_on_the_page_of_a_dataset(
    databases: Databases, hub_server: HubServer, page: Callable[..., str]
) -> None:
    put(databases, hub_server, "user/data", {name: [name] for name in HOSTILE_NAMES})

    shown = parsed_page(page("dataset", name="user/data"))

    for name in HOSTILE_NAMES:
        assert name in shown.text
    assert "<script>alert('message')</script>" in shown.text
    assert f"errors?code={quote(HOSTILE_NAMES[0], safe='/')}" in shown.links


def test_what_was_removed_can_be_restored_until_it_was(
    databases: Databases, hub_server: HubServer, maintenance: Database[Any], page: Callable[..., str]
) -> None:
    put(databases, hub_server, "user/data", {"config": ["train"]})
    own = MaintenanceStore(maintenance)
    never_removed = page("dataset", name="user/data")
    own.removal_ledger().begin("a run", {"user/data": "it is gone"}, limit=1)
    forget_answers()
    removed = page("dataset", name="user/data")
    own.restores().note("user/data", HOSTILE_NAMES[0])
    forget_answers()
    restored = page("dataset", name="user/data")

    has_button = ["Restore…" in html for html in (never_removed, removed, restored)]
    assert has_button == [False, True, False]
    assert "because it is gone" in restored
    assert HOSTILE_NAMES[0] in parsed_page(restored).text


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_of_a_dataset_is_text(
    databases: Databases, hub_server: HubServer, page: Callable[..., str], name: str
) -> None:
    put(databases, hub_server, name, {"config": ["train"]})

    shown = parsed_page(page("dataset", name=name))

    assert name in shown.text
    assert name in shown.values


def test_hostile_names_are_text_on_the_pages_of_errors(
    databases: Databases, hub_server: HubServer, page: Callable[..., str]
) -> None:
    for name in HOSTILE_NAMES:
        put(databases, hub_server, name, {name: [name]})

    codes = parsed_page(page("errors"))
    assert HOSTILE_NAMES[0] in codes.text
    entries = parsed_page(page("errors", code=HOSTILE_NAMES[0]))
    for name in HOSTILE_NAMES:
        assert name in entries.text
        assert f"dataset?{urlencode({'name': name}).replace('+', '%20')}" in [
            link.replace("+", "%20") for link in entries.links
        ]


def test_each_entry_with_an_error_can_be_chosen_by_the_text_that_a_refresh_takes(
    databases: Databases, hub_server: HubServer, page: Callable[..., str], log_in: LogIn
) -> None:
    for name in HOSTILE_NAMES:
        put(databases, hub_server, name, {name: [name]})
    shown = {"error_code": HOSTILE_NAMES[0], "kind": "split-first-rows"}
    databases.cache[CACHE].update_many({"kind": shown["kind"]}, {"$set": {**shown, "http_status": 500}})
    CacheStore(databases.cache).collect_metrics()

    html = page("errors", code=shown["error_code"], step=shown["kind"])

    texts = [value for value in parsed_page(html).values if value.startswith('["')]
    wanted = {ArtifactName(name, shown["kind"], name, name) for name in HOSTILE_NAMES}
    assert {ArtifactName.parse(text) for text in texts} == wanted
    assert len(texts) == len(wanted)
    assert f"Retry these {len(wanted)}…" in html
    query = {"code": shown["error_code"], "step": shown["kind"], "after": ""}
    matching = log_in("viewer").get("/datasets-server/errors/artifacts", params=query).json()
    assert {ArtifactName.parse(text) for text in matching["artifacts"]} == wanted
    assert matching["are_all"] is True


def test_the_rows_and_an_artifact_come_as_json(
    databases: Databases, hub_server: HubServer, log_in: LogIn
) -> None:
    put(databases, hub_server, "user/data", {name: [name] for name in HOSTILE_NAMES})
    client = log_in("viewer")

    rows = client.get("/datasets-server/dataset/rows", params={"name": "user/data", "level": "config"})
    key = {"name": "user/data", "kind": "config-size", "config": HOSTILE_NAMES[0]}
    artifact = client.get("/datasets-server/dataset/artifact", params=key).json()

    assert rows.headers["Content-Type"] == "application/json"
    assert [row["config"] for row in rows.json()["rows"]] == HOSTILE_NAMES
    assert rows.json()["total"] == len(HOSTILE_NAMES)
    assert artifact["config"] == HOSTILE_NAMES[0]
    assert artifact["jobs"][0].startswith("A job is waiting")


def test_rows_are_filtered_by_states_and_by_name(
    databases: Databases, hub_server: HubServer, log_in: LogIn
) -> None:
    put(databases, hub_server, "user/data", {"English": ["train"], "fr": ["train"]})
    of_splits = "/datasets-server/dataset/rows?name=user/data&level=split"

    found = log_in("viewer").get(f"{of_splits}&state=error&text=english").json()

    assert [row["config"] for row in found["rows"]] == ["English"]
    assert log_in("viewer").get(f"{of_splits}&state=obsolete").json()["total"] == 0


def test_names_are_completed(databases: Databases, hub_server: HubServer, log_in: LogIn) -> None:
    for name in ("user/a", "user/b", "other"):
        put(databases, hub_server, name, {"config": ["train"]})

    answer = log_in("viewer").get("/datasets-server/dataset/names", params={"prefix": "user/"})

    assert answer.json() == ["user/a", "user/b"]


def test_pages_of_entries_lead_forth_and_back(
    databases: Databases, page: Callable[..., str], log_in: LogIn
) -> None:
    create_indexes(databases.cache, databases.queue, RELEASE)
    entries = up_to_date_entries(RELEASE, Shape("user/data", REVISION, {"a": []}), utc_now())[:1]
    for number in range(120):
        entry = dict(
            entries[0], dataset=f"user/{number:03}", updated_at=utc_now() - timedelta(seconds=number)
        )
        as_error(entry, "Odd", 0)
        databases.cache[CACHE].insert_one(entry)
    CacheStore(databases.cache).collect_metrics()

    def follow(html: str, label: str) -> str:
        [address] = [part.rsplit('href="', 1)[1] for part in html.split(f'">{label}</a>')[:-1]]
        return log_in("viewer").get(f"/datasets-server/{address.replace('&amp;', '&')}", headers=HTML).text

    first = page("errors", code="Odd")
    second = follow(first, "Next")
    third = follow(second, "Next")

    assert "user/049" in first
    assert "user/050" in second
    assert "user/099" in second
    assert "user/119" in third
    assert ">Next<" not in third
    assert "user/049" in follow(second, "Previous")
    assert "user/000" in follow(third, "First")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("errors?code=Odd&after=nonsense", 422),
        ("errors?code=Odd&version=x", 422),
        ("dataset/rows?name=user/none&level=nonsense", 404),
        ("dataset/rows?name=user/none&level=split&first=-1", 422),
        ("dataset/rows?name=user/none&level=split&state=nonsense", 422),
        ("dataset/artifact?name=user/none&kind=nonsense", 404),
        (f"dataset?name={'x' * 2_000}", 422),
    ],
)
def test_a_wrong_address_is_explained(log_in: LogIn, path: str, status: int) -> None:
    answer = log_in("viewer").get(f"/datasets-server/{path}")

    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_hub_without_a_connection_leaves_the_rest_of_the_page(
    databases: Databases, hub_server: HubServer, page: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(databases, hub_server, "user/data", {"config": ["train"]})
    monkeypatch.delenv("AIRFLOW_CONN_HUGGINGFACE_HUB")

    text = parsed_page(page("dataset", name="user/data")).text

    assert "There is no Connection huggingface_hub" in text
    assert "What is not up to date" in text


def test_all_pages_ask_the_hub_together_for_no_more_than_the_console_may(
    databases: Databases, hub_server: HubServer, page: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MOST_REQUESTS", 2)
    for name in ("user/a", "user/b", "user/c"):
        put(databases, hub_server, name, {"config": ["train"]})

    texts = [page("dataset", name=name) for name in ("user/a", "user/b", "user/c")]

    assert ["✓ supported" in text for text in texts] == [True, True, False]
    assert "the console asks it no more than" in texts[-1]


def test_a_new_token_counts_at_once(
    databases: Databases, hub_server: HubServer, page: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(databases, hub_server, "user/data", {"config": ["train"]})
    hub_server.state.tokens = {"new": "user"}

    assert "✓ supported" not in page("dataset", name="user/data")
    forget_answers()
    set_connection(monkeypatch, "huggingface_hub", conn_type="generic", host=hub_server.url, password="new")

    assert "✓ supported" in page("dataset", name="user/data")


@pytest.mark.parametrize("path", ["dataset/names", "dataset/rows", "dataset/artifact"])
def test_data_is_refused_to_who_is_logged_out(api_server: TestClient, path: str) -> None:
    assert api_server.get(f"/datasets-server/{path}?name=a&level=split&kind=b").status_code == 401
