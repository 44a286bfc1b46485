"""The JSON of the console's charts, and the library that draws them."""

from __future__ import annotations

import gzip
import json
import re
from datetime import UTC, datetime, timedelta

from fastapi import FastAPI
from fastapi.testclient import TestClient

from datasets_server.console import charts

TIMES = [datetime(2026, 11, 20, tzinfo=UTC) + timedelta(hours=hour) for hour in range(3)]
SPAN = (TIMES[0] - timedelta(days=1), TIMES[-1])
HOSTILE = "a.b[0]\\'<script>"


def test_a_time_without_a_count_stays_a_gap() -> None:
    lines, reading_line = charts.time_series(TIMES, {"errors": [1, None, 3]}, span=SPAN)["layer"]

    assert [row["value"] for row in lines["data"]["values"]] == [1, None, 3]
    assert [row["value0"] for row in reading_line["data"]["values"]] == [1, None, 3]


def test_a_single_count_is_seen_as_a_point() -> None:
    assert charts.time_series(TIMES[:1], {"errors": [1]}, span=SPAN)["layer"][0]["mark"]["point"]
    assert "point" not in charts.time_series(TIMES, {"errors": [1, 2, 3]}, span=SPAN)["layer"][0]["mark"]


def test_a_name_is_never_the_path_of_a_field() -> None:
    chart = json.dumps(charts.time_series(TIMES, {HOSTILE: [1, 2, 3]}, span=SPAN))

    fields = set(re.findall(r'"field": "([^"]*)"', chart))
    assert fields == {"time", "name", "value", "value0"}


def test_a_state_has_its_colour_and_other_series_take_theirs_in_turn() -> None:
    chart = charts.time_series(TIMES[:1], {"error": [1], "other": [2]}, states={"error": "bad"}, span=SPAN)

    assert chart["layer"][0]["encoding"]["color"]["scale"] == {
        "domain": ["error", "other"],
        "range": ["var(--bad)", "var(--series-2)"],
    }


def test_a_mark_is_a_line_at_its_time() -> None:
    marks, *_ = charts.time_series(TIMES, {"errors": [1, 2, 3]}, marks=TIMES[1:2], span=SPAN)["layer"]

    assert marks["mark"]["type"] == "rule"
    assert marks["data"]["values"] == [{"time": TIMES[1].timestamp() * 1000}]


def test_a_logarithmic_scale_has_a_zero() -> None:
    chart = charts.time_series(TIMES, {"errors": [0, 2, 30_000]}, is_logarithmic=True, span=SPAN)

    values = chart["layer"][0]
    assert values["encoding"]["y"]["scale"] == {"type": "symlog", "domainMax": 39_000}
    assert values["encoding"]["y"]["axis"]["values"][:3] == [0, 1, 10]


def test_the_axis_has_the_whole_span() -> None:
    chart = charts.time_series(TIMES, {"errors": [1, 2, 3]}, span=SPAN)

    scale = chart["encoding"]["x"]["scale"]
    first, last = (f"toDate({int(time.timestamp() * 1000)})" for time in SPAN)
    assert (scale["domainMin"], scale["domainMax"]) == ({"expr": first}, {"expr": last})


def test_a_chart_says_that_it_is_empty() -> None:
    assert charts.time_series([], {}, span=SPAN)["usermeta"] == {"empty": True}
    assert charts.time_series(TIMES[:1], {"a": [0]}, span=SPAN)["usermeta"] == {"empty": False}


def test_the_library_may_be_kept_for_ever() -> None:
    app = FastAPI()
    app.include_router(charts.chart_assets())
    answer = TestClient(app).get(f"/{charts.LIBRARY}")

    assert "immutable" in answer.headers["Cache-Control"]
    assert "vegaEmbed" in answer.text
    assert len(gzip.compress(answer.content)) < 350_000
