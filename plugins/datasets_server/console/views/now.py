"""The page *Now*."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.configuration import conf
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from datasets_server import settings
from datasets_server.actions import BACKFILL, BACKFILL_RETRYABLE_ERRORS, CLEAN_DIRECTORY, REFRESH_DATASETS
from datasets_server.console.answers import kept
from datasets_server.console.databases import open_databases
from datasets_server.console.pages import render
from include.console.now import Now, Settings, read_now
from include.databases.cache_reader import CacheReader
from include.databases.own_reader import OwnReader
from include.databases.queue_reader import QueueReader

#: The DAGs with a task that asks a person.
ASKING = (BACKFILL, BACKFILL_RETRYABLE_ERRORS, CLEAN_DIRECTORY, REFRESH_DATASETS)

router = APIRouter()


@router.get("/now")
def show(request: Request) -> HTMLResponse:
    """Show the page."""
    schedules = conf.getboolean("scheduler", "use_job_schedule")
    return render(request, "now.html", current="now", now=_now(), schedules=schedules, asking=ASKING)


@kept
def _now() -> Now:
    with open_databases() as databases:
        return read_now(
            CacheReader(databases.cache),
            QueueReader(databases.queue),
            OwnReader(databases.own),
            databases.release,
            datetime.now(UTC),
            Settings(settings.OVERDUE_HOURS.read(), settings.MAX_REMOVALS_PER_DAY.read()),
        )
