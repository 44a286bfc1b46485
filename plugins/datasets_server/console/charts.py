"""Charts of the console: the JSON of Vega-Lite, drawn by ``static/charts.js``, and the library that draws it.

A colour is the name of one of the page's own (``var(--ok)``), which the browser looks up: so a chart has the
colours of its theme, and an Airflow with other colours keeps them. Names of series and categories are
untrusted: they are values of the JSON, never names of its fields, which Vega reads as paths.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any, Literal

from fastapi import APIRouter, Response

Chart = dict[str, Any]
State = Literal["ok", "warn", "bad", "retry", "info", "neutral"]
Shape = Literal["line", "bar"]

#: Where the browser loads the library from. Each version has its own address, so it may be kept for ever.
LIBRARY = f"vendor/vega-{version('vl-convert-python')}.js"

_BUNDLE = "import sys, vl_convert; sys.stdout.write(vl_convert.javascript_bundle('export { vegaEmbed };'))"
_LONGEST_BUNDLE_SECONDS = 60
_PALETTE = 8
_MARKS: Mapping[Shape, Chart] = {
    "line": {"strokeWidth": 2},
    "bar": {"width": 6},
}
_WHOLE = ",.0f"
_HOUR_OR_DAY = (
    "utcFormat(datum.value, utchours(datum.value) + utcminutes(datum.value) > 0 ? '%H:%M' : '%d %b')"
)
_HEIGHT = 240
_LABEL_WIDTH = 200
_CHARACTER_WIDTH = 7
_AXIS_WIDTH = 60
_HEADROOM = 1.3
_POWERS_OF_TEN = [0, *(10**power for power in range(10))]

_bundling = threading.Lock()


def chart_assets() -> APIRouter:
    """Return the route of the library."""
    router = APIRouter()
    # Whoever opens the first page does not wait for it.
    threading.Thread(target=_library_once, daemon=True).start()

    @router.get(f"/{LIBRARY}", include_in_schema=False)
    def library() -> Response:
        headers = {"Content-Encoding": "gzip", "Cache-Control": "public, max-age=31536000, immutable"}
        return Response(_library_once(), media_type="text/javascript", headers=headers)

    return router


def _library_once() -> bytes:
    with _bundling:  # The first readers of a new server wait for one bundle.
        return _library()


@cache
def _library() -> bytes:
    """Bundle the library, in some seconds; in another process, whose 120 MB are free again afterwards."""
    bundled = subprocess.run(  # noqa: S603 - nothing of a request is in the command
        [sys.executable, "-c", _BUNDLE], capture_output=True, check=True, timeout=_LONGEST_BUNDLE_SECONDS
    )
    return gzip.compress(bundled.stdout, mtime=0)


def time_series(
    times: Sequence[datetime],
    series: Mapping[str, Sequence[float | None]],
    *,
    span: tuple[datetime, datetime],
    shape: Shape = "line",
    states: Mapping[str, State] | None = None,
    marks: Sequence[datetime] = (),
    is_logarithmic: bool = False,
) -> Chart:
    """Return lines or bars over time.

    :param times: when the values were counted; their time zone must be known
    :param series: name → its value at each time; ``None`` leaves a gap
    :param span: the time that the axis has, also where nothing was counted
    :param shape: ``bar`` for values that belong to a moment, not to the time between
    :param states: name → the state whose colour it has; the others take colours in their order
    :param marks: times of events, each a dashed line
    :param is_logarithmic: let a few be seen beside thousands
    """
    at = _milliseconds(times)
    rows = [
        {"time": time, "name": name, "value": value}
        for name, values in series.items()
        for time, value in zip(at, values, strict=True)
    ]
    mark: Chart = {"type": shape, "aria": False} | _MARKS[shape]
    if len(times) == 1 and shape != "bar":
        mark["point"] = {"size": 60}  # A single count would be a line without length.
    values: Chart = {
        "data": {"values": rows},
        "mark": mark,
        "encoding": {
            "y": _amount("value", _peak(series), is_logarithmic) | {"stack": None},
            "color": _color(series, states),
        },
    }
    # As a domain, they would become an expression that the browser's interpreter cannot read.
    first, last = ({"expr": f"toDate({time})"} for time in _milliseconds(span))
    scale = {"type": "utc", "domainMin": first, "domainMax": last}
    x = {"field": "time", "type": "temporal", "scale": scale, "title": None}
    axis = {
        "grid": False,
        "tickCount": {"expr": "max(2, floor(width / 110))"},
        "labelExpr": _HOUR_OR_DAY,
        "labelOverlap": True,
    }
    layers = [*([_marks(marks)] if marks else []), values, _reading_line(at, series)]
    return _chart({"layer": layers, "encoding": {"x": x | {"axis": axis}}, "height": _HEIGHT}, empty=not rows)


def _milliseconds(times: Sequence[datetime]) -> list[int]:
    return [int(time.timestamp() * 1000) for time in times]


def _marks(times: Sequence[datetime]) -> Chart:
    return {
        "data": {"values": [{"time": time} for time in _milliseconds(times)]},
        "mark": {"type": "rule", "aria": False, "color": "var(--fg-muted)", "strokeDash": [2, 4]},
    }


def _reading_line(at: Sequence[int], series: Mapping[str, Sequence[float | None]]) -> Chart:
    """Return the line that follows the pointer, and shows all values of that time."""
    rows: list[dict[str, Any]] = [{"time": stamp} for stamp in at]
    for number, values in enumerate(series.values()):
        for row, value in zip(rows, values, strict=True):
            row[f"value{number}"] = value
    shown = [
        {"field": f"value{number}", "type": "quantitative", "format": _WHOLE, "title": name}
        for number, name in enumerate(series)
    ]
    when = {"field": "time", "timeUnit": "utcyearmonthdatehoursminutes", "type": "temporal"}
    when |= {"format": "%d %b %Y, %H:%M UTC", "title": "time"}
    pointed_at = {
        "name": "pointed_at",
        "select": {
            "type": "point",
            "on": "pointerover",
            "nearest": True,
            "fields": ["time"],
            "clear": "pointerout",
        },
    }
    return {
        "data": {"values": rows},
        "params": [pointed_at],
        "mark": {"type": "rule", "aria": False, "color": "var(--fg-muted)"},
        "encoding": {
            "opacity": {"value": 0, "condition": {"param": "pointed_at", "empty": False, "value": 1}},
            "tooltip": [when, *reversed(shown)],
        },
    }


def _chart(chart: Chart, *, empty: bool) -> Chart:
    grid = {"gridColor": "var(--border)", "domainColor": "var(--border)", "tickColor": "var(--border)"}
    text = {"labelColor": "var(--fg-muted)", "labelFont": "var(--font)", "labelFontSize": 12}
    config = {
        "background": "transparent",
        "font": "var(--font)",
        "view": {"stroke": None},
        "axis": grid | text,
        "legend": text | {"labelColor": "var(--fg)", "labelLimit": _LABEL_WIDTH},
    }
    size = {
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"right": 16, "bottom": 12},
    }
    return {**chart, **size, "config": config, "usermeta": {"empty": empty}}


def _peak(series: Mapping[str, Sequence[float | None]]) -> float:
    return max((value for values in series.values() for value in values if value is not None), default=0)


def _amount(field: str, peak: float, is_logarithmic: bool) -> Chart:
    axis: Chart = {"format": _WHOLE, "domain": False, "ticks": False}
    amount: Chart = {"field": field, "type": "quantitative", "title": None, "axis": axis}
    if not is_logarithmic:
        return amount | {"axis": axis | {"tickCount": {"expr": "width < 400 ? 3 : 5"}}}
    # Unlike a logarithm, this scale has a zero. It is not rounded up by itself.
    scale = {"type": "symlog", "domainMax": _HEADROOM * max(peak, 1)}
    return amount | {"scale": scale, "axis": axis | {"values": _POWERS_OF_TEN}}


def _color(names: Mapping[str, Any], states: Mapping[str, State] | None) -> Chart:
    tokens = {name: f"series-{number % _PALETTE + 1}" for number, name in enumerate(names)} | dict(
        states or {}
    )
    scale = {"domain": list(names), "range": [f"var(--{tokens[name]})" for name in names]}
    # The legend is laid out before the chart has the width that is left for it.
    longest = min(_LABEL_WIDTH, max((len(name) for name in names), default=0) * _CHARACTER_WIDTH)
    columns = {"expr": f"max(1, floor((containerSize()[0] - {_AXIS_WIDTH}) / {longest + 24}))"}
    legend = {"orient": "bottom", "columns": columns, "title": None}
    return {"field": "name", "type": "nominal", "scale": scale, "legend": legend}
