"""The console asks Airflow for runs, triggers them and answers their questions, in a browser."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import FrameLocator, Locator, Page, expect

from datasets_server.actions import BACKFILL, COLLECT_QUEUE_METRICS, POST_MESSAGES, RESTORE_DATASETS, SKIP
from dev.local_stack.airflow_server import USER, AirflowApi

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RUN_MILLISECONDS = 120_000
#: A name that may be typed into the form, and would do harm as markup.
HOSTILE = "<img/src=x/onerror=document.title='harmed'>"


@pytest.fixture
def open_tab(console: Page) -> Callable[[str], FrameLocator]:
    """Open a page of the console by its tab, and return the frame."""

    def open_tab(title: str) -> FrameLocator:
        frame = console.frame_locator("iframe")
        frame.get_by_role("link", name=title, exact=True).click()
        expect(frame.get_by_role("heading", name=title, exact=True)).to_be_visible()
        return frame

    return open_tab


def trigger(frame: FrameLocator, dag_id: str) -> None:
    """Agree in the dialog that is open."""
    dialog = frame.get_by_role("dialog", name=f"Trigger {dag_id}")
    dialog.get_by_role("button", name="Trigger", exact=True).click()
    expect(frame.get_by_text(f"{dag_id} was triggered")).to_be_visible()


def last_run(frame: FrameLocator, dag_id: str) -> Locator:
    return frame.get_by_role("region", name=dag_id, exact=True).get_by_role("listitem").first


def wait_for_question(airflow_api: AirflowApi, run_id: str) -> None:
    """Wait until the run of ``backfill`` asks a person."""
    deadline = time.monotonic() + RUN_MILLISECONDS / 1000
    while "awaiting_input" not in [task["state"] for task in airflow_api.tasks(BACKFILL.id, run_id)]:
        assert time.monotonic() < deadline
        time.sleep(1)


def newest(airflow_api: AirflowApi, dag_id: str) -> dict[str, Any]:
    return max(airflow_api.runs(dag_id, "manual"), key=lambda run: run["run_after"])


def test_a_run_that_is_triggered_shows_what_it_did(open_tab: Callable[[str], FrameLocator]) -> None:
    frame = open_tab("Runs")

    frame.get_by_role("button", name=f"Trigger {COLLECT_QUEUE_METRICS.id}", exact=True).click()
    trigger(frame, COLLECT_QUEUE_METRICS.id)

    run = last_run(frame, COLLECT_QUEUE_METRICS.id)
    expect(run).to_contain_text(re.compile(r"Counted [\d,]+ queue jobs in"), timeout=RUN_MILLISECONDS)
    expect(run).to_contain_text("success")
    expect(run).to_contain_text(f"by hand by {USER}")


def test_a_run_is_repeated_with_its_parameters(
    open_tab: Callable[[str], FrameLocator], airflow_api: AirflowApi
) -> None:
    parameters: dict[str, Any] = {"dry_run": True, "datasets": ["squad", "user/*"], "removal_limit": 7}
    run_id = airflow_api.trigger(BACKFILL.id, **parameters)
    for _ in airflow_api.while_running(BACKFILL.id, run_id, timeout=RUN_MILLISECONDS / 1000):
        pass
    frame = open_tab("Runs")
    run = last_run(frame, BACKFILL.id)
    expect(run).to_contain_text("dry run")
    expect(run).to_contain_text("Would have done:")

    run.get_by_role("button", name="Trigger again").click()
    dialog = frame.get_by_role("dialog")
    expect(dialog.get_by_label("Datasets", exact=True)).to_have_value("squad\nuser/*")
    expect(dialog.get_by_label("Dry run")).to_be_checked()
    trigger(frame, BACKFILL.id)

    again = newest(airflow_api, BACKFILL.id)
    assert again["dag_run_id"] != run_id
    assert again["conf"] == parameters


def test_a_range_of_dates_gets_a_run_for_each_interval(
    open_tab: Callable[[str], FrameLocator], airflow_api: AirflowApi
) -> None:
    frame = open_tab("Runs")

    frame.get_by_role("button", name=f"Backfill {POST_MESSAGES.id} by date range").click()
    dialog = frame.get_by_role("dialog", name=f"Backfill {POST_MESSAGES.id} by date range")
    dialog.get_by_label("From (UTC)").fill("2026-03-02T00:00:00")
    dialog.get_by_label("To (UTC)").fill("2026-03-03T23:00:00")
    dialog.get_by_label("Dry run").check()
    create = dialog.get_by_role("button", name="Create the runs")
    create.click()

    created = frame.get_by_text(f"The runs of {POST_MESSAGES.id} were created")
    expect(created.or_(dialog.get_by_role("alert")).first).to_be_visible()
    if not created.is_visible():  # While tasks write, Airflow may find its SQLite database locked.
        create.click()
    expect(created).to_be_visible()
    runs = airflow_api.runs(POST_MESSAGES.id, "backfill")
    assert [run["data_interval_start"][:10] for run in runs] == ["2026-03-02", "2026-03-03"]
    assert all(run["conf"] == {"dry_run": True} for run in runs)


def test_a_person_answers_the_question_of_a_run(
    open_tab: Callable[[str], FrameLocator], airflow_api: AirflowApi
) -> None:
    restored = airflow_api.trigger(RESTORE_DATASETS.id, datasets=["*"])
    for _ in airflow_api.while_running(RESTORE_DATASETS.id, restored, timeout=RUN_MILLISECONDS / 1000):
        pass
    run_id = airflow_api.trigger(BACKFILL.id, removal_limit=0)
    wait_for_question(airflow_api, run_id)

    frame = open_tab("Now")
    question = frame.get_by_role("heading", name=re.compile(r"Remove \d+ datasets"))
    expect(question).to_be_visible()
    expect(frame.get_by_text("squad: it is not found on the Hub").first).to_be_attached()
    frame.get_by_role("button", name="Reject…").click()
    frame.get_by_role("dialog", name="Reject?").get_by_role("button", name="Cancel").click()
    expect(question).to_be_visible()
    frame.get_by_role("button", name="Reject…").click()
    frame.get_by_role("dialog", name="Reject?").get_by_role("button", name="Reject", exact=True).click()
    expect(question).not_to_be_visible()

    frame = open_tab("Runs")
    decision = re.compile(f"{USER} rejected the removal of \\d+ datasets: none was removed")
    expect(last_run(frame, BACKFILL.id)).to_contain_text(decision, timeout=RUN_MILLISECONDS)


def test_the_form_shows_what_airflow_refuses(open_tab: Callable[[str], FrameLocator]) -> None:
    frame = open_tab("Runs")

    frame.get_by_role("button", name=f"Trigger {RESTORE_DATASETS.id}", exact=True).click()
    dialog = frame.get_by_role("dialog")
    dialog.get_by_role("button", name="Trigger", exact=True).click()

    expect(dialog.get_by_role("alert")).to_contain_text(
        f"Airflow refused to trigger the DAG {RESTORE_DATASETS.id}"
    )


def test_parameters_of_a_run_are_never_markup(
    console: Page, open_tab: Callable[[str], FrameLocator], airflow_api: AirflowApi
) -> None:
    run_id = airflow_api.trigger(BACKFILL.id, dry_run=True, datasets=[HOSTILE])
    for _ in airflow_api.while_running(BACKFILL.id, run_id, timeout=RUN_MILLISECONDS / 1000):
        pass
    frame = open_tab("Runs")

    run = last_run(frame, BACKFILL.id)
    run.get_by_text("Report", exact=True).click()
    expect(run.locator("pre")).to_contain_text(HOSTILE)
    run.get_by_role("button", name="Trigger again").click()

    expect(frame.get_by_role("dialog").get_by_label("Datasets", exact=True)).to_have_value(HOSTILE)
    assert frame.locator("img").count() == 0
    assert "harmed" not in console.title()


def test_who_is_logged_out_is_told_to_log_in(console: Page, open_tab: Callable[[str], FrameLocator]) -> None:
    frame = open_tab("Runs")
    console.context.clear_cookies()

    frame.get_by_role("button", name=f"Trigger {SKIP.id}", exact=True).click()

    notice = frame.get_by_role("alert").first  # The page's own refresh may say so too.
    expect(notice).to_contain_text("You are logged out: log in to Airflow again.")
    expect(notice.get_by_role("link", name="Log in").first).to_be_visible()
