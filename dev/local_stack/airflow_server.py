"""Airflow on one machine: its processes with a new database, and a client of its REST API."""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from dev.local_stack.ports import HOST, free_port
from dev.local_stack.process import PROJECT_ROOT, Server, ServerProcess, log_tail
from dev.local_stack.worker_name import WORKER_NAME, worker_name
from include.errors import ServiceError

USER = "admin"
#: Who may look at everything, but do nothing.
VIEWER = "viewer"
#: For runs during which nobody changes the DAGs: by default, Airflow parses them every 30 seconds.
PARSE_ONCE: Mapping[str, str] = {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600"}

_COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api-server": (),
    "scheduler": ("--skip-serve-logs",),
    "dag-processor": (),
    "triggerer": ("--skip-serve-logs",),
}
_FORKING = ("scheduler", "dag-processor", "celery")
_HEALTH_OF = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
_ENDED = ("success", "failed")  # the states of a run that has ended
_TASKS_AT_ONCE = 3
_START_SECONDS = 300
_STOP_SECONDS = 5
_POLL_SECONDS = 0.5


class AirflowServer(Server):
    """Airflow at ``url``, with the administrator ``USER`` and the user ``VIEWER``, both with ``password``.

    It has the DAGs of this project, with their schedules off. Each process logs to a file in ``log_folder``,
    tasks log to ``task_log_folder``. By default, its database is a file, and its scheduler runs the tasks;
    ``environment`` can change that.
    """

    def __init__(
        self,
        folder: Path,
        *,
        log_folder: Path,
        port: int | None = None,
        prefix: str = "",
        workers: Sequence[str] = (),
        triggerer: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the server.

        :param folder: for its database and the logs of tasks; it must be empty or not exist.
        :param port: the port of the UI and the API; by default a free one.
        :param prefix: the path at which all addresses begin, such as ``/airflow``.
        :param workers: the names of Celery workers to start. They become the hostnames of tasks.
        :param triggerer: whether to start the triggerer, which tasks need to wait for another run.
        :param environment: additional environment variables; they override the default ones.
        """
        port = port or free_port()
        self.url = f"http://{HOST}:{port}{prefix}"
        self.password = secrets.token_hex(4)
        self.log_folder = log_folder
        self.task_log_folder = folder / "logs"
        self._folder = folder.absolute()
        self._environment = self._settings(port) | dict(environment or {})
        self._processes = {
            name: self._process(name, [name, *options])
            for name, options in _COMPONENTS.items()
            if triggerer or name != "triggerer"
        }
        self._workers = {name: self._worker(name) for name in workers}

    def _process(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> ServerProcess:
        module = "dev.local_stack.airflow_process" if command[0] in _FORKING else "airflow"
        return ServerProcess(
            f"Airflow's {name}",
            [sys.executable, "-m", module, *command],
            log_file=self.log_folder / f"airflow-{name}.log",
            # ``AirflowServer.start`` starts all processes, and then waits for them.
            is_ready=lambda: True,
            environment={**self._environment, **(environment or {})},
        )

    def _worker(self, name: str) -> ServerProcess:
        command = ["celery", "worker", "--celery-hostname", f"{name}@%h", "--skip-serve-logs"]
        host = {
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": f"{worker_name.__module__}.{worker_name.__name__}",
            WORKER_NAME: name,
        }
        return self._process(name, command, host)

    def _settings(self, port: int) -> dict[str, str]:
        settings = {
            "API__BASE_URL": self.url,
            "API__HOST": HOST,
            "API__PORT": str(port),
            "API__SECRET_KEY": secrets.token_hex(32),
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__PARALLELISM": str(_TASKS_AT_ONCE),
            "CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self._password_file),
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin,{VIEWER}:viewer",
            # While one process writes, the others wait. On a busy machine, the default timeout is too short.
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self._folder}/airflow.db?timeout=60",
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
            "SCHEDULER__USE_JOB_SCHEDULE": "False",
        }
        python_path = os.pathsep.join([str(PROJECT_ROOT), str(PROJECT_ROOT / "plugins")])
        environment = {f"AIRFLOW__{name}": value for name, value in settings.items()}
        return {"AIRFLOW_HOME": str(self._folder), "PYTHONPATH": python_path, **environment}

    @property
    def _password_file(self) -> Path:
        return self._folder / "password.json"

    def migrate(self) -> None:
        """Create the database. Call this before ``start``.

        :raises ServiceError: if the command fails.
        """
        self._folder.mkdir(parents=True)
        self._password_file.write_text(
            json.dumps(dict.fromkeys((USER, VIEWER), self.password)), encoding="utf-8"
        )
        self.run_command("db", "migrate")

    def run_command(self, *arguments: str) -> None:
        """Run an Airflow command and wait for its end. Its output goes to a file in ``log_folder``.

        :raises ServiceError: if it fails.
        """
        self.log_folder.mkdir(parents=True, exist_ok=True)
        log_file = self.log_folder / f"airflow-{'-'.join(arguments[:2])}.log"
        with log_file.open("ab") as log:
            command = subprocess.run(
                [sys.executable, "-m", "airflow", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROJECT_ROOT,
                env=os.environ | self._environment,
                check=False,
            )
        if command.returncode:
            raise ServiceError(f"`airflow {' '.join(arguments)}` failed. {log_tail(log_file)}")

    def start(self) -> None:
        """Start all processes, and wait until they are healthy.

        :raises ServiceError: if a process ends, or is not healthy in time.
        """
        for process in self._all_processes():
            process.start()
        deadline = time.monotonic() + _START_SECONDS
        while unhealthy := self._unhealthy():
            self.check()
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"Airflow's {', '.join(unhealthy)} did not become healthy: see {self.log_folder}."
                )
            time.sleep(_POLL_SECONDS)

    def _all_processes(self) -> list[ServerProcess]:
        return [*self._processes.values(), *self._workers.values()]

    def _unhealthy(self) -> list[str]:
        unready = [name for name, worker in self._workers.items() if not _says_ready(worker.log_file)]
        return [*self._unhealthy_components(), *unready]

    def _unhealthy_components(self) -> list[str]:
        try:
            answer = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=10, trust_env=False)
        except httpx.HTTPError:
            return list(self._processes)
        health = answer.json() if answer.is_success else {}
        return [
            name
            for name, key in _HEALTH_OF.items()
            if name in self._processes and health.get(key, {}).get("status") != "healthy"
        ]

    def check(self) -> None:
        """Check that all processes are running.

        :raises ServiceError: if a process has ended.
        """
        for process in self._all_processes():
            if not process.is_running:
                raise ServiceError(f"{process.name} ended unexpectedly: see {process.log_file}.")

    def stop(self) -> None:
        """Stop all processes. Running tasks have a few seconds to finish."""
        processes = self._all_processes()
        with ThreadPoolExecutor(len(processes)) as pool:
            list(pool.map(lambda process: process.stop(_STOP_SECONDS), processes))

    def kill_worker(self, name: str) -> None:
        """Kill a worker and all its tasks with SIGKILL."""
        self._workers[name].kill()

    @contextmanager
    def api(self) -> Iterator[AirflowApi]:
        """Log in, and open a client of the REST API.

        :raises ServiceError: if the login or a request fails.
        """
        with _explained_errors(), httpx.Client(base_url=self.url, timeout=60, trust_env=False) as client:
            login = client.post("/auth/token", json={"username": USER, "password": self.password})
            client.headers["Authorization"] = f"Bearer {login.raise_for_status().json()['access_token']}"
            yield AirflowApi(client)


def _says_ready(worker_log: Path) -> bool:
    return re.search(r"\S+@\S+ ready\.", worker_log.read_text(encoding="utf-8", errors="replace")) is not None


class AirflowApi:
    """The part of Airflow's REST API that sets up an action, runs it, and reads its results."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def create_connection(self, conn_id: str, **fields: Any) -> None:
        """Create a Connection; ``extra`` is a dictionary."""
        fields["extra"] = json.dumps(fields.get("extra", {}))
        self._post("/connections", {"connection_id": conn_id, **fields})

    def create_variable(self, key: str, value: str) -> None:
        """Create a Variable."""
        self._post("/variables", {"key": key, "value": value})

    def create_pool(self, name: str, slots: int, description: str) -> None:
        """Create a pool with a number of slots."""
        self._post("/pools", {"name": name, "slots": slots, "description": description})

    def wait_for_dag(self, dag_id: str, timeout: float = 120) -> None:
        """Wait until Airflow has parsed the DAG.

        :param timeout: in seconds.
        :raises ServiceError: if a file cannot be imported, or the DAG does not appear in time.
        """
        deadline = time.monotonic() + timeout
        while self._client.get(f"/api/v2/dags/{dag_id}").status_code == httpx.codes.NOT_FOUND:
            if errors := self._get("/importErrors")["import_errors"]:
                raise ServiceError(
                    "\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors)
                )
            if time.monotonic() > deadline:
                raise ServiceError(f"Airflow has not parsed the DAG {dag_id} within {timeout:g} s.")
            time.sleep(_POLL_SECONDS)

    def unpause(self, dag_id: str) -> None:
        """Unpause a DAG, so that the scheduler creates and starts its runs."""
        _checked(self._client.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}))

    def trigger(self, dag_id: str, *, run_id: str | None = None, **params: Any) -> str:
        """Trigger a DAG, as the form in the UI does, and return the id of the run.

        :param run_id: the id; by default, Airflow chooses one.
        :param params: the parameters that differ from their default.
        :raises ServiceError: if a parameter has an invalid value.
        """
        body = {"dag_run_id": run_id, "logical_date": None, "conf": params}
        run: str = self._post(f"/dags/{dag_id}/dagRuns", body)["dag_run_id"]
        return run

    def backfill(self, dag_id: str, first: str, last: str) -> None:
        """Create a backfill by date range, as the form in the UI does. Its runs run one after the other.

        :param first: the earliest start of a data interval, in ISO 8601.
        :param last: the latest start of a data interval, in ISO 8601.
        """
        dates = {"from_date": first, "to_date": last}
        self._post("/backfills", {"dag_id": dag_id, **dates, "max_active_runs": 1})

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return a run: its ``state``, ``start_date``, ``end_date``, ..."""
        return self._get(f"/dags/{dag_id}/dagRuns/{run_id}")

    def while_running(
        self, dag_id: str, run_id: str, *, timeout: float = math.inf, interval: float = _POLL_SECONDS
    ) -> Iterator[None]:
        """Yield every ``interval`` seconds until a run has ended.

        :param timeout: the maximum number of seconds to wait.
        :raises ServiceError: if the run does not end in time; the message has the state of each task.
        """
        deadline = time.monotonic() + timeout
        while self.run(dag_id, run_id)["state"] not in _ENDED:
            if time.monotonic() > deadline:
                states = ", ".join(
                    f"{task['task_id']} {task['map_index']} is {task['state']}"
                    for task in self.tasks(dag_id, run_id)
                )
                raise ServiceError(f"The run of {dag_id} has not ended within {timeout:.0f} s: {states}")
            yield
            time.sleep(interval)

    def runs(self, dag_id: str, run_type: str) -> list[dict[str, Any]]:
        """Return the runs of a type (``manual``, ``scheduled``, ``backfill``), oldest data interval first."""
        found = self._get(f"/dags/{dag_id}/dagRuns?run_type={run_type}&order_by=logical_date")
        runs: list[dict[str, Any]] = found["dag_runs"]
        return runs

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the tasks of a run, each with its ``task_id`` and ``state``."""
        tasks: list[dict[str, Any]] = self._get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")[
            "task_instances"
        ]
        return tasks

    def tries(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> list[dict[str, Any]]:
        """Return the tries of a mapped task in order, each with its ``hostname`` and ``state``."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/{map_index}/tries"
        tries: list[dict[str, Any]] = self._get(path)["task_instances"]
        return sorted(tries, key=lambda each: int(each["try_number"]))

    def event_logs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return what users did to a DAG, from the audit log: each has an ``owner`` and an ``event``."""
        logs: list[dict[str, Any]] = self._get(f"/eventLogs?dag_id={dag_id}&limit=100")["event_logs"]
        return logs

    def result(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any] | None:
        """Return the value that a task returned, None if it has not returned."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        answer = self._client.get(f"/api/v2{path}", params={"deserialize": True})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        value: dict[str, Any] = _checked(answer)["value"]
        return value

    def _get(self, path: str) -> dict[str, Any]:
        return _checked(self._client.get(f"/api/v2{path}"))

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return _checked(self._client.post(f"/api/v2{path}", json=body))


def _checked(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        request = answer.request
        raise ServiceError(
            f"Airflow answers {request.method} {request.url.path} with {answer.status_code}: {answer.text}"
        )
    body: dict[str, Any] = answer.json()
    return body


@contextmanager
def _explained_errors() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise ServiceError(f"Airflow's API does not answer: {error}") from error
