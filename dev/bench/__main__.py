"""The command line of ``make bench``.

For each number of datasets, it generates a cache in a local MongoDB, with 90 % of the datasets up to date,
lists the Hub stand-in, and runs a backfill. It stores the figures in ``.local/bench/results``, and compares
them with the previous run.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Iterator
from typing import Any

from pymongo import MongoClient
from rich.console import Console

from dev.bench import airflow_run, giant_dataset, one_process, two_processes, under_load
from dev.bench.figures import Column, Figures, History, machine
from dev.bench.world import FOLDER, generated_world
from dev.local_stack.mongod import Mongod

RESULTS = "results"
SIZES = (2_000, 20_000)
SHARDED_SIZE = 20_000
GIANT_CONFIGS = (1_000, 10_000)

console = Console(width=120, highlight=False)


def measured(mongod: Mongod, sizes: list[int], *, with_airflow: bool) -> Iterator[Figures]:
    """Measure the parts of the benchmark, one after the other."""
    columns: dict[str, Column] = {}
    for datasets in sizes:
        console.print(f"A backfill of {datasets:,} datasets ...")
        with generated_world(mongod, datasets) as world:
            columns[f"{datasets:,} datasets"] = one_process.measure(world)
    yield Figures("A backfill in one process", columns)

    title = f"{SHARDED_SIZE:,} datasets"
    console.print(f"Two shards of {title} at the same time ...")
    with generated_world(mongod, SHARDED_SIZE) as world:
        yield Figures("Two shards at the same time", {title: two_processes.measure(world)})
        if with_airflow:
            console.print(f"The DAG over {title} ...")
            yield Figures("The DAG backfill on Airflow", {title: airflow_run.measure(world)})

    console.print("A backfill beside workers and webhooks ...")
    with generated_world(mongod, under_load.DATASETS, up_to_date=0) as world:
        yield Figures("A backfill beside workers and webhooks", under_load.measure(world))

    columns = {}
    for configs in GIANT_CONFIGS:
        console.print(f"A dataset with {configs:,} configs ...")
        columns[f"{configs:,} configs"] = giant_dataset.measure(mongod, configs)
    yield Figures("One giant dataset", columns)


def main() -> None:
    """Measure, print the tables, and store the figures."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("datasets", type=int, nargs="*", default=SIZES, help="numbers of datasets")
    parser.add_argument("--airflow", action="store_true", help="also run the DAG on Airflow")
    arguments = parser.parse_args()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    history = History(FOLDER / RESULTS)
    _remove_data()
    parts = []
    with Mongod(FOLDER / "mongod") as mongod:
        with MongoClient[dict[str, Any]](mongod.uri) as client:
            description = machine(client.server_info()["version"])
        console.print(description)
        before = history.last()
        for part in measured(mongod, list(arguments.datasets), with_airflow=arguments.airflow):
            console.print(part.table(before.get(part.title, {})))
            parts.append(part)
    console.print(
        f"Stored in {history.add(description, parts)}. In brackets: the change since the previous run."
    )
    _remove_data()


def _remove_data() -> None:
    for path in FOLDER.glob("*"):
        if path.name != RESULTS:
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()
