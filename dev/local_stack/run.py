"""``make run``: start everything on one machine, with sample datasets, and run each action."""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from datasets_server import settings
from datasets_server.actions import BACKFILL
from dev.local_stack import sample_incident
from dev.local_stack.actions import VIEWS, View
from dev.local_stack.airflow_server import PARSE_ONCE, USER, AirflowApi, AirflowServer
from dev.local_stack.command import STOPPED, console, fresh_folder, run_command, step
from dev.local_stack.configuration import CACHE_DATABASE, QUEUE_DATABASE, configure, service_connections
from dev.local_stack.hub_server import HubServer
from dev.local_stack.mongod import Mongod, find_mongod
from dev.local_stack.ports import claim
from dev.local_stack.process import PROJECT_ROOT
from dev.local_stack.s3_server import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, S3Server
from dev.local_stack.sample_directories import cleanings, fill_directories
from dev.local_stack.sample_state import (
    BLOCKED_DATASETS,
    BOT_NAME,
    BOT_TOKEN,
    CACHED_ASSETS_PREFIX,
    DATASETS,
    fill,
)
from include.databases.mongo import MAINTENANCE_DATABASE
from include.planning.processing_graph import load_release

BUCKET = "hf-datasets-server-statics"
SHARDS_AT_ONCE = 2

_DATA = PROJECT_ROOT / ".local" / "run"
_PORT = 8080
#: The address of the console within Airflow.
CONSOLE = "plugin/datasets-server"
_POLL_SECONDS = 0.5


# The actions


def run_action(api: AirflowApi, dag_id: str, view: View) -> bool:
    """Run an action, show its report, and return whether it succeeded."""
    with step(f"{dag_id} triggered and finished") as tell:
        api.wait_for_dag(dag_id)
        run_id = api.trigger(dag_id)
        for _ in api.while_running(dag_id, run_id):
            tell(f"{dag_id}: {_progress(api, dag_id, run_id)}")
    run = api.run(dag_id, run_id)
    report = api.result(dag_id, run_id, view.result_task) if view.result_task else {}
    if report is not None:
        seconds = datetime.fromisoformat(run["end_date"]) - datetime.fromisoformat(run["start_date"])
        console.print(view.table(dag_id, report, seconds.total_seconds()))
        for example in view.examples(report):
            console.print(example, overflow="ellipsis", no_wrap=True)
    if run["state"] == "failed":
        failed = [task["task_id"] for task in api.tasks(dag_id, run_id) if task["state"] == "failed"]
        console.print(f"[red]The run of {dag_id} failed, in {', '.join(failed)}.[/]")
    return bool(run["state"] == "success")


def _progress(api: AirflowApi, dag_id: str, run_id: str) -> str:
    tasks = api.tasks(dag_id, run_id)
    running = sorted({task["task_id"] for task in tasks if task["state"] in ("running", "deferred")})
    done = sum(task["state"] in ("success", "skipped", "failed", "upstream_failed") for task in tasks)
    return f"{done} of {len(tasks)} tasks done, {', '.join(running) or 'the next one starts'}"


# The services


@dataclass(frozen=True, slots=True)
class Services:
    """The services of the DAGs, started and filled with the sample."""

    mongod: Mongod
    s3: S3Server
    hub: HubServer
    assets: Path
    storage: Path

    def fill(self) -> None:
        """Replace their data with the sample."""
        with MongoClient[dict[str, Any]](self.mongod.uri) as client:
            databases = client[CACHE_DATABASE], client[QUEUE_DATABASE]
            self.hub.load(fill(*databases, self.assets, self.s3.client(), BUCKET, load_release()))
        fill_directories(self.storage)

    def let_something_happen(self) -> None:
        """Give the console something to show."""
        with MongoClient[dict[str, Any]](self.mongod.uri) as client:
            databases = {
                "cache": client[CACHE_DATABASE],
                "queue": client[QUEUE_DATABASE],
                "own": client[MAINTENANCE_DATABASE],
            }
            sample_incident.happen(databases, self.hub.state, load_release())

    def let_a_run_wait(self, api: AirflowApi) -> str:
        """Let a backfill ask whether it may remove datasets, and return its id."""
        return api.trigger(BACKFILL.id, datasets=list(sample_incident.LOST), removal_limit=0)

    def introduce(self, api: AirflowApi) -> None:
        """Create the Connections, the Variables and the pool for these services."""
        connections = {
            **service_connections(self.mongod.port, self.hub.url),
            settings.HUB_BOT.id: {
                "conn_type": settings.HUB_BOT.conn_type,
                "login": BOT_NAME,
                "password": BOT_TOKEN,
            },
            settings.S3.id: {
                "conn_type": settings.S3.conn_type,
                "login": ACCESS_KEY_ID,
                "password": SECRET_ACCESS_KEY,
                "extra": {"endpoint_url": self.s3.endpoint_url, "region_name": REGION},
            },
        }
        variables = {
            settings.BLOCKED_DATASETS.name: BLOCKED_DATASETS,
            # The first backfill removes ten, and the question of a later one is about more.
            settings.MAX_REMOVALS_PER_DAY.name: "20",
            settings.ASSETS_PROTOCOL.name: "file",
            settings.ASSETS_ROOT.name: str(self.assets),
            settings.CACHED_ASSETS_PROTOCOL.name: "s3",
            settings.CACHED_ASSETS_ROOT.name: f"s3://{BUCKET}/{CACHED_ASSETS_PREFIX}",
            settings.ARCHIVE_ROOT.name: str(self.storage.with_name("removed-datasets")),
            settings.DIRECTORY_CLEANING.name: json.dumps(cleanings(self.storage)),
        }
        configure(api, connections, variables, SHARDS_AT_ONCE)


def start_services(data: Path, stack: ExitStack) -> Services:
    """Start the services of the DAGs, and fill them with the sample.

    :param data: the folder of all data.
    :param stack: stops the services at its end.
    :raises ConfigurationError: if there is no mongod.
    :raises ServiceError: if a server does not start.
    """
    logs = data / "logs"
    with step("MongoDB started"):
        mongod = stack.enter_context(
            Mongod(data / "mongod", log_file=logs / "mongod.log", cache_gigabytes=0.5)
        )
    with step("S3 server started"):
        s3 = stack.enter_context(S3Server(log_file=logs / "s3.log"))
        s3.create_bucket(BUCKET)
    with step("Hub stand-in started"):
        hub = stack.enter_context(HubServer())
    services = Services(mongod, s3, hub, (data / "assets").absolute(), (data / "storage").absolute())
    with step(f"{DATASETS} sample datasets written"):
        services.fill()
    return services


def start_all(data: Path, port: int, stack: ExitStack, *, once: bool) -> tuple[AirflowServer, Services]:
    """Start everything. Airflow creates its database, the slowest step, in parallel.

    :param once: nobody changes the DAGs meanwhile.
    """
    environment = PARSE_ONCE if once else None
    airflow = AirflowServer(data / "airflow", log_folder=data / "logs", port=port, environment=environment)
    with ThreadPoolExecutor(1) as pool:
        migration = pool.submit(airflow.migrate)
        services = start_services(data, stack)
        with step("Airflow's database created"):
            migration.result()
    stack.callback(airflow.stop)
    with step("Airflow started (UI, scheduler, DAG processor, triggerer)"):
        airflow.start()
    return airflow, services


def run(data: Path, port: int, *, once: bool) -> bool:
    """Start everything, run each action, and keep everything running until Ctrl-C.

    :param data: the folder of all data; the data of a previous run are removed.
    :param port: the port of Airflow's UI; if it is taken, another one.
    :param once: stop after the actions.
    :return: whether every action succeeded.
    :raises ConfigurationError: if there is no mongod, or the folder is in use.
    :raises ServiceError: if a server does not start, or ends.
    """
    find_mongod()
    with fresh_folder(data, "airflow", "assets", "mongod", "storage"), ExitStack() as stack:
        airflow, services = start_all(data, claim(port, "Airflow's UI"), stack, once=once)
        with airflow.api() as api:
            with step("Connections and Variables created"):
                services.introduce(api)
            outcomes = [run_action(api, dag_id, view) for dag_id, view in VIEWS.items()]
            if not once:
                with step("Some troubles added for the console to show"):
                    services.let_something_happen()
                    services.let_a_run_wait(api)
        if not all(outcomes):
            console.print(f"The logs of the tasks are in {airflow.task_log_folder}.", soft_wrap=True)
        if not once:
            _show_addresses(airflow, services)
        while not once:
            airflow.check()
            time.sleep(_POLL_SECONDS)
    return all(outcomes)


def _show_addresses(airflow: AirflowServer, services: Services) -> None:
    console.print(
        f"\n[bold]Airflow's UI  {airflow.url}[/]  user [bold]{USER}[/], password [bold]{airflow.password}[/]"
    )
    console.print(f"[bold]The console   {airflow.url}/{CONSOLE}[/]")
    console.print(f"MongoDB       {services.mongod.uri}")
    console.print(f"S3            {services.s3.endpoint_url}")
    console.print(f"Hub stand-in  {services.hub.url}")
    console.print(f"Logs          {airflow.log_folder}")
    console.print("\nCtrl-C stops everything.")


def main() -> None:
    """Run from the command line.

    The exit code is 0 if every action succeeded, 1 if an action or a server failed, 130 if the command was
    stopped too early.
    """
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop after the actions")
    parser.add_argument(
        "--data", type=Path, default=_DATA, help="the folder of all data (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=_PORT, help="the port of Airflow's UI (default: %(default)s)"
    )
    arguments = parser.parse_args()
    exit_code = run_command(partial(run, arguments.data, arguments.port, once=arguments.once))
    if exit_code is None:  # Without --once, only a signal ends the command.
        exit_code = STOPPED if arguments.once else 0
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
