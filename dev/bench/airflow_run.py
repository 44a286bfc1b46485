"""A complete run of the DAG ``backfill`` on a real Airflow, over the same cache."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from pymongo import MongoClient

from datasets_server import settings
from dev.bench.figures import Column
from dev.bench.world import CACHE, FOLDER, QUEUE, World
from dev.local_stack.airflow_server import AirflowApi, AirflowServer
from dev.local_stack.configuration import configure, service_connections
from dev.local_stack.ports import free_port
from dev.local_stack.process import PROJECT_ROOT
from include.errors import ServiceError

DAG_ID, SHARD_TASK = "backfill", "backfill_shard"

#: The machines that were measured have two cores.
SHARDS_AT_ONCE = 2


def measure(world: World) -> Column:
    """Trigger the DAG with its default parameters, and measure the run from start to end.

    :raises ServiceError: if Airflow does not start, or the run fails.
    """
    folder = PROJECT_ROOT / FOLDER / "airflow"
    (folder / "logs").mkdir(parents=True)
    airflow = AirflowServer(folder / "home", log_folder=folder / "logs", port=free_port())
    airflow.migrate()
    with airflow, airflow.api() as api:
        _introduce(api, world)
        api.wait_for_dag(DAG_ID)
        run_id = api.trigger(DAG_ID)
        for _ in api.while_running(DAG_ID, run_id):
            airflow.check()
        run = api.run(DAG_ID, run_id)
        if run["state"] == "failed":
            raise ServiceError(f"The run of {DAG_ID} failed: the logs of its tasks are in {folder}.")
        return _figures(run, api.tasks(DAG_ID, run_id), _entries(world))


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


def _entries(world: World) -> int:
    with MongoClient[dict[str, Any]](world.mongo_uri) as client:
        return client[CACHE]["cachedResponsesBlue"].estimated_document_count()


def _figures(run: dict[str, Any], tasks: list[dict[str, Any]], entries: int) -> Column:
    spans: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for task in tasks:
        if task["start_date"] and task["end_date"]:
            spans[task["task_id"]].append((_time(task["start_date"]), _time(task["end_date"])))
    figures: dict[str, float] = {
        "entries": entries,
        "shards": len(spans[SHARD_TASK]),
        "the whole run, s": (_time(run["end_date"]) - _time(run["start_date"])).total_seconds(),
    }
    for name, times in spans.items():
        first, last = min(start for start, _ in times), max(end for _, end in times)
        figures[f"{name}, s"] = (last - first).total_seconds()
    return figures


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
