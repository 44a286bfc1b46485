"""The client of Airflow's REST API, against an API that answers as Airflow does."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from dev.local_stack.airflow_server import AirflowApi
from include.errors import ServiceError

RUN = "/api/v2/dags/backfill/dagRuns/manual"


def api_with_states(*states: str) -> AirflowApi:
    """Return the client of an API whose run goes through these states, and stays in the last one."""
    left: Iterator[str] = iter(states)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == f"{RUN}/taskInstances":
            task = {"task_id": "backfill_shard", "map_index": 3, "state": "running"}
            return httpx.Response(200, json={"task_instances": [task]})
        assert request.url.path == RUN
        return httpx.Response(200, json={"state": next(left, states[-1])})

    return AirflowApi(httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer)))


@pytest.mark.parametrize("end", ["success", "failed"])
def test_a_run_is_watched_until_it_ends(end: str) -> None:
    api = api_with_states("queued", "running", end)

    assert len(list(api.while_running("backfill", "manual", interval=0))) == 2


def test_a_run_that_has_ended_is_not_waited_for() -> None:
    assert list(api_with_states("success").while_running("backfill", "manual")) == []


def test_a_run_that_takes_too_long_is_an_error_with_the_states_of_its_tasks() -> None:
    api = api_with_states("running")

    with pytest.raises(ServiceError, match="has not ended within 0 s: backfill_shard 3 is running"):
        list(api.while_running("backfill", "manual", timeout=0, interval=0))
