"""The options in the section ``[datasets_server]`` of Airflow's configuration: schedules and the pool."""

from __future__ import annotations

from airflow.configuration import conf
from airflow.timetables.interval import CronDataIntervalTimetable

from datasets_server.actions import Action
from datasets_server.settings import POOL

SECTION = "datasets_server"
NEVER = "never"


def schedule(action: Action) -> CronDataIntervalTimetable | None:
    """Return the timetable of a DAG, each run of which covers the time since the previous run.

    The option ``schedule_<the id with underscores>`` (``AIRFLOW__DATASETS_SERVER__SCHEDULE_BACKFILL`` and so
    on) replaces the action's own schedule, by a cron expression in UTC or by ``never``: then the DAG only
    runs by hand.
    """
    if action.schedule is None:
        return None
    cron = conf.get(SECTION, f"schedule_{action.id.replace('-', '_')}", fallback=action.schedule)
    return None if cron == NEVER else CronDataIntervalTimetable(cron, timezone="UTC")


def shard_pool() -> str:
    """Return the pool of the shards: ``POOL`` of the settings, or what the option ``pool`` names instead."""
    return str(conf.get(SECTION, "pool", fallback=POOL))
