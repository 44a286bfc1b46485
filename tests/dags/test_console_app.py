"""The console within Airflow's API server: who may use it, and what it answers when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from datasets_server.console import lazy_app
from datasets_server.console.charts import LIBRARY
from datasets_server.console.pages import PAGES
from datasets_server.console.views import runs

HTML = {"Accept": "text/html"}


@pytest.mark.parametrize("path", [page.path for page in PAGES])
def test_a_page_tells_who_is_logged_out_to_log_in(api_server: TestClient, path: str) -> None:
    answer = api_server.get(f"/datasets-server/{path}", headers=HTML)

    assert answer.status_code == 401
    assert "Log in to Airflow again." in answer.text


@pytest.mark.parametrize("path", [page.path for page in PAGES])
def test_a_page_is_refused_without_access_to_the_dag_backfill(
    log_in: Callable[[str | None], TestClient], path: str
) -> None:
    # The caller's own query must not choose the DAG that is checked.
    answer = log_in(None).get(f"/datasets-server/{path}?dag_id=skip", headers=HTML)

    assert answer.status_code == 403
    assert "permission to read the DAG backfill" in answer.text


def test_a_script_gets_errors_as_json(api_server: TestClient) -> None:
    answer = api_server.get("/datasets-server/now", headers={"Accept": "application/json"})

    assert answer.status_code == 401
    assert answer.json() == {"error": "You are logged out. Log in to Airflow again."}


def test_each_answer_forbids_scripts_of_others_and_frames_in_others(
    log_in: Callable[[str | None], TestClient],
) -> None:
    for path in ("now", "static/console.css", "no-such-page"):
        policy = log_in("viewer").get(f"/datasets-server/{path}").headers["Content-Security-Policy"]

        assert "default-src 'self'" in policy
        assert "frame-ancestors 'self'" in policy
        assert "unsafe" not in policy


def test_an_error_of_the_console_itself_forbids_the_same(
    log_in: Callable[[str | None], TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "DAGS", None)
    logged_in = log_in("viewer")
    client = TestClient(logged_in.app, raise_server_exceptions=False, cookies=dict(logged_in.cookies))

    answer = client.get("/datasets-server/runs", headers=HTML)

    assert answer.status_code == 500
    assert "The console failed: the API server&#39;s log says why." in answer.text
    assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("runs", "no-store"),
        ("static/console.css", "no-cache"),
        (LIBRARY, "public, max-age=31536000, immutable"),
    ],
)
def test_how_long_a_browser_may_keep_an_answer(
    log_in: Callable[[str | None], TestClient], path: str, kept: str
) -> None:
    answer = log_in("viewer").get(f"/datasets-server/{path}")

    assert answer.headers.get_list("Cache-Control") == [kept]


def test_a_static_file_that_has_not_changed_is_not_sent_again(
    log_in: Callable[[str | None], TestClient],
) -> None:
    path = "/datasets-server/static/console.css"
    tag = log_in("viewer").get(path).headers["ETag"]

    assert log_in("viewer").get(path, headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize(
    ("path", "error"),
    [("none", "There is no such page."), ("dataset/rows?name=a&level=none", "There is no such level.")],
)
def test_what_is_not_found_is_said(log_in: Callable[[str | None], TestClient], path: str, error: str) -> None:
    answer = log_in("viewer").get(f"/datasets-server/{path}")

    assert (answer.status_code, answer.json()) == (404, {"error": error})


def test_a_missing_package_is_named(
    log_in: Callable[[str | None], TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    def console() -> FastAPI:
        raise ModuleNotFoundError("No module named 'cachetools'", name="cachetools")

    monkeypatch.setattr(lazy_app, "_console", console)

    answer = log_in("viewer").get("/datasets-server/now", headers=HTML)

    assert answer.status_code == 503
    assert "needs the package cachetools" in answer.text
    assert "Install requirements.txt where Airflow's API server runs" in answer.text
    assert "Content-Security-Policy" in answer.headers


def test_the_first_page_is_relative_so_that_a_prefix_of_the_address_stays(
    log_in: Callable[[str | None], TestClient],
) -> None:
    answer = log_in("viewer").get("/datasets-server/", follow_redirects=False)

    assert answer.headers["Location"] == "now"


@pytest.mark.parametrize("path", [page.path for page in PAGES if page.path != "runs"])  # It asks Airflow.
def test_a_page_without_a_connection_says_which_one_to_create(
    log_in: Callable[[str | None], TestClient], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_DATASETS_SERVER_CACHE", raising=False)

    answer = log_in("viewer").get(f"/datasets-server/{path}?name=glue", headers=HTML)

    assert answer.status_code == 503
    assert "There is no Connection datasets_server_cache: create it" in answer.text


def test_airflow_lists_the_page_in_its_navigation(log_in: Callable[[str | None], TestClient]) -> None:
    plugins = log_in("admin").get("/api/v2/plugins").json()["plugins"]
    [console] = [plugin for plugin in plugins if plugin["name"] == "datasets_server_console"]
    [view] = console["external_views"]

    assert not view["href"].startswith("/")
    assert view["href"].endswith("/")
    assert view["destination"] == "nav"


def test_the_plugin_loads_neither_the_app_nor_the_databases() -> None:
    """Schedulers and workers import the plugin too."""
    code = (
        "import sys; from airflow.plugins_manager import AirflowPlugin; before = set(sys.modules);"
        " import datasets_server_console;"
        " print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    for package in ("fastapi", "jinja2", "pymongo", "bokeh", "numpy"):
        assert f"'{package}'" not in loaded
