"""``make pictures``: take the pictures of ``docs/images`` anew, of the sample of ``make run``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page

from datasets_server.actions import BACKFILL
from dev.local_stack.actions import VIEWS
from dev.local_stack.airflow_server import USER, AirflowApi, AirflowServer
from dev.local_stack.browser import CHROMIUM, MISSING, log_in, open_browser
from dev.local_stack.command import fresh_folder, run_command, step
from dev.local_stack.mongod import find_mongod
from dev.local_stack.ports import free_port
from dev.local_stack.process import PROJECT_ROOT
from dev.local_stack.run import CONSOLE, run_action, start_all
from dev.local_stack.sample_incident import GROWING_CODE, SHOWCASE
from include.errors import ConfigurationError

IMAGES = PROJECT_ROOT / "docs" / "images"
THEMES = ("light", "dark")
#: The pages of the console, each with the height of its picture.
PAGES = {
    "now": ("now", 1420),
    "over-time": ("over-time", 1300),
    "runs": ("runs", 1100),
    "dataset": (f"dataset?name={SHOWCASE}", 1300),
    "errors": (f"errors?code={GROWING_CODE}", 900),
}

_DATA = PROJECT_ROOT / ".local" / "pictures"
_WIDTH = 1440
_AIRFLOWS_WIDTH = 1400
#: Airflow's own pages move their parts into place after all is loaded.
_SETTLED_MILLISECONDS = 3_000


def take_pictures(data: Path) -> bool:
    """Start everything, run each action, and take the pictures.

    :param data: the folder of all data; the data of a previous time are removed.
    :return: whether each action succeeded, so that the pictures show what they should.
    :raises ConfigurationError: if Chromium or mongod is missing, or the folder is in use.
    :raises ServiceError: if a server does not start, or ends.
    """
    if CHROMIUM is None:
        raise ConfigurationError(MISSING)
    find_mongod()
    with fresh_folder(data, "airflow", "assets", "mongod", "storage"), ExitStack() as stack:
        airflow, services = start_all(data, free_port(), stack, once=True)
        api = stack.enter_context(airflow.api())
        services.introduce(api)
        outcomes = [run_action(api, dag_id, view) for dag_id, view in VIEWS.items()]
        browser = stack.enter_context(open_browser())
        with step("Pictures of Airflow's pages taken"):
            _picture_airflow(browser, airflow, api)
        services.let_something_happen()
        services.let_a_run_wait(api)
        for theme in THEMES:
            with step(f"Pictures of the console taken, {theme}"):
                _picture_console(browser, airflow, theme)
    return all(outcomes)


def _picture_airflow(browser: Browser, airflow: AirflowServer, api: AirflowApi) -> None:
    """Take the graph of the DAG ``backfill``, and its run with the report's log."""
    [run] = api.runs(BACKFILL.id, "manual")
    task = f"dags/{BACKFILL.id}/runs/{run['dag_run_id']}/tasks/report"
    with _logged_in(browser, airflow, "light", _AIRFLOWS_WIDTH) as context:
        page = context.new_page()
        page.add_init_script("""localStorage.setItem('default_dag_view', '"graph"')""")
        _show(page, f"{airflow.url}/dags/{BACKFILL.id}", 500)
        page.screenshot(path=IMAGES / "dag-graph.png")
        page = context.new_page()
        page.add_init_script("""localStorage.setItem('default_dag_view', '"grid"')""")
        _show(page, f"{airflow.url}/{task}", 820)
        page.screenshot(path=IMAGES / "finished-run.png")


def _picture_console(browser: Browser, airflow: AirflowServer, theme: str) -> None:
    with _logged_in(browser, airflow, theme, _WIDTH) as context:
        page = context.new_page()
        for name, (path, height) in PAGES.items():
            _show(page, f"{airflow.url}/{CONSOLE}/datasets-server/{path}", height)
            page.frame_locator("iframe").locator("h1").wait_for()
            page.screenshot(path=IMAGES / f"console-{name}-{theme}.png")


@contextmanager
def _logged_in(browser: Browser, airflow: AirflowServer, theme: str, width: int) -> Iterator[BrowserContext]:
    """Open a context whose user has logged in by Airflow's form and chosen a theme."""
    with browser.new_context(viewport={"width": width, "height": 900}) as context:
        context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        with context.new_page() as page:
            log_in(page, airflow, USER)
        yield context


def _show(page: Page, address: str, height: int) -> None:
    page.set_viewport_size({"width": (page.viewport_size or {"width": _WIDTH})["width"], "height": height})
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(_SETTLED_MILLISECONDS)


def main() -> None:
    """Run from the command line; the exit code is 0 if the pictures were taken."""
    sys.exit(run_command(partial(take_pictures, _DATA)))


if __name__ == "__main__":
    main()
