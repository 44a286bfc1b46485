"""The page *Over time*, and the JSON of its charts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from datasets_server.console.answers import kept
from datasets_server.console.charts import Chart, Shape, State, time_series
from datasets_server.console.databases import open_databases
from datasets_server.console.pages import render
from include.console.over_time import SPANS, Line, Lines, OverTime, read_over_time
from include.databases.cache_reader import CacheReader
from include.databases.own_reader import OwnReader

#: The page has the numbers of a chart as a table, of as many times at most.
_ROWS = 60
#: By the name of a line, the state whose colour it has.
_STATES: Mapping[str, State] = {
    "successful (2xx)": "ok",
    "errors (4xx)": "warn",
    "errors (5xx)": "bad",
    "waiting": "info",
    "started": "ok",
    "other codes": "neutral",
}

router = APIRouter()


@dataclass(frozen=True, slots=True)
class ChartOfPage:
    """A chart of the page.

    :param name: the last part of its address.
    :param lines: returns what it shows, in this shape.
    :param empty: what to do if it shows nothing.
    :param is_logarithmic: whether its numbers differ so much that most would not be seen.
    """

    name: str
    title: str
    lines: Callable[[OverTime], Lines]
    shape: Shape
    empty: str
    is_logarithmic: bool = False

    @property
    def has_marks(self) -> bool:
        """Whether it marks the runs that changed something. The charts of these runs need no marks."""
        return self.shape == "line"

    def json(self, page: OverTime) -> Chart:
        """Return the chart."""
        lines = self.lines(page)
        series = {line.name: line.values for line in lines.lines}
        states = {name: _STATES[name] for name in series if name in _STATES}
        return time_series(
            lines.times,
            series,
            span=(page.at - SPANS[page.span], _soon(page.at)),
            shape=self.shape,
            states=states,
            marks=[run.ended_at for run in page.runs] if self.has_marks else (),
            is_logarithmic=self.is_logarithmic,
        )


def _runs(value: str, name: str) -> Callable[[OverTime], Lines]:
    """Return what gives a line of a number of each run, from the oldest to the newest."""

    def lines(page: OverTime) -> Lines:
        runs = page.runs[::-1]
        line = Line(name, tuple(getattr(run, value) for run in runs))
        return Lines(tuple(run.ended_at for run in runs), (line,) if runs else ())

    return lines


_NO_ENTRIES = "The action collect-cache-metrics adds to them."
_NO_JOBS = "The action collect-queue-metrics adds to them."
_NO_RUNS = "Runs of backfill that change something add to them."
CHARTS = (
    ChartOfPage(
        "entries",
        "Cache entries by status",
        lambda page: page.entries_by_status,
        "line",
        _NO_ENTRIES,
        is_logarithmic=True,
    ),
    ChartOfPage("errors", "Errors by code", lambda page: page.errors_by_code, "line", _NO_ENTRIES),
    ChartOfPage(
        "jobs", "Jobs by status", lambda page: page.jobs_by_status, "line", _NO_JOBS, is_logarithmic=True
    ),
    ChartOfPage(
        "sizes",
        "Jobs by worker size",
        lambda page: page.jobs_by_worker_size,
        "line",
        _NO_JOBS,
        is_logarithmic=True,
    ),
    ChartOfPage(
        "created", "Jobs created by each run", _runs("jobs_created", "jobs created"), "bar", _NO_RUNS
    ),
    ChartOfPage(
        "removed",
        "Datasets removed by each run",
        _runs("datasets_removed", "datasets removed"),
        "bar",
        _NO_RUNS,
    ),
)
_BY_NAME = {chart.name: chart for chart in CHARTS}

SpanName = Literal["24h", "7d", "30d", "90d"]
ChartName = Literal["entries", "errors", "jobs", "sizes", "created", "removed"]


@router.get("/over-time")
def show(request: Request, span: SpanName = "7d") -> HTMLResponse:
    """Show the page."""
    page = _over_time(span)
    charts = [(chart, chart.lines(page), list(_rows(chart.lines(page)))) for chart in CHARTS]
    return render(request, "over_time.html", current="over-time", page=page, charts=charts, spans=SPANS)


@router.get("/over-time/{name}")
def chart(name: ChartName, span: SpanName) -> JSONResponse:
    """Return the JSON of a chart of the page."""
    return JSONResponse(_BY_NAME[name].json(_over_time(span)))


@kept
def _over_time(span: str) -> OverTime:
    with open_databases() as databases:
        return read_over_time(CacheReader(databases.cache), OwnReader(databases.own), datetime.now(UTC), span)


def _soon(time: datetime) -> datetime:
    """Return the end of the five minutes of a time. A chart is only drawn again when it changes."""
    return datetime.fromtimestamp(-(-time.timestamp() // 300) * 300, UTC)


def _rows(lines: Lines) -> Iterator[Sequence[str | int]]:
    """Yield the numbers of a chart, the newest first; of many times, only some."""
    step = -(-len(lines.times) // _ROWS) or 1
    for index in range(len(lines.times) - 1, -1, -step):
        yield [f"{lines.times[index]:%Y-%m-%d %H:%M}", *(line.values[index] for line in lines.lines)]
