"""The pages Now and Over time, in a browser: what needs somebody, and the charts."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import FrameLocator, Page, Route, expect

from datasets_server.actions import BACKFILL
from dev.local_stack.sample_incident import GROWING_CODE
from include.console.over_time import SPANS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def frame(console: Page) -> FrameLocator:
    return console.frame_locator("iframe")


def test_now_says_what_needs_somebody_and_whether_maintenance_runs(frame: FrameLocator) -> None:
    expect(frame.get_by_role("heading", name="Now", exact=True)).to_be_visible()
    findings = frame.get_by_role("region", name="What to know")
    expect(findings.get_by_role("listitem").first).to_be_visible()

    maintenance = frame.get_by_role("region", name="Maintenance", exact=True)

    expect(maintenance.get_by_role("row", name=re.compile(f"^{BACKFILL.id} "))).to_be_visible()


def test_a_page_that_cannot_be_refreshed_no_longer_says_that_all_is_well(
    console: Page, frame: FrameLocator
) -> None:
    expect(frame.locator("#verdict")).not_to_be_empty()

    console.route(re.compile("/datasets-server/now$"), lambda route: route.fulfill(status=503))

    expect(frame.get_by_text("Not refreshed: the answer was 503.")).to_be_visible()
    expect(frame.locator("#verdict")).to_have_text(re.compile("not known|something is wrong"))


def test_the_page_does_not_call_itself_newer_than_its_oldest_part(console: Page, frame: FrameLocator) -> None:
    as_of = frame.locator("#shown-at time")
    link = frame.get_by_role("group", name="Table of the errors by code").get_by_role("link").first
    before = as_of.get_attribute("datetime")
    link.focus()

    console.route(re.compile("/datasets-server/now$"), change_a_code)
    refresh(console)
    assert as_of.get_attribute("datetime") == before

    link.blur()
    refresh(console)
    assert as_of.get_attribute("datetime") != before
    expect(frame.get_by_role("link", name="AnotherError").first).to_be_visible()


def change_a_code(route: Route) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace(GROWING_CODE, "AnotherError"))


def refresh(console: Page) -> None:
    """Refresh the page in the frame, as it does by itself."""
    script = "import(new URL('static/console.js', document.baseURI)).then((console) => console.refresh())"
    console.frames[-1].evaluate(script)


def test_a_code_leads_to_the_datasets_that_have_it(frame: FrameLocator) -> None:
    table = frame.get_by_role("group", name="Table of the errors by code")
    link = table.get_by_role("link").first
    code = link.inner_text()

    link.click()

    expect(frame.get_by_role("heading", level=1, name=code)).to_be_visible()


def test_the_charts_over_time_are_drawn_and_have_their_numbers(frame: FrameLocator) -> None:
    frame.get_by_role("link", name="Over time", exact=True).click()

    for span in SPANS:
        frame.get_by_role("link", name=span, exact=True).click()
        expect(frame.get_by_role("link", name=span, exact=True)).to_have_attribute("aria-current", "true")
        charts = frame.locator("[data-chart]")
        expect(charts.first).to_be_visible()
        for chart in charts.all():
            expect(chart.locator("svg")).to_be_visible()
        line = frame.locator("[data-chart*='/errors'] .mark-line path").first.bounding_box()
        assert line is not None
        assert line["width"] > (50 if span in ("24h", "7d") else 0)

    numbers = frame.get_by_text("Numbers", exact=True).first
    numbers.press("Enter")
    expect(frame.locator("details.numbers").first.get_by_role("cell").first).to_be_visible()
