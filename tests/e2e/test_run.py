"""`make run ONCE=1`, the whole of it: what its table says is what the databases hold."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from datasets_server.actions import ACTIONS
from dev.local_stack import ports
from dev.local_stack.actions import VIEWS
from dev.local_stack.configuration import CACHE_DATABASE, QUEUE_DATABASE
from dev.local_stack.documents import CACHE, JOBS, utc_now
from dev.local_stack.mongod import Mongod
from dev.local_stack.process import PROJECT_ROOT
from dev.local_stack.sample_state import Outcome, datasets_by_outcome
from include.planning.processing_graph import load_release

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: As make sets it.
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{PROJECT_ROOT}:{PROJECT_ROOT / 'plugins'}"}


@dataclass(frozen=True)
class Run:
    """One run, and what it left."""

    data: Path
    taken_port: int
    started_at: datetime
    exit_code: int
    output: str
    processes_left: list[str]

    def number(self, label: str) -> int:
        """Read a row, and sum it up over the tables that have it."""
        found = re.findall(rf"│ {label} +│ +([\d,]+) │", self.output)
        assert found, f"no row {label!r} in\n{self.output}"
        return sum(int(number.replace(",", "")) for number in found)


def processes_naming(folder: Path) -> list[str]:
    """The commands of the processes that have this folder in their command or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if str(folder).encode() in command + (process / "environ").read_bytes():
                found.append(command.replace(b"\0", b" ").decode())
    return found


def command(data: Path, port: int) -> list[str]:
    options = ["--once", "--data", str(data), "--port", str(port)]
    return [sys.executable, "-m", "dev.local_stack.run", *options]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    data = tmp_path_factory.mktemp("run")
    started_at = utc_now()
    with socket.create_server((ports.HOST, 0)) as another_program:
        port = another_program.getsockname()[1]
        result = subprocess.run(
            command(data, port),
            cwd=PROJECT_ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    output = result.stdout + result.stderr
    return Run(data, port, started_at, result.returncode, output, processes_naming(data))


@pytest.fixture(scope="module")
def databases_left(run: Run) -> Iterator[MongoClient[dict[str, Any]]]:
    with Mongod(run.data / "mongod") as mongod, MongoClient[dict[str, Any]](mongod.uri) as client:
        yield client


def test_make_run_succeeds_and_leaves_no_process(run: Run) -> None:
    assert run.exit_code == 0, run.output
    assert run.processes_left == []


def test_make_run_takes_another_port_and_says_so(run: Run) -> None:
    assert f"Port {run.taken_port} is taken by another program" in run.output


def test_the_tables_have_the_datasets_of_the_sample(run: Run) -> None:
    names = datasets_by_outcome(load_release())

    # Those with an error to retry have their jobs when the backfill comes.
    for outcome in (Outcome.BACKFILLED, Outcome.REMOVED, Outcome.FAILED):
        assert run.number(f"datasets {outcome}") == len(names[outcome])


def test_each_action_has_a_table(run: Run) -> None:
    titles = re.findall(r"^ +(\S+) +\n┌", run.output, re.MULTILINE)

    assert titles == list(VIEWS)
    assert set(titles) == {action.id for action in ACTIONS}


def test_the_created_jobs_are_in_the_queue(run: Run, databases_left: MongoClient[dict[str, Any]]) -> None:
    jobs = databases_left[QUEUE_DATABASE][JOBS]
    created = jobs.count_documents({"created_at": {"$gte": run.started_at}, "status": "waiting"})
    # Jobs of the sample are half an hour old at least.
    assert created == run.number("jobs created") > 0
    assert run.number("jobs deleted") > 0


def test_the_removed_datasets_are_gone_and_no_others(
    run: Run, databases_left: MongoClient[dict[str, Any]]
) -> None:
    outcomes = datasets_by_outcome(load_release())
    cached = set(databases_left[CACHE_DATABASE][CACHE].distinct("dataset"))
    # Each has its folder in both storages.
    folders = 2 * len(outcomes[Outcome.REMOVED])

    assert cached == frozenset().union(*outcomes.values()) - outcomes[Outcome.REMOVED]
    assert run.number("storage folders removed") == folders
    kept = {path.parent for path in (run.data / "assets").rglob("--") if any(path.rglob("*.jpg"))}
    assert not kept & {run.data / "assets" / name for name in outcomes[Outcome.REMOVED]}
    assert {run.data / "assets" / name for name in ("squad/other", "user/data2")} <= kept


def test_a_signal_stops_make_run_at_once_and_leaves_no_process(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(tmp_path, ports.free_port()),
        cwd=PROJECT_ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "MongoDB started" in process.stdout.readline()
    asked_at = time.monotonic()
    process.terminate()
    process.communicate(timeout=60)

    assert process.returncode == 130
    assert time.monotonic() - asked_at < 15
    assert processes_naming(tmp_path) == []
