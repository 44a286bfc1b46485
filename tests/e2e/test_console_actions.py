"""What an operator does in the console: backfills, refreshes, approves; and what the console refuses."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import FrameLocator, Page, expect
from pymongo import MongoClient

from datasets_server.actions import BACKFILL, REFRESH_DATASETS
from dev.local_stack.airflow_server import USER, VIEWER, AirflowApi
from dev.local_stack.configuration import CACHE_DATABASE, QUEUE_DATABASE
from dev.local_stack.documents import CACHE, JOBS, Shape, as_error, up_to_date_entries, utc_now
from dev.local_stack.sample_incident import GROWING_CODE, LOST, SHOWCASE
from include.planning.processing_graph import load_release
from tests.e2e.conftest import Stack, settle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RUN_MILLISECONDS = 120_000
#: It would change the title of the window if it ran.
HOSTILE = "evil/<img src=x onerror=top.document.title='harmed'>"
UP_TO_DATE = "museum-archive/Instructions"

Document = dict[str, Any]


@pytest.fixture
def databases(stack: Stack) -> Iterator[MongoClient[Document]]:
    with MongoClient[Document](stack.services.mongod.uri) as client:
        yield client


def pending(databases: MongoClient[Document], name: str) -> list[str]:
    return sorted(job["type"] for job in databases[QUEUE_DATABASE][JOBS].find({"dataset": name}))


def open_dataset(page: Page, stack: Stack, name: str) -> FrameLocator:
    page.goto(f"{stack.console}/datasets-server/dataset?name={quote(name, safe='')}")
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", level=1)).to_contain_text(name)
    return frame


def wait_for(is_true: Any, seconds: float = RUN_MILLISECONDS / 1000) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_dataset_is_backfilled_from_its_page_and_its_page_shows_the_jobs(
    console: Page, stack: Stack, databases: MongoClient[Document]
) -> None:
    before = pending(databases, SHOWCASE)
    frame = open_dataset(console, stack, SHOWCASE)
    expect(frame.locator("main")).to_contain_text("creates 4 jobs")

    frame.get_by_role("button", name="Backfill this dataset now").click()
    dialog = frame.get_by_role("dialog", name=f"Trigger {BACKFILL.id}")
    expect(dialog.get_by_label("Datasets", exact=True)).to_have_value(SHOWCASE)
    dialog.get_by_role("button", name="Trigger", exact=True).click()

    expect(frame.get_by_text(f"{BACKFILL.id} was triggered")).to_be_visible()
    wait_for(lambda: len(pending(databases, SHOWCASE)) == len(before) + 4)
    frame = open_dataset(console, stack, SHOWCASE)
    expect(frame.locator("#jobs")).to_contain_text("dataset-size")
    expect(frame.locator("main")).to_contain_text("waits in the queue")


def test_a_step_that_is_up_to_date_is_refreshed_from_the_page(
    console: Page, stack: Stack, databases: MongoClient[Document]
) -> None:
    frame = open_dataset(console, stack, UP_TO_DATE)
    expect(frame.locator("#jobs")).to_contain_text("There are none.")

    frame.get_by_role("button", name="Recompute…").click()
    dialog = frame.get_by_role("dialog")
    expect(dialog.get_by_label("Datasets", exact=True)).to_have_value(UP_TO_DATE)
    dialog.get_by_label("Steps", exact=True).select_option("dataset-info")
    dialog.get_by_role("button", name="Trigger", exact=True).click()

    expect(frame.get_by_text(f"{REFRESH_DATASETS.id} was triggered")).to_be_visible()
    wait_for(lambda: pending(databases, UP_TO_DATE) == ["dataset-info"])
    console.goto(f"{stack.console}/datasets-server/runs?action={REFRESH_DATASETS.id}")
    run = console.frame_locator("iframe").get_by_role("listitem").first
    expect(run).to_contain_text("1 dataset refreshed, 1 job created")


def test_exactly_the_entries_that_are_chosen_are_retried(
    console: Page, stack: Stack, databases: MongoClient[Document]
) -> None:
    console.goto(f"{stack.console}/datasets-server/errors?code={GROWING_CODE}&step=split-first-rows")
    frame = console.frame_locator("iframe")
    boxes = frame.locator("input.artifact")
    chosen = [json.loads(boxes.nth(number).get_attribute("value") or "") for number in (0, 3)]
    for number in (0, 3):
        boxes.nth(number).check()

    frame.get_by_role("button", name="Retry all that match…").click()
    dialog = frame.get_by_role("dialog", name=f"Trigger {REFRESH_DATASETS.id}")
    wanted = dialog.get_by_label("Artifacts", exact=True).input_value().splitlines()
    entries = {"error_code": GROWING_CODE, "kind": "split-first-rows"}
    assert len(wanted) == databases[CACHE_DATABASE][CACHE].count_documents(entries) > boxes.count()
    dialog.get_by_role("button", name="Cancel").click()

    frame.get_by_role("button", name="Retry the chosen 2…").click()
    dialog.get_by_role("button", name="Trigger", exact=True).click()

    expect(frame.get_by_text(f"{REFRESH_DATASETS.id} was triggered")).to_be_visible()
    jobs = databases[QUEUE_DATABASE][JOBS]
    query = {"type": "split-first-rows", "dataset": {"$in": [dataset for dataset, *_ in chosen]}}
    wait_for(lambda: jobs.count_documents(query) == 2)
    found = [[job["dataset"], job["type"], job["config"], job["split"]] for job in jobs.find(query)]
    assert sorted(found) == sorted(chosen)


def test_removals_are_approved_on_the_first_page(
    console: Page, stack: Stack, airflow_api: AirflowApi, databases: MongoClient[Document]
) -> None:
    run_id = stack.services.let_a_run_wait(airflow_api)
    tasks = airflow_api.tasks
    wait_for(lambda: "awaiting_input" in [task["state"] for task in tasks(BACKFILL.id, run_id)])
    console.goto(stack.console)
    frame = console.frame_locator("iframe")
    expect(frame.locator(".approvals")).to_contain_text(LOST[0])

    frame.get_by_role("button", name="Approve…").click()
    frame.get_by_role("dialog").get_by_role("button", name="Approve", exact=True).click()

    entries = databases[CACHE_DATABASE][CACHE]
    wait_for(lambda: not entries.count_documents({"dataset": {"$in": list(LOST)}}))
    frame = open_dataset(console, stack, LOST[0])
    expect(frame.locator("main")).to_contain_text("not found on the Hub")
    for _ in airflow_api.while_running(BACKFILL.id, run_id, timeout=RUN_MILLISECONDS / 1000):
        pass
    assert airflow_api.run(BACKFILL.id, run_id)["state"] == "success"


def test_who_may_only_look_is_told_which_permission_is_missing(context_of: Any, stack: Stack) -> None:
    page: Page = context_of(VIEWER).new_page()
    frame = open_dataset(page, stack, UP_TO_DATE)

    frame.get_by_role("button", name="Backfill this dataset now").click()
    frame.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True).click()

    expect(frame.get_by_role("alert")).to_contain_text(
        re.compile(f"permission to trigger the DAG {BACKFILL.id}", re.IGNORECASE)
    )


def test_a_task_in_airflow_links_to_its_dataset_in_the_console(
    console: Page, stack: Stack, airflow_api: AirflowApi
) -> None:
    run_id = airflow_api.trigger(BACKFILL.id, dry_run=True, datasets=[UP_TO_DATE])
    for _ in airflow_api.while_running(BACKFILL.id, run_id, timeout=RUN_MILLISECONDS / 1000):
        pass
    run = quote(run_id, safe="")
    console.goto(f"{stack.airflow.url}/dags/{BACKFILL.id}/runs/{run}/tasks/find_work/details")

    console.get_by_role("link", name="Console", exact=True).click()

    frame = console.frame_locator("iframe")
    expect(frame.get_by_role("heading", level=1)).to_contain_text(UP_TO_DATE)


def test_airflows_audit_log_names_who_acts_in_the_console(stack: Stack) -> None:
    """Run after the tests above: the browser asks Airflow as the user, so Airflow writes it down."""
    events = stack.api.event_logs(BACKFILL.id)

    assert (USER, "trigger_dag_run") in {(event["owner"], event["event"]) for event in events}


def shows(page: Page, address: str, text: str) -> bool:
    """Open a page of the console, and tell whether it shows a text. Its answers are kept for ten seconds."""
    page.goto(address)
    main = page.frame_locator("iframe").locator("main")
    expect(main.get_by_role("heading", level=1)).to_be_visible()
    settle(page)
    return text in main.inner_text()


@pytest.fixture
def hostile(stack: Stack, databases: MongoClient[Document]) -> Iterator[str]:
    """A dataset all of whose names are markup."""
    release = load_release()
    entries = up_to_date_entries(
        release, Shape(HOSTILE, "f" * 40, {HOSTILE: (HOSTILE,)}), utc_now() - timedelta(days=1)
    )
    as_error(entries[-1], HOSTILE, failed_runs=1)
    cache = databases[CACHE_DATABASE]
    cache[CACHE].insert_many(entries)
    cache["cacheTotalMetric"].insert_one(
        {"kind": entries[-1]["kind"], "http_status": 500, "error_code": HOSTILE, "total": 500}
    )
    yield HOSTILE
    cache[CACHE].delete_many({"dataset": HOSTILE})
    cache["cacheTotalMetric"].delete_many({"error_code": HOSTILE})


def test_no_name_from_the_databases_is_markup_on_any_page(console: Page, stack: Stack, hostile: str) -> None:
    name = quote(hostile, safe="")
    for path in ("now", "over-time", f"dataset?name={name}", "errors", f"errors?code={name}"):
        frame = console.frame_locator("iframe")
        wait_for(lambda path=path: shows(console, f"{stack.console}/datasets-server/{path}", "onerror="), 60)
        assert frame.locator("img").count() == 0, path
        assert "harmed" not in console.title(), path

    frame = open_dataset(console, stack, hostile)
    frame.get_by_role("gridcell").first.click()
    expect(frame.locator("#artifact")).to_be_visible()
    frame.get_by_label("Dataset", exact=True).fill("evil/")
    expect(frame.get_by_role("option").first).to_contain_text("onerror")
    assert frame.locator("img").count() == 0
    assert "harmed" not in console.title()
