"""Each action on a real scheduler, by hand, on schedule and by date range, and the documents it leaves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from datasets_server import actions
from dev.local_stack.airflow_server import PARSE_ONCE, AirflowApi, AirflowServer
from dev.local_stack.configuration import CACHE_DATABASE, QUEUE_DATABASE
from dev.local_stack.documents import CACHE, CACHE_TOTALS, JOB_TOTALS, JOBS
from dev.local_stack.postgres_server import PostgresServer, find_postgres_programs
from dev.local_stack.run import Services, start_services
from dev.local_stack.sample_directories import NEW_FILES, OLD_FILES, fill_directories
from dev.local_stack.sample_state import BOT_NAME, Outcome, datasets_by_outcome
from include.errors import ServiceError
from include.planning.processing_graph import load_release

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        find_postgres_programs() is None,
        reason="PostgreSQL is missing: while tasks write, Airflow's commands find an SQLite database locked",
    ),
]

RELEASE = load_release()
OUTCOMES = datasets_by_outcome(RELEASE)
ACTIONS = tuple(action.id for action in actions.ACTIONS)
#: Daily, at a time of day that was an hour ago, and does not come while the tests run.
DAILY = f"{datetime.now(UTC) - timedelta(hours=1):%M %H} * * *"
DAYS = 3
RUN_SECONDS = 300

Document = dict[str, Any]
#: A time range; its end is not in it.
Interval = tuple[datetime, datetime]
ALWAYS: Interval = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    state: str
    tasks: dict[str, str]
    interval: Interval | None


@dataclass(frozen=True)
class State:
    """What there is before or after some runs."""

    entries: list[Document]
    jobs: list[Document]
    cache_totals: list[Document]
    job_totals: list[Document]
    opened: frozenset[str]
    files: frozenset[Path]

    def jobs_by_dataset(self) -> dict[str, set[Any]]:
        found: dict[str, set[Any]] = {}
        for job in self.jobs:
            found.setdefault(job["dataset"], set()).add(job["_id"])
        return found

    def datasets(self, has: Callable[[Document], bool], interval: Interval = ALWAYS) -> set[str]:
        """The datasets with an entry that is as asked for, and was updated in the interval."""
        start, end = interval
        return {
            entry["dataset"]
            for entry in self.entries
            if "updated_at" in entry and start <= entry["updated_at"].replace(tzinfo=UTC) < end and has(entry)
        }


@dataclass(frozen=True)
class Stack:
    """A whole Airflow, and what its DAGs talk to."""

    airflow: AirflowServer
    api: AirflowApi
    services: Services
    client: MongoClient[Document]

    def state(self) -> State:
        cache, queue = self.client[CACHE_DATABASE], self.client[QUEUE_DATABASE]
        discussions = self.services.hub.state.discussions
        return State(
            entries=list(cache[CACHE].find({}, {"content": 0})),
            jobs=list(queue[JOBS].find()),
            cache_totals=list(cache[CACHE_TOTALS].find({}, {"_id": 0, "created_at": 0})),
            job_totals=list(queue[JOB_TOTALS].find({}, {"_id": 0, "created_at": 0})),
            opened=frozenset(
                name for name, found in discussions.items() if any(each.author == BOT_NAME for each in found)
            ),
            files=frozenset(path for path in self.services.storage.rglob("*") if path.is_file()),
        )

    def spoil_counts(self) -> None:
        """Make every count of the two metrics wrong."""
        for database, name in ((CACHE_DATABASE, CACHE_TOTALS), (QUEUE_DATABASE, JOB_TOTALS)):
            self.client[database][name].update_many({}, {"$inc": {"total": 1_000}})

    def ended(self, dag_id: str, run_type: str, number: int) -> list[Run]:
        """Wait until there are so many runs of a type, and all have ended."""
        deadline = time.monotonic() + RUN_SECONDS
        while True:
            runs = self.api.runs(dag_id, run_type)
            if len(runs) >= number and all(run["state"] in ("success", "failed") for run in runs):
                return [self._run(dag_id, run) for run in runs]
            assert time.monotonic() < deadline, [(run["dag_run_id"], run["state"]) for run in runs]
            time.sleep(0.5)

    def _run(self, dag_id: str, run: Mapping[str, Any]) -> Run:
        start, end = run["data_interval_start"], run["data_interval_end"]
        return Run(
            run["state"],
            {task["task_id"]: task["state"] for task in self.api.tasks(dag_id, run["dag_run_id"])},
            (datetime.fromisoformat(start), datetime.fromisoformat(end)) if start else None,
        )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("three-ways")
    postgres = PostgresServer(data / "postgres", log_file=data / "logs" / "postgres.log")
    schedules = {
        f"AIRFLOW__DATASETS_SERVER__SCHEDULE_{dag_id.upper().replace('-', '_')}": DAILY for dag_id in ACTIONS
    }
    airflow = AirflowServer(
        data / "airflow",
        log_folder=data / "logs",
        environment={
            **schedules,
            **PARSE_ONCE,
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{postgres.address}",
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
        },
    )
    with ExitStack() as opened:
        opened.enter_context(postgres)
        airflow.migrate()
        services = start_services(data, opened)
        client = opened.enter_context(MongoClient[Document](services.mongod.uri))
        opened.enter_context(airflow)
        api = opened.enter_context(airflow.api())
        services.introduce(api)
        for dag_id in ACTIONS:
            api.wait_for_dag(dag_id)
        yield Stack(airflow, api, services, client)


# What each action is to have done


def check_backfill(before: State, after: State, selected: set[str]) -> None:
    """Of the selected datasets, jobs have changed or all is gone, as it must be; no other is touched."""
    jobs_before, jobs_after = before.jobs_by_dataset(), after.jobs_by_dataset()
    changed = {name for name in {*jobs_before, *jobs_after} if jobs_before.get(name) != jobs_after.get(name)}
    gone = before.datasets(lambda _: True) - after.datasets(lambda _: True)
    assert selected & OUTCOMES[Outcome.BACKFILLED], "nothing to see in this selection"
    assert gone == OUTCOMES[Outcome.REMOVED] & selected
    assert changed - gone == OUTCOMES[Outcome.BACKFILLED] & selected
    waiting = Counter(job["type"] for job in after.jobs if job["status"] == "waiting")
    totals = {total["job_type"]: total["total"] for total in after.job_totals if total["status"] == "waiting"}
    assert {type_: total for type_, total in totals.items() if total} == waiting


def retryable(entry: Document) -> bool:
    return entry.get("error_code") in RELEASE.max_failed_runs


def check_cache_metrics(after: State) -> None:
    counted = Counter((entry["kind"], entry["http_status"], entry["error_code"]) for entry in after.entries)
    stored = {
        (total["kind"], total["http_status"], total["error_code"]): total["total"]
        for total in after.cache_totals
    }
    assert stored == counted


def check_queue_metrics(after: State) -> None:
    counted = Counter((job["type"], job["status"]) for job in after.jobs)
    assert {(total["job_type"], total["status"]): total["total"] for total in after.job_totals} == counted


def converted(entry: Document) -> bool:
    return bool(entry["kind"] == "config-parquet" and entry["http_status"] == 200)


def check_messages(stack: Stack, before: State, after: State, intervals: list[Interval]) -> None:
    """Each run has posted to the first dataset of each namespace, where the Hub lets the bot."""
    expected = set()
    for interval in intervals:
        first: dict[str, str] = {}
        for name in sorted(before.datasets(converted, interval)):
            if "/" in name:
                first.setdefault(name.split("/")[0], name)
        expected |= set(first.values())
    hub = stack.services.hub.state.datasets
    refused = {
        name
        for name in expected
        if name not in hub
        or hub[name].disabled
        or hub[name].fault
        or hub[name].discussions_disabled
        or hub[name].renamed_to
    }
    opened = after.opened - before.opened
    assert expected, "nothing to see in these intervals"
    assert opened == expected - refused - before.opened


# The three ways


@pytest.fixture
def before(stack: Stack, dag_id: str) -> State:
    stack.services.fill()
    if dag_id.startswith("collect-"):
        stack.spoil_counts()
    state = stack.state()
    fill_directories(stack.services.storage)  # once more: to look at a folder is to use it
    return state


def check(dag_id: str, stack: Stack, before: State, runs: list[Run], intervals: list[Interval]) -> None:
    """What runs over some intervals have done together."""
    after = stack.state()
    assert {run.state for run in runs} == {"success"}, runs
    match dag_id:
        case "backfill":
            check_backfill(before, after, _union(before, lambda _: True, intervals))
        case "backfill-retryable-errors":
            check_backfill(before, after, _union(before, retryable, intervals))
        case "collect-cache-metrics":
            check_cache_metrics(after)
        case "collect-queue-metrics":
            check_queue_metrics(after)
        case "post-messages":
            check_messages(stack, before, after, intervals)
        case "clean-directory":
            assert len(before.files) == sum(OLD_FILES.values()) + sum(NEW_FILES.values())
            assert len(after.files) == sum(NEW_FILES.values())
    untouched = {"jobs", "opened", "files", "entries"} - TOUCHED.get(dag_id, set())
    assert {name: getattr(after, name) for name in untouched} == {
        name: getattr(before, name) for name in untouched
    }


#: What an action may change, of what the others do not.
TOUCHED = {
    "backfill": {"jobs", "entries"},
    "backfill-retryable-errors": {"jobs", "entries"},
    "clean-directory": {"files"},
    "post-messages": {"opened"},
}


def _union(state: State, has: Callable[[Document], bool], intervals: list[Interval]) -> set[str]:
    return {name for interval in intervals for name in state.datasets(has, interval)}


@pytest.mark.parametrize("dag_id", ACTIONS)
def test_an_action_runs_on_schedule(stack: Stack, before: State, dag_id: str) -> None:
    """The scheduler makes a run for the last day that has passed, hours after its end."""
    stack.api.unpause(dag_id)

    [run] = stack.ended(dag_id, "scheduled", 1)

    assert run.interval is not None
    check(dag_id, stack, before, [run], [run.interval if dag_id == "post-messages" else ALWAYS])


@pytest.mark.parametrize("dag_id", ACTIONS)
def test_an_action_runs_by_hand(stack: Stack, before: State, dag_id: str) -> None:
    stack.api.unpause(dag_id)
    now = datetime.now(UTC)

    stack.api.trigger(dag_id)

    [run] = stack.ended(dag_id, "manual", 1)
    last_day = (now - timedelta(days=1), now)
    check(dag_id, stack, before, [run], [last_day if dag_id == "post-messages" else ALWAYS])


@pytest.mark.parametrize("dag_id", ACTIONS)
def test_an_action_runs_over_a_date_range(stack: Stack, before: State, dag_id: str) -> None:
    stack.api.unpause(dag_id)
    newest = max(
        entry["updated_at"] for entry in before.entries if retryable(entry) and "updated_at" in entry
    ).replace(tzinfo=UTC)
    if dag_id == "clean-directory":
        newest = datetime.now(UTC) - timedelta(days=4)
    # The logical date of a run is the start of its interval.
    first, last = (f"{newest - timedelta(days=ago):%Y-%m-%dT%H:%M:%S}" for ago in (DAYS, 0))

    if dag_id == "backfill":  # whose runs wait for each other, because the command starts all at once
        stack.airflow.run_command(
            *("backfill", "create", "--dag-id", dag_id, "--from-date", first, "--to-date", last)
        )
    else:
        stack.api.backfill(dag_id, f"{first}Z", f"{last}Z")

    runs = stack.ended(dag_id, "backfill", DAYS)
    intervals = [run.interval for run in runs if run.interval]
    assert len(intervals) == DAYS
    assert all(end == start for (_, end), (start, _) in pairwise(intervals))
    if dag_id.startswith("collect-"):
        assert [run.tasks for run in runs] == [{"report": "skipped"}] * DAYS
        assert stack.state() == before
    else:
        check(dag_id, stack, before, runs, intervals)


@pytest.mark.parametrize("dag_id", ["backfill"])
def test_a_run_starts_no_process_for_a_task_that_has_nothing_to_do(
    stack: Stack, before: State, dag_id: str
) -> None:
    stack.api.unpause(dag_id)
    [name, *_] = OUTCOMES[Outcome.BACKFILLED]

    run_id = stack.api.trigger(dag_id, datasets=[name])
    for _ in stack.api.while_running(dag_id, run_id):
        pass

    tasks = stack.api.tasks(dag_id, run_id)
    assert {task["task_id"] for task in tasks if task["pid"]} == {"find_work", "backfill_shard", "report"}
    assert {task["task_id"] for task in tasks if task["state"] == "skipped"} == {
        "removals_found",
        "approve_removals",
        "remove_datasets",
    }
    assert stack.api.run(dag_id, run_id)["state"] == "success"
    check_backfill(before, stack.state(), {name})


WRONG = {
    "backfill": (
        {"priority": "urgent"},
        {"batch_size": 0},
        {"updated_from": "yesterday"},
        {"datasets": ["a b"]},
    ),
    "backfill-retryable-errors": ({"error_codes": [""]}, {"ignore_failed_runs": "perhaps"}),
    "collect-cache-metrics": ({"dry_run": "no"},),
    "collect-queue-metrics": ({"history": 3},),
    "clean-directory": ({"expired_time_interval_seconds": -1}, {"judge_by": "size"}),
    "post-messages": ({"max_messages": 0}, {"error_limit": -1}),
}


@pytest.mark.parametrize(
    ("dag_id", "params"), [(dag_id, each) for dag_id, all_ in WRONG.items() for each in all_]
)
def test_a_wrong_parameter_is_refused_before_anything_runs(
    stack: Stack, dag_id: str, params: dict[str, Any]
) -> None:
    runs = len(stack.api.runs(dag_id, "manual"))

    with pytest.raises(ServiceError, match="Invalid input for param"):
        stack.api.trigger(dag_id, **params)

    assert len(stack.api.runs(dag_id, "manual")) == runs
