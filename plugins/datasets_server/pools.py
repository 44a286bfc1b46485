"""How many shards run at once, over all DAGs."""

from __future__ import annotations

from airflow.configuration import conf

from datasets_server.schedules import SECTION
from datasets_server.settings import POOL


def shard_pool() -> str:
    """Give the pool of the shards: ``POOL``, unless Airflow's configuration names another one.

    The option is ``pool`` of the section ``[datasets_server]``, or ``AIRFLOW__DATASETS_SERVER__POOL``.
    """
    return str(conf.get(SECTION, "pool", fallback=POOL))
