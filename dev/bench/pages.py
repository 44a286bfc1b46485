"""How long the pages of the console take on a cache as large as in production.

``python -m dev.bench.pages [DATASETS]`` fills a cache with so many datasets (500,000 by default) of six
small entries each, all of which are errors in one of a hundred datasets, a queue with 100,000 jobs, and a
history of five days. Then it asks Airflow's API server for each page, in one process with it: first when no
answer is kept, then again.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient
from rich.console import Console

from dev.bench.figures import Column, Figures
from dev.bench.scale import DATASETS, fill_queue, flat_world
from dev.bench.world import CACHE, FOLDER, QUEUE
from dev.local_stack.documents import CACHE as ENTRIES
from dev.local_stack.documents import write_totals
from dev.local_stack.mongod import Mongod
from dev.local_stack.process import PROJECT_ROOT
from dev.local_stack.sample_incident import write_history
from dev.local_stack.sample_state import HUB_TOKEN
from include.databases.cache_store import CacheStore
from include.databases.mongo import MAINTENANCE_DATABASE
from include.databases.queue_store import QueueStore
from include.planning.processing_graph import load_release

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

JOBS = 100_000
CODE = "StreamingRowsError"
TIMES = 3

console = Console(width=120, highlight=False)


def measure(client: TestClient, dataset: str) -> dict[str, Column]:
    """Return the seconds of each page: the median of a few, each time without a kept answer, and with one."""
    from datasets_server.console.answers import forget_answers

    paths = {
        "Now": "now",
        "Over time": "over-time",
        "One dataset": f"dataset?name={dataset}",
        "names": f"dataset/names?prefix={dataset[:4]}",
        "Errors": "errors",
        "Errors of a code": f"errors?code={CODE}",
    }
    columns: dict[str, Column] = {}
    for title, path in paths.items():
        fresh, kept = [], []
        for _ in range(TIMES):
            forget_answers()
            fresh.append(_seconds(client, path))
            kept.append(_seconds(client, path))
        columns[title] = {"fresh, s": sorted(fresh)[TIMES // 2], "kept, s": sorted(kept)[TIMES // 2]}
    return columns


def _seconds(client: TestClient, path: str) -> float:
    start = time.perf_counter()
    client.get(f"/datasets-server/{path}").raise_for_status()
    return time.perf_counter() - start


def fill(client: MongoClient[dict[str, Any]]) -> str:
    """Add errors, jobs, counts and a history, and return the name of a dataset."""
    release = load_release()
    entries = client[CACHE][ENTRIES]
    error = {"http_status": 500, "error_code": CODE, "failed_runs": 1}
    entries.update_many({"dataset": {"$regex": "77$"}}, {"$set": error})
    fill_queue(client, JOBS)
    write_totals(client[CACHE], client[QUEUE], release)
    counted = {
        "collect-cache-metrics": CacheStore(client[CACHE]).collect_metrics(),
        "collect-queue-metrics": QueueStore(client[QUEUE], release).collect_metrics(),
    }
    write_history(client[MAINTENANCE_DATABASE], counted, datetime.now(UTC))
    [found] = entries.find({"error_code": CODE}, {"dataset": 1}).limit(1)
    return str(found["dataset"])


@contextmanager
def api_server(mongod: Mongod, hub_url: str) -> Iterator[TestClient]:
    """Run Airflow's API server in this process, with an administrator who has logged in."""
    with tempfile.TemporaryDirectory() as home:
        hub = {"conn_type": "generic", "host": hub_url, "password": HUB_TOKEN}
        mongo = f"mongo://{mongod.host}:{mongod.port}"
        os.environ |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW__API_AUTH__JWT_SECRET": "known to this process alone, " * 3,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
            "AIRFLOW_CONN_DATASETS_SERVER_CACHE": f"{mongo}/{CACHE}",
            "AIRFLOW_CONN_DATASETS_SERVER_QUEUE": f"{mongo}/{QUEUE}",
            "AIRFLOW_CONN_HUGGINGFACE_HUB": json.dumps(hub),
        }
        from airflow.api_fastapi.app import create_app, get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
        from airflow.utils.db import initdb
        from fastapi.testclient import TestClient

        initdb()
        with TestClient(create_app(apps="core"), headers={"Accept": "text/html"}) as client:
            user = SimpleAuthManagerUser(username="someone", role="admin")
            client.cookies.set("_token", get_auth_manager().generate_jwt(user))
            yield client


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m dev.bench.pages", description=__doc__)
    parser.add_argument("datasets", nargs="?", type=int, default=DATASETS)
    datasets = parser.parse_args().datasets
    with (
        Mongod(Path(FOLDER) / "pages", cache_gigabytes=1) as mongod,
        flat_world(mongod, datasets) as (world, _),
    ):
        with MongoClient[dict[str, Any]](mongod.uri) as client:
            name = fill(client)
            entries = client[CACHE][ENTRIES].estimated_document_count()
        with api_server(mongod, world.hub_url) as pages:
            columns = measure(pages, name)
    title = f"Pages of the console, {datasets:,} datasets with {entries:,} entries"
    console.print(Figures(title, columns).table({}))


if __name__ == "__main__":
    main()
