"""The pages Now and Over time, in a browser: what needs somebody, and the charts."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from datasets_server.actions import BACKFILL
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


def test_a_code_leads_to_the_datasets_that_have_it(frame: FrameLocator) -> None:
    table = frame.get_by_role("group", name="Table of the errors by code")
    link = table.get_by_role("link").first
    code = link.inner_text()

    link.click()

    expect(frame.get_by_role("heading", name="Errors").first).to_be_visible()
    expect(frame.locator("main")).to_contain_text(code)


def test_the_charts_over_time_are_drawn_and_have_their_numbers(frame: FrameLocator) -> None:
    frame.get_by_role("link", name="Over time", exact=True).click()

    for span in SPANS:
        frame.get_by_role("link", name=span, exact=True).click()
        expect(frame.get_by_role("link", name=span, exact=True)).to_have_attribute("aria-current", "true")
        charts = frame.locator("[data-chart]")
        expect(charts.first).to_be_visible()
        for chart in charts.all():
            expect(chart.locator("svg")).to_be_visible()

    numbers = frame.get_by_text("Numbers", exact=True).first
    numbers.press("Enter")
    expect(frame.locator("details.numbers").first.get_by_role("cell").first).to_be_visible()
