"""The page Over time, read from a real MongoDB."""

from __future__ import annotations

import pytest

from include.console.growth import Growth
from include.console.over_time import SPANS, Line, RunChanges
from include.planning.processing_graph import DEFAULT_RELEASE, release_names
from tests.integration.console.conftest import HOUR, World

OF_ALL_RELEASES = pytest.mark.parametrize("release_name", release_names())
OF_ONE_RELEASE = pytest.mark.parametrize("release_name", [DEFAULT_RELEASE])


@OF_ALL_RELEASES
@pytest.mark.parametrize("span", SPANS)
def test_without_a_history_there_are_no_lines(world: World, span: str) -> None:
    page = world.read_over_time(span)

    assert page.entries_by_status.is_empty
    assert page.errors_by_code.is_empty
    assert page.jobs_by_status.is_empty
    assert page.jobs_by_worker_size.is_empty
    assert (page.runs, page.growth.codes, page.growth.steps) == ((), (), ())


@OF_ALL_RELEASES
def test_the_counts_have_a_line_for_each_status_and_code(world: World) -> None:
    world.count_entries({("a", 200, None): 5, ("a", 500, "E"): 1, ("a", 404, None): 2}, hours_ago=5)
    world.count_entries({("a", 200, None): 6, ("a", 501, "E"): 3, ("b", 500, "F"): 4}, hours_ago=2)
    world.count_entries({("a", 500, "E"): 3})
    world.count_jobs(7, hours_ago=3)

    page = world.read_over_time("24h")

    assert page.entries_by_status.times == (world.now - 5 * HOUR, world.now - 2 * HOUR)
    assert page.entries_by_status.lines == (
        Line("successful (2xx)", (5, 6)),
        Line("errors (4xx)", (2, 0)),
        Line("errors (5xx)", (1, 7)),
    )
    assert page.errors_by_code.lines == (Line("E", (1, 3)), Line("other codes", (2, 4)))
    assert page.jobs_by_status.times == (world.now - 3 * HOUR,)
    assert page.jobs_by_status.lines == (Line("waiting", (7,)),)
    assert page.jobs_by_worker_size.lines == (Line("light", (7,)),)


@OF_ONE_RELEASE
def test_the_span_says_how_far_back(world: World) -> None:
    for hours in (1, 25, 24 * 8, 24 * 31, 24 * 91):
        world.count_jobs(hours, hours_ago=hours)

    seen = {span: len(world.read_over_time(span).jobs_by_status.times) for span in SPANS}

    assert seen == {"24h": 1, "7d": 2, "30d": 3, "90d": 4}


@OF_ONE_RELEASE
def test_a_rare_code_that_grew_has_a_line_too(world: World) -> None:
    frequent = {("a", 500, f"Frequent{number}"): 1_000 for number in range(8)}
    world.count_entries(frequent | {("a", 500, "Rare"): 1}, hours_ago=25)
    world.count_entries(frequent | {("a", 500, "Rare"): 20}, hours_ago=2)
    world.count_entries(frequent | {("a", 500, "Rare"): 30})

    lines = {line.name: line.values for line in world.read_over_time("24h").errors_by_code.lines}

    assert lines["Rare"] == (20,)
    assert lines["other codes"] == (3_000,)
    assert len(lines) == 5 + 1 + 1


@OF_ONE_RELEASE
def test_codes_and_steps_that_grew_most_come_first(world: World) -> None:
    world.count_entries({("a", 500, "E"): 100, ("b", 500, "F"): 10, ("b", 500, "Gone"): 4}, hours_ago=26)
    world.count_entries({("a", 500, "E"): 110, ("b", 500, "F"): 50, ("b", 404, None): 1, ("c", 200, None): 9})

    growth = world.read_over_time("24h").growth

    assert growth.since == world.now - 26 * HOUR
    assert growth.codes == (
        Growth("F", 50, 10),
        Growth("E", 110, 100),
        Growth(None, 1, 0),
        Growth("Gone", 0, 4),
    )
    assert growth.steps == (Growth("b", 51, 14), Growth("a", 110, 100))
    assert [each.added for each in growth.codes] == [40, 10, 1, -4]
    assert [each.share for each in growth.codes] == [4.0, 0.1, None, -1.0]


@OF_ONE_RELEASE
@pytest.mark.parametrize("hours_ago", [1, 23.9, 48.1, 1_000])
def test_without_counts_of_yesterday_nothing_is_known_to_have_grown(world: World, hours_ago: float) -> None:
    world.count_entries({("a", 500, "E"): 1}, hours_ago=hours_ago)
    world.count_entries({("a", 500, "E"): 50})

    growth = world.read_over_time("24h").growth

    assert growth.since is None
    assert growth.codes == (Growth("E", 50, None),)
    assert (growth.codes[0].added, growth.codes[0].share) == (0, None)


@OF_ONE_RELEASE
def test_the_runs_that_changed_something_are_the_newest_first(world: World) -> None:
    world.report(run_id="1", hours_ago=3, jobs={"created": 5, "deleted": 1}, datasets={"removed": 2})
    world.report("backfill-retryable-errors", run_id="2", hours_ago=1, jobs={"created": 0, "deleted": 3})
    world.report(run_id="3", hours_ago=2, jobs={"created": 0, "deleted": 0}, datasets={"removed": 0})
    world.report(run_id="4", hours_ago=30, jobs={"created": 1})

    assert world.read_over_time("24h").runs == (
        RunChanges("backfill-retryable-errors", "2", world.now - HOUR, 0, 3, 0),
        RunChanges("backfill", "1", world.now - 3 * HOUR, 5, 1, 2),
    )
