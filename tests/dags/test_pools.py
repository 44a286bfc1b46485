"""The pool that limits how many shards run at once."""

from __future__ import annotations

import pytest

from datasets_server import pools
from dev.local_stack.airflow_server import SHARD_POOL
from tests.dags.conftest import parsed


def pools_of_tasks(dag_id: str) -> dict[str, str]:
    return {task.task_id: task.pool for task in parsed(dag_id).tasks}


@pytest.mark.parametrize("dag_id", ["backfill", "backfill-retryable-errors"])
def test_the_shards_alone_are_in_the_pool(airflow_database: None, dag_id: str) -> None:
    found = pools_of_tasks(dag_id)

    assert found.pop("backfill_shard") == pools.POOL
    assert set(found.values()) == {"default_pool"}


def test_another_pool_is_named_in_the_configuration(
    airflow_database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATASETS_SERVER__POOL", "default_pool")

    assert pools_of_tasks("backfill")["backfill_shard"] == "default_pool"


def test_the_local_stack_creates_this_pool() -> None:
    assert SHARD_POOL == pools.POOL
