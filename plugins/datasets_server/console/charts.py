"""The charts of the console, drawn by Bokeh, whose browser part comes out of its package.

Bokeh takes half a second to import, so it is imported when a chart is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from bokeh.models import Axis, ColumnDataSource
    from bokeh.plotting import figure

Theme = Literal["light", "dark"]
#: What charts.js draws: ``item``, which Bokeh embeds, and ``legend``, a list of ``{"name", "color"}``.
Chart = dict[str, Any]

_HEIGHT = 260
_ROW_HEIGHT = 24
_TEXT: Mapping[Theme, str] = {"light": "#52525b", "dark": "#a1a1aa"}
_GRID: Mapping[Theme, str] = {"light": "#e4e4e7", "dark": "#3f3f46"}
#: Of states, as in console.css; a color-blind reader tells them apart by their lightness.
_STATES: Mapping[str, Mapping[Theme, str]] = {
    "ok": {"light": "#15803d", "dark": "#86efac"},
    "warn": {"light": "#d97706", "dark": "#fcd34d"},
    "bad": {"light": "#b91c1c", "dark": "#f87171"},
    "info": {"light": "#2563eb", "dark": "#60a5fa"},
    "neutral": {"light": "#71717a", "dark": "#a1a1aa"},
}
#: Of series that are no states: Okabe and Ito's colors, which color-blind readers can tell apart.
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c00", "#7a7a7a")


@dataclass(frozen=True, slots=True)
class Look:
    """How a chart is to look.

    :param narrow: for a phone, which has little room for ticks, and none for a tooltip.
    """

    theme: Theme = "light"
    narrow: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """A series of a chart: a value for each time or row, None where there is none.

    :param state: ``ok``, ``warn``, ``bad``, ``info`` or ``neutral``, which has a color; by default, the
        series has one of its own.
    """

    name: str
    values: Sequence[float | None]
    state: str | None = None


def time_series(
    times: Sequence[datetime], series: Sequence[Series], look: Look, *, stacked: bool = False
) -> Chart:
    """Return a chart of values over time.

    :param times: in UTC, rising.
    :param stacked: show the values on top of each other, as areas, instead of as lines.
    """
    from bokeh.models import DataRange1d, DatetimeTicker, HoverTool

    chart = _figure(look, height=_HEIGHT, x_axis_type="datetime", y_range=DataRange1d(start=0))
    columns, colors = _columns(series), _colors(series, look.theme)
    tops = [_top(row, stacked=stacked) for row in zip(*columns.values(), strict=True)]
    source = _source({"time": [_naive(time) for time in times], "top": tops, **columns})
    if stacked:
        chart.varea_stack(list(columns), x="time", source=source, color=colors)
    else:
        for column, color in zip(columns, colors, strict=True):
            chart.line("time", column, source=source, color=color, line_width=2)
    # Invisible: its tooltip is shown once for a time, with the values of all series.
    tops_line = chart.line("time", "top", source=source, alpha=0)
    if not look.narrow:
        fields = {"UTC": "@time{%F %H:%M}"} | _values(series, columns)
        chart.add_tools(
            HoverTool(
                tooltips=list(fields.items()),
                mode="vline",
                renderers=[tops_line],
                formatters={"@time": "datetime"},
            )
        )
    chart.xaxis.ticker = DatetimeTicker(desired_num_ticks=4 if look.narrow else 8)
    return _drawn(chart, series, colors, chart.yaxis)


def bars(rows: Sequence[str], series: Sequence[Series], look: Look) -> Chart:
    """Return a chart of horizontal bars, the first row on top; several series are stacked."""
    from bokeh.models import DataRange1d, HoverTool

    names = _distinct(rows)
    height = max(_HEIGHT // 2, _ROW_HEIGHT * len(names) + 40)
    chart = _figure(look, height=height, y_range=names[::-1], x_range=DataRange1d(start=0))
    columns, colors = _columns(series), _colors(series, look.theme)
    source = _source({"row": names, **columns})
    chart.hbar_stack(list(columns), y="row", height=0.7, source=source, color=colors)
    if not look.narrow:
        fields = {"": "@row"} | _values(series, columns)
        chart.add_tools(HoverTool(tooltips=list(fields.items())))
    chart.ygrid.visible = False
    return _drawn(chart, series, colors, chart.xaxis)


def browser_part() -> Path:
    """Return the folder of Bokeh's scripts for browsers, without an import of Bokeh."""
    spec = find_spec("bokeh")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("Bokeh is not installed: pip install -r requirements.txt")
    return Path(spec.origin).parent / "server" / "static" / "js"


def _figure(look: Look, *, height: int, **options: Any) -> figure:
    from bokeh.plotting import figure

    chart = figure(
        height=height,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        background_fill_alpha=0,
        border_fill_alpha=0,
        outline_line_color=None,
        **options,
    )
    chart.axis.major_label_text_color = _TEXT[look.theme]
    chart.axis.axis_line_color = chart.axis.major_tick_line_color = _GRID[look.theme]
    chart.axis.minor_tick_line_color = None
    chart.grid.grid_line_color = _GRID[look.theme]
    return chart


def _values(series: Sequence[Series], columns: Iterable[str]) -> dict[str, str]:
    return {each.name: f"@{column}{{0,0}}" for each, column in zip(series, columns, strict=True)}


def _top(row: Sequence[float | None], *, stacked: bool) -> float:
    values = [value for value in row if value is not None]
    return sum(values) if stacked else max(values, default=0)


def _columns(series: Sequence[Series]) -> dict[str, Sequence[float | None]]:
    """Return the values by names of columns that no name from a database can change."""
    return {f"series_{number}": each.values for number, each in enumerate(series)}


def _source(columns: Mapping[str, Any]) -> ColumnDataSource:
    from bokeh.models import ColumnDataSource

    return ColumnDataSource(dict(columns))


def _colors(series: Sequence[Series], theme: Theme) -> list[str]:
    return [
        _STATES[each.state][theme] if each.state else _COLORS[number % len(_COLORS)]
        for number, each in enumerate(series)
    ]


def _distinct(rows: Sequence[str]) -> list[str]:
    """Return the rows with different names, because Bokeh knows a row by its name."""
    seen: dict[str, int] = {}
    names = []
    for row in rows:
        seen[row] = seen.get(row, 0) + 1
        names.append(row if seen[row] == 1 else f"{row} ({seen[row]})")
    return names


def _naive(time: datetime) -> datetime:
    """Return a time as Bokeh takes it: in UTC, without a zone."""
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def _drawn(chart: figure, series: Sequence[Series], colors: Sequence[str], number_axis: Axis) -> Chart:
    from bokeh.embed import json_item
    from bokeh.models import BasicTicker, NumeralTickFormatter

    number_axis.formatter = NumeralTickFormatter(format="0,0")
    number_axis.ticker = BasicTicker(desired_num_ticks=4)
    legend = [{"name": each.name, "color": color} for each, color in zip(series, colors, strict=True)]
    return {"item": json_item(chart), "legend": legend}
