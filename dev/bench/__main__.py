"""The command line of ``make bench``.

It generates caches in a local MongoDB, with 90 % of the datasets up to date, lists the Hub stand-in, and runs
backfills: over small entries, over entries as heavy as in production, and over datasets with a long tail of
configs. It stores the figures in ``.local/bench/results``, and compares them with the previous run.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pymongo import MongoClient
from rich.console import Console

from dev.bench import airflow_run, giant_dataset, one_process, scale, two_processes, under_load
from dev.bench.extrapolation import extrapolated
from dev.bench.figures import Figures, History, machine
from dev.bench.world import FOLDER, generated_world
from dev.local_stack.mongod import Mongod

RESULTS = "results"
SIZES = (2_000, 20_000)
LONG_TAIL_SIZE = 10_000
SHARDED_SIZE = 20_000
GIANT_CONFIGS = (1_000, 10_000)

#: Some 265,000 entries, 2.3 GB: several times the cache of their MongoDB.
HEAVY_SIZE = 3_000
HEAVY_CONTENT_BYTES = 8_000
HEAVY_CACHE_GIGABYTES = 0.5

Part = Callable[[Mongod], Iterator[Figures]]

console = Console(width=120, highlight=False)


def light(mongod: Mongod, sizes: Sequence[int] = SIZES) -> Iterator[Figures]:
    """Small entries, in a cache that MongoDB can hold in memory."""
    for datasets in sizes:
        yield _states(mongod, f"{datasets:,} datasets", datasets)


def long_tail(mongod: Mongod) -> Iterator[Figures]:
    """Small entries; most datasets have one config, a few have hundreds."""
    yield _states(
        mongod, f"{LONG_TAIL_SIZE:,} datasets, a long tail of configs", LONG_TAIL_SIZE, long_tail=True
    )


def heavy(_: Mongod) -> Iterator[Figures]:
    """Heavy entries, several times as large as the cache of a MongoDB of their own."""
    title = f"{HEAVY_SIZE:,} datasets, a long tail, heavy entries"
    with Mongod(FOLDER / "mongod-heavy", cache_gigabytes=HEAVY_CACHE_GIGABYTES) as its_mongod:
        yield _states(its_mongod, title, HEAVY_SIZE, long_tail=True, content_bytes=HEAVY_CONTENT_BYTES)


def _states(
    mongod: Mongod, title: str, datasets: int, *, long_tail: bool = False, content_bytes: int = 0
) -> Figures:
    console.print(f"A backfill of {title}: three states ...")
    with generated_world(mongod, datasets, long_tail=long_tail, content_bytes=content_bytes) as world:
        return Figures(title, one_process.measure_states(world))


def shards(mongod: Mongod) -> Iterator[Figures]:
    """Two shards at the same time."""
    title = f"{SHARDED_SIZE:,} datasets"
    console.print(f"Two shards of {title} at the same time ...")
    with generated_world(mongod, SHARDED_SIZE) as world:
        yield Figures("Two shards at the same time", {title: two_processes.measure(world)})


def airflow(mongod: Mongod) -> Iterator[Figures]:
    """Runs of the DAGs."""
    console.print(f"DAGs on Airflow, with {SHARDED_SIZE:,} datasets ...")
    with generated_world(mongod, SHARDED_SIZE) as world:
        yield Figures("Runs of DAGs on Airflow", airflow_run.measure(world))


def live(mongod: Mongod) -> Iterator[Figures]:
    """A backfill beside workers and webhooks."""
    console.print("A backfill beside workers and webhooks ...")
    with generated_world(mongod, under_load.DATASETS, up_to_date=0) as world:
        yield Figures("A backfill beside workers and webhooks", under_load.measure(world))


def giant(mongod: Mongod) -> Iterator[Figures]:
    """One dataset with thousands of configs."""
    columns = {}
    for configs in GIANT_CONFIGS:
        console.print(f"A dataset with {configs:,} configs ...")
        columns[f"{configs:,} configs"] = giant_dataset.measure(mongod, configs)
    yield Figures("One giant dataset", columns)


def at_scale(mongod: Mongod) -> Iterator[Figures]:
    """As many datasets as in production, and a tenth of its entries and jobs."""
    console.print(f"{scale.DATASETS:,} datasets with {scale.ENTRIES_OF_A_DATASET} entries each ...")
    with scale.flat_world(mongod, scale.DATASETS) as (world, written):
        title = f"{scale.DATASETS:,} datasets with {scale.ENTRIES_OF_A_DATASET} small entries each"
        runs = scale.measure_datasets(world)
        yield Figures(title, {run: {**written, **column} for run, column in runs.items()})
        yield Figures("Collecting metrics", scale.measure_metrics(world))


PARTS: Mapping[str, Part] = {
    "light": light,
    "long-tail": long_tail,
    "heavy": heavy,
    "shards": shards,
    "airflow": airflow,
    "live": live,
    "giant": giant,
    "scale": at_scale,
}
#: The parts that ``make bench`` leaves out unless it is told otherwise.
OPTIONAL = ("airflow", "scale")
#: The parts whose last world is extrapolated from.
EXTRAPOLATED_FROM = ("light", "heavy")


def measured(mongod: Mongod, parts: Mapping[str, Part]) -> Iterator[Figures]:
    """Measure the parts of the benchmark, one after the other, and extrapolate."""
    worlds: dict[str, Figures] = {}
    for name, part in parts.items():
        for figures in part(mongod):
            yield figures
            if name in EXTRAPOLATED_FROM:
                worlds[name] = figures
    if worlds:
        yield extrapolated(worlds.values())


def main() -> None:
    """Measure, print the tables, and store the figures."""
    chosen = _chosen_parts()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    history = History(FOLDER / RESULTS)
    _remove_data()
    parts = []
    with Mongod(FOLDER / "mongod") as mongod:
        with MongoClient[dict[str, Any]](mongod.uri) as client:
            description = machine(client.server_info()["version"])
        console.print(description)
        before = history.last()
        for part in measured(mongod, chosen):
            console.print(part.table(before.get(part.title, {})))
            parts.append(part)
    console.print(
        f"Stored in {history.add(description, parts)}. In brackets: the change since the previous run."
    )
    _remove_data()


def _chosen_parts() -> Mapping[str, Part]:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("datasets", type=int, nargs="*", default=SIZES, help="numbers of light datasets")
    parser.add_argument("--airflow", action="store_true", help="also run DAGs on Airflow")
    parser.add_argument("--scale", action="store_true", help="also measure as many datasets as in production")
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part; may be repeated")
    given = parser.parse_args()
    left_out = {name for name in OPTIONAL if not getattr(given, name)}
    names = given.only or [name for name in PARTS if name not in left_out]
    all_parts: dict[str, Part] = {**PARTS, "light": partial(light, sizes=given.datasets)}
    return {name: part for name, part in all_parts.items() if name in names}


def _remove_data() -> None:
    for path in FOLDER.glob("*"):
        if path.name != RESULTS:
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()
