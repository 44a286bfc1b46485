"""The processes: the services of docker-compose.yaml, with two workers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from datasets_server import settings
from dev.local_stack import postgres_server, redis_server
from dev.local_stack.airflow_server import PARSE_ONCE, AirflowApi, AirflowServer
from dev.local_stack.command import step
from dev.local_stack.configuration import configure, service_connections
from dev.local_stack.distributed.state import ASSETS, CACHED_ASSETS, DATASETS, StateFolder, make_start
from dev.local_stack.hub_server import HubProcess
from dev.local_stack.mongod import Mongod
from dev.local_stack.postgres_server import PostgresServer
from dev.local_stack.redis_server import RedisServer
from include.errors import ConfigurationError

WORKERS = ("worker-1", "worker-2")
TASKS_OF_A_WORKER = 2
SLOTS = TASKS_OF_A_WORKER * len(WORKERS)
FOLDERS = ("airflow", "end", "hub", "postgres", "start")


def check_programs() -> None:
    """Check that PostgreSQL and Redis are installed.

    :raises ConfigurationError: naming the missing Debian packages.
    """
    found = {
        postgres_server.DEBIAN_PACKAGE: postgres_server.find_postgres_programs(),
        redis_server.DEBIAN_PACKAGE: redis_server.find_redis_program(),
    }
    missing = [package for package, program in found.items() if program is None]
    if missing:
        raise ConfigurationError(f"Debian packages are missing: apt-get install {' '.join(missing)}")


@dataclass(frozen=True, slots=True)
class Stack:
    """The running services, and the initial state, which can be restored."""

    api: AirflowApi
    airflow: AirflowServer
    mongod: Mongod
    client: MongoClient[dict[str, Any]]
    start: StateFolder
    present: StateFolder

    def put_back(self) -> None:
        """Restore the databases and storages to the state before the first run."""
        self.mongod.stop()
        self.present.copy_from(self.start)
        self.mongod.start()


@contextmanager
def started(data: Path) -> Iterator[Stack]:
    """Start everything, with the initial state.

    :raises ServiceError: if a server does not start.
    """
    logs = data / "logs"
    start, present = StateFolder(data / "start"), StateFolder(data / "end")
    with ExitStack() as stack:
        with step("PostgreSQL and Redis started"):
            postgres = stack.enter_context(PostgresServer(data / "postgres", log_file=logs / "postgres.log"))
            redis = stack.enter_context(RedisServer(log_file=logs / "redis.log"))
        mongod = Mongod(present.mongod, log_file=logs / "mongod.log", cache_gigabytes=0.5)
        airflow = AirflowServer(
            data / "airflow",
            log_folder=logs,
            workers=WORKERS,
            triggerer=False,
            environment={**PARSE_ONCE, **_options(postgres, redis)},
        )
        with ThreadPoolExecutor(1) as pool:
            migration = pool.submit(airflow.migrate)
            with step(f"{DATASETS:,} datasets generated"):
                state = make_start(start, logs / "mongod.log")
                present.copy_from(start)
            hub = stack.enter_context(HubProcess(state, data / "hub"))
            stack.callback(mongod.stop)
            mongod.start()
            with step("Airflow's database created"):
                migration.result()
        client = stack.enter_context(MongoClient[dict[str, Any]](mongod.uri))
        stack.callback(airflow.stop)
        with step(f"Airflow started (API server, scheduler, DAG processor, {len(WORKERS)} workers)"):
            airflow.start()
        api = stack.enter_context(airflow.api())
        roots = {
            settings.ASSETS_ROOT.name: str(present.storage(ASSETS)),
            settings.CACHED_ASSETS_ROOT.name: str(present.storage(CACHED_ASSETS)),
            settings.ARCHIVE_ROOT.name: str((data / "removed-datasets").absolute()),
        }
        configure(api, service_connections(mongod.port, hub.url), roots, SLOTS)
        yield Stack(api, airflow, mongod, client, start, present)


def _options(postgres: PostgresServer, redis: RedisServer) -> dict[str, str]:
    options = {
        "CELERY__BROKER_URL": redis.url,
        "CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{postgres.address}",
        "CELERY__WORKER_CONCURRENCY": TASKS_OF_A_WORKER,
        "CORE__EXECUTOR": "CeleryExecutor",
        "CORE__PARALLELISM": SLOTS,
        "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{postgres.address}",
        # By default, Airflow notices a dead task after five minutes, and a task lost in the queue after ten.
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 20,
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 2,
        "SCHEDULER__TASK_QUEUED_TIMEOUT": 60,
        "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": 10,
        "WORKERS__MIN_HEARTBEAT_INTERVAL": 2,
    }
    return {f"AIRFLOW__{name}": str(value) for name, value in options.items()}
