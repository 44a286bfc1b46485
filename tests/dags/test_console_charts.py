"""The charts of the console, as the JSON that a browser draws."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from datasets_server.console.charts import Look, Series, Theme, bars, browser_part, time_series

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOSTILE = "</script><script>alert(1)</script>"


def found(chart: Any, name: str) -> list[Any]:
    """All values under a name, wherever they are in a chart."""
    if isinstance(chart, dict):
        here = [chart[name]] if name in chart else []
        return here + [value for each in chart.values() for value in found(each, name)]
    if isinstance(chart, list):
        return [value for each in chart for value in found(each, name)]
    return []


def columns(chart: Any) -> dict[str, Any]:
    """The columns of the data of a chart."""
    [data] = [value for value in found(chart, "data") if isinstance(value, dict) and "entries" in value]
    return dict(data["entries"])


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_chart_over_time_has_a_column_for_each_series(theme: Theme, stacked: bool) -> None:
    times = [NOON, NOON + timedelta(hours=1), NOON + timedelta(hours=2)]
    series = [Series("waiting", [1, 2, 3], "info"), Series("started", [4, None, 6])]

    data = columns(json.loads(json.dumps(time_series(times, series, Look(theme), stacked=stacked))))

    assert list(data["series_0"]) == [1, 2, 3]
    assert list(data["series_1"])[::2] == [4, 6]
    assert len(data["time"]) == 3


@pytest.mark.parametrize("times", [[], [NOON]])
def test_a_chart_over_time_may_have_no_time_or_one(times: list[datetime]) -> None:
    chart = time_series(times, [Series("errors", [1] * len(times))], Look(), stacked=True)

    assert len(columns(chart)["time"]) == len(times)


def test_bars_have_their_first_row_on_top() -> None:
    chart = bars(["a", "b"], [Series("entries", [2, 1])], Look())

    [factors] = found(chart, "factors")
    assert factors == ["b", "a"]
    assert list(columns(chart)["series_0"]) == [2, 1]


def test_bars_keep_two_rows_of_one_name_apart() -> None:
    chart = bars(["a", "a"], [Series("entries", [2, 1])], Look())

    assert columns(chart)["row"] == ["a", "a (2)"]


def test_a_name_from_a_database_is_data_and_never_the_name_of_a_column() -> None:
    chart = bars([HOSTILE], [Series(HOSTILE, [1]), Series("@row{safe}", [2])], Look())

    assert set(columns(chart)) == {"row", "series_0", "series_1"}


def test_the_scripts_for_browsers_come_out_of_the_installed_package() -> None:
    assert (browser_part() / "bokeh.min.js").is_file()


def test_a_phone_gets_no_tooltip() -> None:
    wide, narrow = (bars(["a"], [Series("entries", [1])], Look(narrow=narrow)) for narrow in (False, True))

    assert found(wide, "tooltips")
    assert not found(narrow, "tooltips")
