"""The console in a browser, within Airflow: found, read, styled, reached by keyboard, and refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Frame, FrameLocator, Page, expect

from dev.local_stack.airflow_server import USER, AirflowServer
from dev.local_stack.browser import log_in
from dev.local_stack.sample_incident import GROWING_CODE, SHOWCASE
from tests.e2e.conftest import SLOWEST_MILLISECONDS, Stack, settle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: What each page shows of the sample.
SHOWN = {
    "now": GROWING_CODE,
    "over-time": "Error codes that grew most",
    "runs": "collect-queue-metrics",
    f"dataset?name={SHOWCASE}": SHOWCASE,
    f"errors?code={GROWING_CODE}": GROWING_CODE,
    "dataset": "Name of a dataset",
    "errors": GROWING_CODE,
}
#: More than any page has.
MOST_CONTROLS = 400


def frame_of(page: Page) -> Frame:
    """The frame of the console, which Airflow shows."""
    frame = page.locator("iframe").element_handle().content_frame()
    assert frame is not None
    return frame


def open_page(page: Page, stack: Stack, path: str) -> FrameLocator:
    """Open a page of the console by its address within Airflow."""
    page.goto(f"{stack.console}/datasets-server/{path}")
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", level=1)).to_be_visible()
    return frame


def test_the_console_opens_from_the_navigation(context_of: Any, stack: Stack) -> None:
    page: Page = context_of().new_page()
    page.goto(stack.airflow.url)
    page.get_by_role("link", name="Datasets server").click()

    expect(page.frame_locator("iframe").get_by_role("heading", name="Now", exact=True)).to_be_visible()


@pytest.mark.parametrize(("path", "text"), SHOWN.items())
def test_a_page_has_an_address_within_airflow(console: Page, stack: Stack, path: str, text: str) -> None:
    errors: list[str] = []
    console.on("pageerror", lambda error: errors.append(str(error)))
    console.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)

    frame = open_page(console, stack, path)

    expect(frame.locator("main")).to_contain_text(text)
    settle(console)
    assert [error for error in errors if "datasets-server" in error or "Content Security" in error] == []


def test_airflows_address_follows_the_pages_of_the_console(console: Page) -> None:
    frame = console.frame_locator("iframe")
    frame.get_by_label("Dataset", exact=True).fill(SHOWCASE)
    frame.get_by_role("button", name="Show", exact=True).first.click()
    expect(frame.get_by_role("heading", name=SHOWCASE)).to_be_visible()
    expect(console).to_have_url(re.compile("/datasets-server/datasets-server/dataset"))

    console.reload()

    expect(console.frame_locator("iframe").get_by_role("heading", name=SHOWCASE)).to_be_visible()


def test_nothing_covers_what_the_page_tells_about_an_artifact(console: Page, stack: Stack) -> None:
    frame = open_page(console, stack, f"dataset?name={SHOWCASE}")
    frame.locator("button[data-kind='split-first-rows']").first.click()
    expect(frame.locator("#artifact-title")).to_be_visible()

    is_on_top = """panel => [...panel.querySelectorAll("h3, dt")].every(part => {
        part.scrollIntoView({ block: "nearest" });
        const { left, top, height } = part.getBoundingClientRect();
        return panel.contains(document.elementFromPoint(left + 2, top + height / 2));
    })"""
    assert frame.locator("#artifact").evaluate(is_on_top)


def test_a_link_to_airflow_leaves_the_frame(console: Page, stack: Stack) -> None:
    frame = open_page(console, stack, "runs")

    frame.get_by_role("link", name="The DAG backfill and its documentation").click()

    expect(console).to_have_url(re.compile(r"/dags/backfill/?$"))
    expect(console.locator("iframe")).to_have_count(0)


def test_the_theme_follows_airflows_switch(console: Page) -> None:
    root = console.frame_locator("iframe").locator("html")
    expect(root).to_have_attribute("data-theme", "light")

    choose_theme(console, "dark")

    expect(root).to_have_attribute("data-theme", "dark")
    bright = "getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"
    assert int(frame_of(console).evaluate(bright)) < 60
    choose_theme(console, "light")
    expect(root).to_have_attribute("data-theme", "light")


def choose_theme(page: Page, theme: str) -> None:
    page.get_by_role("button", name="User").click()
    page.get_by_role("menuitem", name="Appearance").click()
    page.get_by_role("menuitemradio", name=re.compile(theme, re.IGNORECASE)).click()


def test_who_is_logged_out_is_told_so_by_the_page(console: Page) -> None:
    console.context.clear_cookies()
    frame = console.frame_locator("iframe")

    frame.get_by_role("link", name="Over time", exact=True).click()

    expect(frame.locator("main")).to_contain_text("Log in to Airflow again.")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", SHOWN)
def test_axe_finds_nothing_that_keeps_people_from_a_page(
    context_of: Any, stack: Stack, path: str, theme: str
) -> None:
    context = context_of(viewport={"width": 1440, "height": 900})
    context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
    page = context.new_page()
    open_page(page, stack, path)
    settle(page)

    found = Axe().run(frame_of(page))

    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("path", SHOWN)
def test_the_keyboard_reaches_each_control_and_its_focus_is_seen(
    console: Page, stack: Stack, path: str
) -> None:
    open_page(console, stack, path)
    settle(console)
    frame = frame_of(console)
    frame.evaluate(MARK_CONTROLS)
    frame.locator(".skip").focus()

    reached = {control["number"]: control["seen"] for control in by_tab(console, frame)}

    missed = frame.evaluate(
        "reached => [...document.querySelectorAll('[data-control]')]"
        ".filter(each => !reached.includes(each.dataset.control)).map(each => each.outerHTML)",
        list(reached),
    )
    assert missed == []
    assert all(reached.values()), [number for number, seen in reached.items() if not seen]


#: Numbers what a person can use. Of the choices of a group of radio buttons, Tab reaches one.
MARK_CONTROLS = """() => {
  const controls = document.querySelectorAll("a[href], button, input, select, textarea, summary");
  [...controls]
    .filter(each => each.checkVisibility() && !each.disabled && each.type !== "radio" && each.tabIndex >= 0)
    .forEach((each, number) => { each.dataset.control = number; });
}"""
#: The control that has the focus, and whether that is seen.
FOCUSED = """() => {
  const focused = document.activeElement;
  const style = getComputedStyle(focused);
  return {
    number: focused.dataset.control ?? null,
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none",
  };
}"""


def by_tab(page: Page, frame: Frame) -> Iterator[dict[str, Any]]:
    """Go through the controls of the frame with Tab."""
    for _ in range(MOST_CONTROLS):
        focused = frame.evaluate(FOCUSED)
        if focused["number"] is not None:
            yield focused
        page.keyboard.press("Tab")
        if not frame.evaluate("document.hasFocus() && document.activeElement !== document.body"):
            return


@pytest.mark.parametrize("path", SHOWN)
def test_a_page_fits_a_phone(context_of: Any, stack: Stack, path: str) -> None:
    page: Page = context_of(viewport={"width": 390, "height": 844}).new_page()
    page.goto(f"{stack.airflow.url}/datasets-server/{path}")
    settle(page)

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_console_works_below_a_prefix(
    context_of: Any, browser: Any, stack: Stack, tmp_path: Path
) -> None:
    """Airflow is mounted below the path of ``[api] base_url``."""
    airflow = AirflowServer(
        tmp_path / "airflow", log_folder=tmp_path / "logs", triggerer=False, prefix="/of/us"
    )
    airflow.migrate()
    try:
        airflow.start()
        with browser.new_context() as context:
            context.set_default_timeout(SLOWEST_MILLISECONDS)
            page = context.new_page()
            log_in(page, airflow, USER)
            page.get_by_role("link", name="Datasets server").click()
            frame = page.frame_locator("iframe")
            frame.get_by_role("link", name="Runs", exact=True).click()
            expect(frame.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
            frame.get_by_role("link", name="The DAG backfill and its documentation").click()
            expect(page).to_have_url(re.compile(r"/of/us/dags/backfill/?$"))
    finally:
        airflow.stop()
