"""``make test-distributed``: a backfill ends as it should, though one of its two workers is killed.

It starts what docker-compose.yaml has as containers as processes of this machine, runs a backfill of 5,000
datasets over two Celery workers, puts the databases back and runs it again; this time, one worker is killed
with all its tasks in the middle of its shards. Both runs must have the same end.
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
    """Do both runs, show what happened, and return whether all is as it should be.

    :param data: the folder of all data; what a run before left there is removed.
    :raises ConfigurationError: if a program is missing, or the folder is in use.
    :raises ServiceError: if a server does not come up, or a run does not end.
    """
    check_programs()
    find_mongod()
    with fresh_folder(data, *FOLDERS), started(data) as stack:
        stack.api.wait_for_dag("backfill")
        with step("A run that nothing disturbs"):
            first = undisturbed(stack)
        with step("A run with a worker killed in the middle"):
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
        "both workers took shards, in both runs": all(
            {each.worker for tries in run.shards for each in tries} == set(WORKERS) for run in (first, second)
        ),
        "the shards of the killed worker were done by the other one": all(
            tries[0].worker == kill.worker and tries[-1].worker != kill.worker for tries in retried
        ),
        f"jobs were created, and {REMOVALS} datasets removed": (
            sum(first.jobs) > 0 and first.end.cached_datasets == DATASETS - REMOVALS
        ),
        "both runs have the same end": first.end == second.end,
    }


def _shards(first: FinishedRun, second: FinishedRun, kill: Kill) -> Table:
    table = Table("shard", "nothing disturbs it", "a worker is killed", title="Who did the shards")
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
    table.add_column("nothing disturbs it", justify="right")
    table.add_column("a worker is killed", justify="right")
    runs = (first, second)
    rows = {
        "duration": [f"{run.seconds:.1f} s" for run in runs],
        "a worker was killed after": ["", f"{kill.after_seconds:.1f} s"],
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

    The exit code is 0 if all is as it should be, 1 if not, 130 if it was stopped.
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
