"""When the DAGs run, and how to change that without touching code."""

from __future__ import annotations

from airflow.configuration import conf
from airflow.timetables.interval import CronDataIntervalTimetable

SECTION = "datasets_server"
NEVER = "never"


def schedule(dag_id: str, cron: str) -> CronDataIntervalTimetable | None:
    """Give the timetable of a DAG: a cron expression in UTC, whose runs cover the time since the last one.

    Airflow's configuration overrules ``cron``: the option ``schedule_<the id with underscores>`` of the
    section ``[datasets_server]``, or the environment variable ``AIRFLOW__DATASETS_SERVER__SCHEDULE_BACKFILL``
    and so on. It may also be ``never``: then the DAG runs by hand only.
    """
    chosen = conf.get(SECTION, f"schedule_{dag_id.replace('-', '_')}", fallback=cron)
    return None if chosen == NEVER else CronDataIntervalTimetable(chosen, timezone="UTC")
