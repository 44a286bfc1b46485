"""Runs of DAGs on a real Airflow, over the same cache, and how much of their time is Airflow's own."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from pymongo import MongoClient

from datasets_server import settings
from dev.bench.changes import finish_jobs
from dev.bench.figures import Column
from dev.bench.world import CACHE, FOLDER, QUEUE, World, opened
from dev.local_stack.airflow_server import AirflowApi, AirflowServer
from dev.local_stack.configuration import configure, service_connections
from dev.local_stack.ports import free_port
from dev.local_stack.process import PROJECT_ROOT
from include.errors import ServiceError

DAG_ID, SHARD_TASK = "backfill", "backfill_shard"
RETRYABLE_ERRORS = "backfill-retryable-errors"

#: The machines that were measured have two cores.
SHARDS_AT_ONCE = 2
#: Of a run that takes seconds; the median counts.
TIMES = 3

_EMPTY_DAGS = Path(__file__).with_name("empty_dags.py")


def measure(world: World) -> Mapping[str, Column]:
    """Measure a backfill of all datasets, then the shortest runs of two DAGs, from the trigger to the end.

    :raises ServiceError: if Airflow does not start, or a run fails.
    """
    folder = PROJECT_ROOT / FOLDER / "airflow"
    (folder / "logs").mkdir(parents=True)
    dags = folder / "dags"
    shutil.copytree(PROJECT_ROOT / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_EMPTY_DAGS, dags)
    airflow = AirflowServer(
        folder / "home",
        log_folder=folder / "logs",
        port=free_port(),
        environment={"AIRFLOW__CORE__DAGS_FOLDER": str(dags)},
    )
    airflow.migrate()
    with airflow, airflow.api() as api:
        _introduce(api, world)
        for dag_id in (DAG_ID, RETRYABLE_ERRORS, _empty_dag(1)):
            api.wait_for_dag(dag_id)
        runs = _Runs(airflow, api)
        whole = runs.run(DAG_ID)
        finish_jobs(world)
        return {
            "backfill of all datasets": {"entries": _entries(world), **whole.figures},
            "backfill of one dataset": runs.shortest(DAG_ID, datasets=[_a_name(world)]),
            f"{RETRYABLE_ERRORS}, nothing to do": runs.shortest(RETRYABLE_ERRORS),
        }


def _introduce(api: AirflowApi, world: World) -> None:
    storages = PROJECT_ROOT / FOLDER
    roots = {
        settings.ASSETS_ROOT.name: storages / "assets",
        settings.CACHED_ASSETS_ROOT.name: storages / "cached-assets",
        settings.ARCHIVE_ROOT.name: storages / "removed-datasets",
    }
    for root in roots.values():
        root.mkdir()
    connections = service_connections(world.mongod_port, world.hub_url, CACHE, QUEUE)
    configure(api, connections, {name: str(root) for name, root in roots.items()}, SHARDS_AT_ONCE)


def _empty_dag(tasks: int) -> str:
    return f"empty-{tasks}"


def _entries(world: World) -> int:
    with MongoClient[dict[str, Any]](world.mongo_uri) as client:
        return client[CACHE]["cachedResponsesBlue"].estimated_document_count()


def _a_name(world: World) -> str:
    with opened(world) as parts:
        return next(parts.cache.dataset_names())


@dataclass(frozen=True, slots=True)
class _Run:
    """A run that has ended, and its task instances."""

    seconds: float
    tasks: list[dict[str, Any]]

    @property
    def processes(self) -> int:
        """The number of tasks that ran; Airflow skips the others without starting them."""
        return sum(task["pid"] is not None for task in self.tasks)

    @property
    def figures(self) -> Column:
        spans: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
        for task in self.tasks:
            if task["start_date"] and task["end_date"]:
                spans[task["task_id"]].append((_time(task["start_date"]), _time(task["end_date"])))
        figures: dict[str, float] = {
            "shards": len(spans[SHARD_TASK]),
            "tasks that ran": self.processes,
            "from the trigger to the end, s": self.seconds,
        }
        for name, times in spans.items():
            first, last = min(start for start, _ in times), max(end for _, end in times)
            figures[f"{name}, s"] = (last - first).total_seconds()
        return figures


@dataclass(frozen=True, slots=True)
class _Runs:
    """Triggers runs, and waits for them."""

    airflow: AirflowServer
    api: AirflowApi

    def run(self, dag_id: str, **params: Any) -> _Run:
        """Trigger a DAG, and wait for the end of its run.

        :raises ServiceError: if it fails.
        """
        start = datetime.now(UTC)
        run_id = self.api.trigger(dag_id, **params)
        for _ in self.api.while_running(dag_id, run_id):
            self.airflow.check()
        run = self.api.run(dag_id, run_id)
        if run["state"] == "failed":
            logs = self.airflow.task_log_folder
            raise ServiceError(f"The run of {dag_id} failed: the logs of its tasks are in {logs}.")
        seconds = (_time(run["end_date"]) - start).total_seconds()
        return _Run(seconds, self.api.tasks(dag_id, run_id))

    def shortest(self, dag_id: str, **params: Any) -> Column:
        """Measure runs of a DAG, in turns with runs of as many empty tasks."""
        runs, empty_runs = [], []
        for _ in range(TIMES):
            runs.append(self.run(dag_id, **params))
            empty_runs.append(self.run(_empty_dag(runs[-1].processes)))
        seconds, empty = (median(run.seconds for run in each) for each in (runs, empty_runs))
        return {
            "tasks that ran": runs[-1].processes,
            "from the trigger to the end, s": seconds,
            "as many empty tasks, s": empty,
            "Airflow's own share, %": 100 * empty / seconds,
        }


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
