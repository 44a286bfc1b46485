"""The page Now, read from a real MongoDB: what it shows, and what it finds."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dev.local_stack.documents import BLOCKAGES, CACHE, JOBS, new_job
from include.console.findings import Level
from include.console.now import Freshness, Now, Settings
from include.databases.cache_reader import CacheReader, RunsLeft
from include.databases.lease import Lease
from include.planning.dataset_state import JobStatus, Priority
from include.planning.processing_graph import DEFAULT_RELEASE, release_names
from tests.builders import REVISION, insert_up_to_date
from tests.integration.console.conftest import HOUR, World

OF_ALL_RELEASES = pytest.mark.parametrize("release_name", release_names())
OF_ONE_RELEASE = pytest.mark.parametrize("release_name", [DEFAULT_RELEASE])
NAMES = ("dataset-config-names", 200, None)


def texts(now: Now, level: Level) -> list[str]:
    return [finding.text for finding in now.findings if finding.level is level]


def make_healthy(world: World) -> None:
    """Let nothing need anybody."""
    world.count_entries({NAMES: 100_000}, hours_ago=25)
    world.count_entries({NAMES: 100_000}, hours_ago=1)
    world.count_entries({NAMES: 100_000})
    world.count_jobs(5, hours_ago=0.1)
    world.report(artifacts={"up_to_date": 90, "need_jobs": 10}, datasets={"failed": 0})
    world.maintenance.run_records("backfill").note_good_run()


@OF_ALL_RELEASES
def test_nothing_is_known_of_empty_databases(world: World) -> None:
    now = world.read_now()

    assert (now.entries, now.datasets, now.waiting_jobs) == (0, 0, 0)
    assert (now.freshness, now.last_good_backfill, now.look, now.growth.since) == (None, None, None, None)
    assert (now.errors, now.growth.codes) == ((), ())
    assert texts(now, Level.BAD) == texts(now, Level.NOTE) == []
    assert [text.split(":")[0] for text in texts(now, Level.WARN)] == [
        "There has been no good run of backfill over the whole cache yet.",
        "The entries have never been counted",
        "The jobs have never been counted",
    ]


@OF_ALL_RELEASES
def test_nothing_is_found_where_all_is_well(world: World) -> None:
    make_healthy(world)

    now = world.read_now()

    assert now.findings == ()
    assert now.freshness == Freshness(90, 10, world.now)
    assert now.freshness.share == 0.9
    assert now.datasets == 100_000


@OF_ONE_RELEASE
def test_entries_are_by_step_in_the_order_of_the_release(world: World) -> None:
    world.count_entries(
        {
            NAMES: 7,
            ("dataset-info", 500, "E"): 2,
            ("dataset-info", 200, None): 5,
            ("a-former-step", 200, None): 1,
        }
    )

    steps = world.read_now().steps

    assert [step.step for step in steps] == [*(step.name for step in world.release.steps), "a-former-step"]
    [info] = [step for step in steps if step.step == "dataset-info"]
    assert (dict(info.by_status), info.errors, info.total) == ({500: 2, 200: 5}, 2, 7)


@OF_ONE_RELEASE
def test_error_codes_tell_whether_they_are_retried_and_how_many_have_runs_left(world: World) -> None:
    code, maximum = next(iter(world.release.max_failed_runs.items()))
    for number in range(3):
        insert_up_to_date(world.stores.databases.cache, world.release, f"user/{number}")
    entries = world.stores.databases.cache[CACHE]
    for number, failed_runs in enumerate((0, maximum, maximum + 1)):
        entries.update_one(
            {"dataset": f"user/{number}", "kind": "dataset-info"},
            {"$set": {"http_status": 500, "error_code": code, "failed_runs": failed_runs}},
        )
    counts = {
        ("dataset-info", 500, code): 3,
        ("dataset-info", 500, "Never"): 5,
        ("dataset-size", 404, None): 1,
    }
    world.count_entries({("dataset-info", 500, code): 1}, hours_ago=25)
    world.count_entries(counts)

    never, retried, without_code = world.read_now().errors

    assert (never.code, never.entries, never.growth.before, never.is_retried) == ("Never", 5, 0, False)
    assert never.runs_left is None
    assert (retried.code, retried.entries, retried.growth.before, retried.max_failed_runs) == (
        code,
        3,
        1,
        maximum,
    )
    assert retried.runs_left == RunsLeft(entries=1, looked_at=3, is_all=True)
    assert (without_code.code, without_code.entries, without_code.is_retried) == (None, 1, False)


@OF_ONE_RELEASE
def test_after_an_error_code_whose_entries_take_too_long_no_other_is_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = []
    monkeypatch.setattr(CacheReader, "runs_left", lambda _, code, __: looked_at.append(code))
    codes = list(world.release.max_failed_runs)[:2]
    world.count_entries({("dataset-info", 500, code): 3 for code in codes})

    assert [code.runs_left for code in world.read_now().errors] == [None, None]
    assert len(looked_at) == 1


@OF_ONE_RELEASE
@pytest.mark.parametrize(
    ("before", "after", "level"),
    [
        (100, 150, Level.WARN),
        (0, 11, Level.WARN),
        (100, 205, Level.BAD),
        (0, 500, Level.BAD),
        (100, 109, None),
        (1_000, 1_050, None),
        (100, 50, None),
    ],
)
def test_a_code_whose_errors_grew_stands_out(
    world: World, before: int, after: int, level: Level | None
) -> None:
    make_healthy(world)
    world.count_entries({NAMES: 100_000, ("dataset-info", 500, "Grown"): before}, hours_ago=24.5)
    world.count_entries({NAMES: 100_000, ("dataset-info", 500, "Grown"): after})

    found = world.read_now().findings

    assert [finding.level for finding in found] == ([level] if level else [])
    if found:
        assert f"the code Grown grew from {before} to {after} since" in found[0].text


@OF_ONE_RELEASE
def test_of_many_codes_that_grew_the_first_are_named(world: World) -> None:
    make_healthy(world)
    world.count_entries({("dataset-info", 500, f"E{number}"): 100 + number for number in range(5)})

    found = texts(world.read_now(), Level.BAD) + texts(world.read_now(), Level.WARN)

    assert [text.split(" grew")[0] for text in found] == [
        "Errors of the code E4",
        "Errors of the code E3",
        "Errors of the code E2",
        "Errors of 2 further codes",
    ]


@OF_ONE_RELEASE
@pytest.mark.parametrize(
    ("hours", "level", "words"),
    [(11, None, ""), (13, Level.WARN, "13 hours"), (49, Level.BAD, "2 days")],
)
def test_a_job_that_waits_long_is_found(world: World, hours: int, level: Level | None, words: str) -> None:
    make_healthy(world)
    step = world.release.steps[0]
    for age, priority in ((1, Priority.LOW), (hours, Priority.NORMAL)):
        created_at = (world.now - age * HOUR).replace(tzinfo=None)
        job = new_job(step, f"user/{age}", REVISION, created_at=created_at, priority=priority)
        world.stores.databases.queue[JOBS].insert_one(job)

    found = [(each.level, each.text) for each in world.read_now().findings]

    assert found == ([(level, f"The oldest waiting job has waited for {words}.")] if level else [])


@OF_ONE_RELEASE
@pytest.mark.parametrize(("hours", "is_found"), [(5, False), (7, True)])
def test_a_job_that_has_been_started_for_long_is_found(world: World, hours: int, is_found: bool) -> None:
    make_healthy(world)
    step = world.release.steps[0]
    started_at = (world.now - hours * HOUR).replace(tzinfo=None)
    job = new_job(step, "user/stuck", REVISION, status=JobStatus.STARTED, created_at=started_at)
    job["started_at"] = started_at
    world.stores.databases.queue[JOBS].insert_one(job)

    found = [(each.level, each.text, each.dataset) for each in world.read_now().findings]

    text = f"A job of {step.name} was started {hours} hours ago, and has not ended."
    assert found == ([(Level.WARN, text, "user/stuck")] if is_found else [])


@OF_ONE_RELEASE
def test_without_counts_of_yesterday_it_says_that_growth_is_not_known(world: World) -> None:
    world.count_entries({NAMES: 100, ("dataset-info", 500, "Grown"): 90})

    assert texts(world.read_now(), Level.NOTE) == [
        "Nobody counted the entries yesterday: it is not known whether errors have grown."
    ]


@OF_ONE_RELEASE
def test_an_overdue_backfill_is_bad(world: World) -> None:
    make_healthy(world)
    later = World(world.stores, world.release, world.now + 30.5 * HOUR)

    bad = texts(later.read_now(), Level.BAD)

    assert bad == ["There has been no good run of backfill over the whole cache for 30 hours."]
    patient = Settings(overdue_after=timedelta(hours=40))
    assert texts(later.read_now(patient), Level.BAD) == []


@OF_ONE_RELEASE
def test_datasets_that_failed_in_the_last_run_are_a_warning(world: World) -> None:
    make_healthy(world)
    world.report("backfill", run_id="2", succeeded=False, hours_ago=-0.1, datasets={"failed": 200})
    world.report("backfill-retryable-errors", run_id="3", hours_ago=3, datasets={"failed": 1})

    now = world.read_now()

    assert texts(now, Level.WARN) == [
        "200 datasets failed in the last run of backfill, which ended less than a minute ago.",
        "1 dataset failed in the last run of backfill-retryable-errors, which ended 3 hours ago.",
    ]
    assert now.freshness == Freshness(90, 10, world.now)


@OF_ONE_RELEASE
@pytest.mark.parametrize(("runs", "level"), [(1, Level.NOTE), (3, Level.WARN)])
def test_a_run_that_waits_for_another_one_is_found(world: World, runs: int, level: Level) -> None:
    make_healthy(world)
    records = world.maintenance.run_records("backfill-retryable-errors")
    for number in range(runs):
        records.note_waiting(f"token {number}", "backfill")
    assert world.read_now().findings == ()

    lease = Lease(world.stores.databases.maintenance, "backfill", "other", run_name="backfill manual__1")
    lease.acquire()

    [finding] = world.read_now().findings
    assert finding.level is level
    assert "backfill-retryable-errors" in finding.text
    assert "the run backfill manual__1 is at work" in finding.text
    records.note_turn(f"token {runs - 1}")
    assert world.read_now().findings == ()


@pytest.mark.parametrize("release_name", ["2026-08"])
def test_rate_limited_datasets_are_told(world: World) -> None:
    make_healthy(world)
    world.stores.databases.queue[BLOCKAGES].insert_one(
        {"dataset": "user/data", "blocked_at": world.now.replace(tzinfo=None)}
    )

    now = world.read_now()

    assert texts(now, Level.NOTE) == ["1 dataset is rate-limited."]
    assert now.blockages is not None
    assert [each.dataset for each in now.blockages.first] == ["user/data"]


@OF_ONE_RELEASE
def test_a_release_without_rate_limits_has_none(world: World) -> None:
    assert world.read_now().blockages is None


@OF_ONE_RELEASE
def test_the_limit_of_removals_is_told_when_it_is_reached(world: World) -> None:
    make_healthy(world)
    ledger = world.maintenance.removal_ledger()
    ledger.begin("run", {"a": "gone", "b": "gone"}, limit=10)
    settings = Settings(max_removals_per_day=2)

    now = world.read_now(settings)

    assert now.removals.begun_in_a_day == now.max_removals == 2
    assert texts(now, Level.WARN) == [
        "2 datasets removed or rebuilt in 24 hours: the limit of 2 is reached.",
        "The removal of 2 datasets was cut short.",
    ]
    ledger.finish(["a", "b"])
    assert world.read_now().max_removals == 1_000
    assert world.read_now().findings == ()


@OF_ONE_RELEASE
def test_old_counts_are_a_warning(world: World) -> None:
    make_healthy(world)
    later = World(world.stores, world.release, world.now + 13 * HOUR)

    assert texts(later.read_now(), Level.WARN) == [
        "The entries were last counted 14 hours ago: the numbers may be wrong.",
        "The jobs were last counted 13 hours ago: the numbers may be wrong.",
    ]
