"""Two Airflows, each with its own database, that maintain the same databases with the same schedule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from datasets_server import settings
from dev.bench.world import CACHE, QUEUE
from dev.local_stack.airflow_server import PARSE_ONCE, AirflowApi, AirflowServer
from dev.local_stack.configuration import configure, service_connections
from dev.local_stack.hub_server import HubServer
from dev.local_stack.mongod import Mongod
from tests.faults.worlds import end_state, make_world, undisturbed_end

pytestmark = [pytest.mark.slow_fault, pytest.mark.timeout(600)]

DAG_ID = "backfill"
#: The runs of two Airflows with one schedule have the same id, too.
RUN_ID = "nightly-2026-01-31"
DATASETS = 1_000
ROOTS = (settings.ASSETS_ROOT, settings.CACHED_ASSETS_ROOT, settings.ARCHIVE_ROOT)


@pytest.fixture
def airflows(mongod: Mongod, hub_server: HubServer, tmp_path: Path) -> Iterator[list[AirflowApi]]:
    connections = service_connections(mongod.port, hub_server.url, CACHE, QUEUE)
    roots = {root.name: str(tmp_path / root.name) for root in ROOTS}
    for folder in roots.values():
        Path(folder).mkdir()
    servers = [
        AirflowServer(tmp_path / name, log_folder=tmp_path / f"{name} logs", environment=PARSE_ONCE)
        for name in ("one", "other")
    ]
    with ExitStack() as opened:
        apis = []
        for server in servers:
            server.migrate()
            opened.enter_context(server)
            api = opened.enter_context(server.api())
            configure(api, connections, roots, slots=2)
            api.wait_for_dag(DAG_ID)
            apis.append(api)
        yield apis


def ended(airflow: AirflowApi) -> tuple[str, dict[str, Any] | None]:
    """Wait for the run, and return its state and its report."""
    for _ in airflow.while_running(DAG_ID, RUN_ID, timeout=300):
        pass
    return airflow.run(DAG_ID, RUN_ID)["state"], airflow.result(DAG_ID, RUN_ID, "report")


def test_runs_with_the_same_id_do_all_the_work_once(
    airflows: list[AirflowApi], mongod: Mongod, hub_server: HubServer
) -> None:
    world = make_world(mongod.uri, hub_server, DATASETS)
    expected = undisturbed_end(world)

    for airflow in airflows:
        airflow.trigger(DAG_ID, run_id=RUN_ID, shards=2)
    (state, report), (other_state, other_report) = map(ended, airflows)

    assert (state, other_state) == ("success", "success")
    assert report is not None
    assert other_report is not None
    assert 0 in (report["jobs"]["created"], other_report["jobs"]["created"])
    assert end_state(world) == expected
