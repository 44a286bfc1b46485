"""The pool that limits how many shards run at the same time."""

from __future__ import annotations

from unittest.mock import create_autospec

import pytest

from datasets_server import settings
from dev.local_stack.airflow_server import AirflowApi
from dev.local_stack.configuration import configure
from tests.dags.conftest import parsed


def pools_of_tasks(dag_id: str) -> dict[str, str]:
    return {task.task_id: task.pool for task in parsed(dag_id).tasks}


@pytest.mark.parametrize("dag_id", ["backfill", "backfill-retryable-errors"])
def test_only_the_shards_are_in_the_pool(airflow_database: None, dag_id: str) -> None:
    found = pools_of_tasks(dag_id)

    assert found.pop("backfill_shard") == settings.POOL
    assert set(found.values()) == {"default_pool"}


def test_the_configuration_can_name_another_pool(
    airflow_database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATASETS_SERVER__POOL", "default_pool")

    assert pools_of_tasks("backfill")["backfill_shard"] == "default_pool"


def test_the_local_stack_creates_this_pool() -> None:
    api = create_autospec(AirflowApi, instance=True)

    configure(api, {}, {}, slots=2)

    api.create_pool.assert_called_once_with(settings.POOL, 2, settings.POOL_DESCRIPTION)
