"""Debian's Chromium, driven by Playwright, and a login into Airflow by its form."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

from dev.local_stack.airflow_server import AirflowServer

#: The program; None if it is missing.
CHROMIUM = shutil.which("chromium")
MISSING = "Chromium is missing: apt-get install chromium"


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium, which must not be missing, and stop it at the end."""
    options = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has no sandbox for root.
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=options) as browser,
    ):
        yield browser


def log_in(page: Page, airflow: AirflowServer, user: str) -> None:
    """Log in by Airflow's form, and wait until its navigation shows the console."""
    page.goto(airflow.url)
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(airflow.password)
    page.locator("button[type=submit]").click()
    page.get_by_text("Datasets server").first.wait_for()
