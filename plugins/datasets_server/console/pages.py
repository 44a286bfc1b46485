"""How a page is made: the list of pages, Jinja's environment, and the formats of numbers and times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.templating import Jinja2Templates

from datasets_server.console.charts import LIBRARY
from include.console.words import counted


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its path below the console, its title, and its module in ``views``."""

    path: str
    title: str
    module: str


#: In the order of the tabs.
PAGES = (
    Page("now", "Now", "now"),
    Page("over-time", "Over time", "over_time"),
    Page("runs", "Runs", "runs"),
    Page("dataset", "One dataset", "dataset"),
    Page("errors", "Errors", "errors"),
)

_UNITS = (
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
    (timedelta(seconds=1), "second"),
)
#: What is shown where there is no value: a dash.
NONE = "\N{EN DASH}"


def number(value: float | None) -> str:
    """Return a number with a comma between thousands; a dash if there is none."""
    if value is None:
        return NONE
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def duration(value: timedelta | float | None) -> str:
    """Return a duration (a number is in seconds) in its largest unit: ``3 hours``."""
    if value is None:
        return NONE
    length = value if isinstance(value, timedelta) else timedelta(seconds=value)
    for unit, name in _UNITS:
        if length >= unit:
            return counted(int(length / unit), name)
    return "less than a second"


def ago(time: datetime | None) -> str:
    """Return how long ago a time (UTC if it has no zone) was: ``3 hours ago``."""
    if time is None:
        return "never"
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return f"{duration(max(datetime.now(UTC) - aware, timedelta(0)))} ago"


def utc(time: datetime | None) -> str:
    """Return a time in UTC, to the minute: ``2026-11-27 01:30 UTC``."""
    if time is None:
        return NONE
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return f"{aware.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def percent(share: float | None) -> str:
    """Return a share as a percentage, never rounded up to 100: ``99.9 %``."""
    if share is None:
        return NONE
    if share == 1:
        return "100 %"
    return f"{min(share * 100, 99.9):.1f} %"


def _templates() -> Jinja2Templates:
    templates = Jinja2Templates(directory=Path(__file__).with_name("templates"))
    templates.env.trim_blocks = templates.env.lstrip_blocks = True
    templates.env.filters |= {
        "number": number,
        "duration": duration,
        "ago": ago,
        "utc": utc,
        "percent": percent,
        "counted": counted,
    }
    templates.env.globals |= {"pages": PAGES, "chart_library": LIBRARY}
    return templates


_TEMPLATES = _templates()


def render(request: Request, template: str, status: int = HTTPStatus.OK, **values: Any) -> HTMLResponse:
    """Return a page made of a template, which gets ``values`` and ``shown_at``, the time now."""
    return _TEMPLATES.TemplateResponse(
        request, template, values | {"shown_at": datetime.now(UTC)}, status_code=status
    )


def error_page(request: Request, status: int, text: str) -> Response:
    """Return a page that says what is wrong; a script gets the JSON object ``{"error": text}``."""
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": text}, status)
    return render(request, "error.html", status, text=text, logged_out=status == HTTPStatus.UNAUTHORIZED)
