"""A running Airflow with the console, and a browser that looks at it.

``console`` is the browser's page, on the console, after a real login; its pages are in the frame that
``frame`` returns. ``airflow_api`` asks the same Airflow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from datasets_server.actions import DAGS
from dev.local_stack.airflow_server import USER, VIEWER, AirflowApi, AirflowServer
from dev.local_stack.browser import CHROMIUM, MISSING, log_in, open_browser
from dev.local_stack.ports import HOST, free_port
from dev.local_stack.run import CONSOLE, Services, start_all

#: Two Airflows and a browser share the cores of the tests.
SLOWEST_MILLISECONDS = 60_000
expect.set_options(timeout=SLOWEST_MILLISECONDS)


@dataclass(frozen=True)
class Stack:
    """The running Airflow, and its services with the sample of ``make run``."""

    airflow: AirflowServer
    services: Services
    api: AirflowApi

    @property
    def console(self) -> str:
        """The address of the console within Airflow."""
        return f"{self.airflow.url}/{CONSOLE}"


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(MISSING)
    with open_browser() as browser:
        yield browser


# Not of the session: a running Airflow would slow down the tests of other folders.
@pytest.fixture(scope="package")
def stack(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("console")
    with ExitStack() as opened:
        airflow, services = start_all(data, free_port(), opened, once=True)
        api = opened.enter_context(airflow.api())
        services.introduce(api)
        services.let_something_happen()
        for dag in DAGS:
            api.wait_for_dag(dag.id)
        yield Stack(airflow, services, api)


@pytest.fixture(scope="package")
def airflow_api(stack: Stack) -> AirflowApi:
    return stack.api


def settle(page: Page) -> None:
    """Wait until all is loaded. On a busy machine, what polls may leave no pause."""
    with suppress(PlaywrightTimeoutError):
        page.wait_for_load_state("networkidle", timeout=10_000)


@pytest.fixture(scope="package")
def logged_in(browser: Browser, stack: Stack) -> dict[str, StorageState]:
    """The cookies of each user, after a login by Airflow's form."""
    states = {}
    for user in (USER, VIEWER):
        with browser.new_context() as context:
            context.set_default_timeout(SLOWEST_MILLISECONDS)
            log_in(context.new_page(), stack.airflow, user)
            states[user] = context.storage_state()
    return states


@pytest.fixture
def context_of(
    browser: Browser, stack: Stack, logged_in: dict[str, StorageState], request: pytest.FixtureRequest
) -> Iterator[Any]:
    """Open a browser context for a user; at its end, check that it has asked no other host."""
    contexts: list[BrowserContext] = []
    asked: set[str | None] = set()

    def open_context(user: str = USER, **options: Any) -> BrowserContext:
        context = browser.new_context(storage_state=logged_in[user], **options)
        context.set_default_timeout(SLOWEST_MILLISECONDS)
        context.on("request", lambda asking: asked.add(urlsplit(asking.url).hostname))
        contexts.append(context)
        return context

    yield open_context
    for context in contexts:
        context.close()
    assert asked <= {HOST, None}, "None is the host of a blob: or data: address."


@pytest.fixture
def console(context_of: Any, stack: Stack) -> Page:
    page: Page = context_of(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(stack.console)
    expect(page.frame_locator("iframe").get_by_role("heading", level=1)).to_be_visible()
    return page
