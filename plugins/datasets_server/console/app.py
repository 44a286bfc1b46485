"""The FastAPI app of the console: who may use it, how much of the API server it may take, and its errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from importlib import import_module
from pathlib import Path

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException

from datasets_server.actions import BACKFILL
from datasets_server.console.answers import BUSY, LONGEST_WAIT_SECONDS, start_to_forget
from datasets_server.console.charts import chart_assets
from datasets_server.console.pages import PAGES, error_page
from include.errors import ConfigurationError, ServiceError

#: At the same time, for all users. Each takes one of the API server's 40 threads, from the time when its view
#: begins until it has returned, also while it waits for a turn to compute or for another's answer. All others
#: wait without a thread: the tasks of all DAGs send their heartbeats to this server.
REQUESTS_AT_ONCE = 16

_STATIC = Path(__file__).with_name("static")

logger = logging.getLogger(__name__)


def create_app() -> FastAPI:
    """Return the app. Who may read the DAG ``backfill`` may read all of it but the static files."""
    may_read = Depends(requires_access_dag("GET", param_dag_id=BACKFILL.id))
    app = FastAPI(
        title="Datasets server",
        # The second one's scope ends before an answer is sent: a slow reader keeps nobody waiting.
        dependencies=[may_read, Depends(_one_of_few(), scope="function")],
        openapi_url=None,  # Its addresses are those of pages, which may change.
    )
    app.mount("/static", StaticFiles(directory=_STATIC))
    app.get("/", include_in_schema=False)(_first_page)
    for page in PAGES:
        app.include_router(import_module(f"datasets_server.console.views.{page.module}").router)
    app.include_router(chart_assets())
    start_to_forget()
    _explain_errors(app)
    return app


def _first_page() -> RedirectResponse:
    return RedirectResponse(PAGES[0].path)


def _one_of_few() -> Callable[[], AsyncIterator[None]]:
    """Return a dependency that lets few requests have a thread at the same time."""
    threads = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def thread() -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                await threads.acquire()
        except TimeoutError:
            raise ServiceError(BUSY) from None
        try:
            yield
        finally:
            threads.release()

    return thread


# Errors


def _explain_errors(app: FastAPI) -> None:
    """Answer each error with a page that says what to do."""
    handlers: dict[type[Exception], Callable[..., Response]] = {
        StarletteHTTPException: _refused,
        RequestValidationError: _invalid,
        ConfigurationError: _unavailable,
        ServiceError: _unavailable,
        Exception: _failed,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _refused(request: Request, error: StarletteHTTPException) -> Response:
    return error_page(request, error.status_code, _why_refused(error))


def _why_refused(error: StarletteHTTPException) -> str:
    match error.status_code, error.detail:
        case HTTPStatus.UNAUTHORIZED, _:
            return "You are logged out. Log in to Airflow again."
        case HTTPStatus.FORBIDDEN, _:
            return f"You need Airflow's permission to read the DAG {BACKFILL.id}."
        case HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND.phrase:  # What it is without a reason of our own.
            return "There is no such page."
        case _, detail:
            return detail


def _invalid(request: Request, error: RequestValidationError) -> Response:
    wrong = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors())
    return error_page(
        request, HTTPStatus.UNPROCESSABLE_ENTITY, f"The address of this page is wrong: {wrong}."
    )


def _unavailable(request: Request, error: Exception) -> Response:
    logger.warning("The console cannot show %s: %s", request.url.path, error)
    return error_page(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error))


def _failed(request: Request, error: Exception) -> Response:
    logger.error("The console cannot show %s", request.url.path, exc_info=error)
    return error_page(
        request, HTTPStatus.INTERNAL_SERVER_ERROR, "The console failed: the API server's log says why."
    )
