"""A whole run of the DAG ``backfill`` on a real Airflow, over the same cache."""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import datetime
from typing import Any

from pymongo import MongoClient

from dev.bench.figures import Column
from dev.bench.world import CACHE, FOLDER, QUEUE, World
from dev.local_stack.airflow_server import SHARD_POOL, AirflowApi, AirflowServer
from dev.local_stack.ports import free_port
from dev.local_stack.process import PROJECT_ROOT
from dev.local_stack.sample_state import HUB_TOKEN
from include.errors import ServiceError

DAG_ID, SHARD_TASK = "backfill", "backfill_shard"

#: As many as the machines of these figures have cores.
SHARDS_AT_ONCE = 2

_POLL_SECONDS = 0.5


def measure(world: World) -> Column:
    """Trigger the DAG with its default parameters, and measure it from its start to its end.

    :raises ServiceError: if Airflow does not come up, or the run fails.
    """
    folder = PROJECT_ROOT / FOLDER / "airflow"
    (folder / "logs").mkdir(parents=True)
    airflow = AirflowServer(folder / "home", log_folder=folder / "logs", port=free_port())
    airflow.migrate()
    with airflow, airflow.api() as api:
        _introduce(api, world)
        api.wait_for_dag(DAG_ID)
        run_id = api.trigger(DAG_ID)
        while (run := api.run(DAG_ID, run_id))["state"] not in ("success", "failed"):
            airflow.check()
            time.sleep(_POLL_SECONDS)
        if run["state"] == "failed":
            raise ServiceError(f"The run of {DAG_ID} failed: the logs of its tasks are in {folder}.")
        return _figures(run, api.tasks(DAG_ID, run_id), _entries(world))


def _introduce(api: AirflowApi, world: World) -> None:
    for what, database in (("cache", CACHE), ("queue", QUEUE)):
        api.create_connection(
            f"datasets_server_{what}",
            conn_type="mongo",
            host="127.0.0.1",
            port=world.mongod_port,
            schema=database,
            extra={"directConnection": True},
        )
    api.create_pool(SHARD_POOL, SHARDS_AT_ONCE, "shards at work at once")
    api.create_connection("huggingface_hub", conn_type="generic", host=world.hub_url, password=HUB_TOKEN)
    for storage in ("assets", "cached_assets"):
        root = PROJECT_ROOT / FOLDER / storage
        root.mkdir()
        api.create_variable(f"datasets_server_{storage}_storage_root", str(root))


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
