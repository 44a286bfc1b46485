"""``make test-distributed``: a backfill survives the kill of one of its two workers.

It starts the services of docker-compose.yaml as processes on this machine, and runs a backfill of 5,000
datasets on two Celery workers. Then it restores the databases, runs the backfill again, and kills one worker
with all its tasks in the middle of its shards. Both runs must have the same result.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from dev.local_stack.command import STOPPED, console, fresh_folder, run_command, step
from dev.local_stack.distributed.runs import FinishedRun, Kill, undisturbed, with_a_kill
from dev.local_stack.distributed.stack import FOLDERS, WORKERS, check_programs, started
from dev.local_stack.distributed.state import DATASETS, REMOVALS
from dev.local_stack.mongod import find_mongod
from dev.local_stack.process import PROJECT_ROOT

_DATA = PROJECT_ROOT / ".local" / "distributed"


def run(data: Path) -> bool:
    """Do both runs, show what happened, and return whether every check succeeded.

    :param data: the folder of all data; the data of a previous run are removed.
    :raises ConfigurationError: if a program is missing, or the folder is in use.
    :raises ServiceError: if a server does not start, or a run does not end.
    """
    check_programs()
    find_mongod()
    with fresh_folder(data, *FOLDERS), started(data) as stack:
        stack.api.wait_for_dag("backfill")
        with step("A run without a kill"):
            first = undisturbed(stack)
        with step("A run with a kill of a worker"):
            second, kill = with_a_kill(stack, first.jobs)
    console.print()
    console.print(_shards(first, second, kill))
    console.print(_runs(first, second, kill))
    findings = _findings(first, second, kill)
    for finding, holds in findings.items():
        console.print(f"[green]yes[/]  {finding}" if holds else f"[red] no[/]  {finding}")
    for difference in first.end.differences(second.end):
        console.print(f"     [red]{escape(difference)}[/]", soft_wrap=True)
    return all(findings.values())


def _findings(first: FinishedRun, second: FinishedRun, kill: Kill) -> dict[str, bool]:
    retried = [second.shards[shard] for shard in kill.written]
    return {
        "both runs succeeded": first.state == second.state == "success",
        "both workers ran shards, in both runs": all(
            {each.worker for tries in run.shards for each in tries} == set(WORKERS) for run in (first, second)
        ),
        "the other worker did the shards of the killed one": all(
            tries[0].worker == kill.worker and tries[-1].worker != kill.worker for tries in retried
        ),
        f"jobs were created, and {REMOVALS} datasets removed": (
            sum(first.jobs) > 0 and first.end.cached_datasets == DATASETS - REMOVALS
        ),
        "both runs have the same result": first.end == second.end,
    }


def _shards(first: FinishedRun, second: FinishedRun, kill: Kill) -> Table:
    table = Table("shard", "without a kill", "with a kill", title="The workers of the shards")
    table.add_column("jobs", justify="right")
    table.add_column("at the kill", justify="right")
    for shard, jobs in enumerate(first.jobs):
        written = f"{kill.written[shard]:,}" if shard in kill.written else ""
        tries = (_tries(run, shard) for run in (first, second))
        table.add_row(str(shard), *tries, f"{jobs:,}", written)
    return table


def _tries(run: FinishedRun, shard: int) -> str:
    return ", ".join(
        each.worker if each.state == "success" else f"{each.worker} ({each.state})"
        for each in run.shards[shard]
    )


def _runs(first: FinishedRun, second: FinishedRun, kill: Kill) -> Table:
    table = Table("", title="The two runs")
    table.add_column("without a kill", justify="right")
    table.add_column("with a kill", justify="right")
    runs = (first, second)
    rows = {
        "duration": [f"{run.seconds:.1f} s" for run in runs],
        "kill after": ["", f"{kill.after_seconds:.1f} s"],
        "tries of shards": [f"{sum(map(len, run.shards))}" for run in runs],
        "jobs at the end": [f"{run.end.jobs:,}" for run in runs],
        "cache entries at the end": [f"{run.end.entries:,}" for run in runs],
        "datasets at the end": [f"{run.end.cached_datasets:,}" for run in runs],
    }
    for label, values in rows.items():
        table.add_row(label, *values)
    return table


def main() -> None:
    """Run from the command line.

    The exit code is 0 if every check succeeded, 1 if not, 130 if the command was stopped.
    """
    parser = argparse.ArgumentParser(prog="make test-distributed", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=_DATA, help="the folder of all data (default: %(default)s)"
    )
    arguments = parser.parse_args()
    exit_code = run_command(partial(run, arguments.data))
    sys.exit(STOPPED if exit_code is None else exit_code)


if __name__ == "__main__":
    main()
