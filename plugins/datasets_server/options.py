"""The options in the section ``[datasets_server]`` of Airflow's configuration: schedules, pool and shards."""

from __future__ import annotations

from airflow.sdk import CronDataIntervalTimetable
from airflow.sdk.configuration import conf

from datasets_server.actions import Action
from datasets_server.settings import POOL
from include.errors import ConfigurationError
from include.planning.processing_graph import DEFAULT_RELEASE, Release, load_release, release_names

SECTION = "datasets_server"
#: A shard has about so many cache entries: some 15 seconds of work, which is worth the start of a process.
DEFAULT_ENTRIES_PER_SHARD = 3_000_000
NEVER = "never"


def schedule(action: Action) -> CronDataIntervalTimetable | None:
    """Return the timetable of a DAG, each run of which covers the time since the previous run.

    The option ``schedule_<the id with underscores>`` (``AIRFLOW__DATASETS_SERVER__SCHEDULE_BACKFILL`` and so
    on) replaces the schedule that the action has in the release of :func:`scheduling_release`, by a cron
    expression in UTC or by ``never``: then the DAG only runs by hand.

    :raises ConfigurationError: as :func:`scheduling_release`.
    """
    if action.schedule is None:
        return None
    own = scheduling_release().schedules.get(action.id, action.schedule)
    cron = conf.get(SECTION, f"schedule_{action.id.replace('-', '_')}", fallback=own or NEVER)
    return None if cron == NEVER else CronDataIntervalTimetable(cron, timezone="UTC")


def scheduling_release() -> Release:
    """Return the release whose schedules the DAGs have, which the option ``schedules_of_release`` names.

    The Variable that names the release for the tasks cannot tell: to parse a DAG file must not read one.

    :raises ConfigurationError: if there is no such release.
    """
    name = conf.get(SECTION, "schedules_of_release", fallback=DEFAULT_RELEASE)
    if name not in release_names():
        raise ConfigurationError(
            f"The option schedules_of_release in [{SECTION}] is {name!r}:"
            f" it may be {' or '.join(release_names())}."
        )
    return load_release(name)


def entries_per_shard() -> int:
    """Return how many cache entries a shard has, which the option ``entries_per_shard`` can set.

    :raises ConfigurationError: if that is no number, or less than 1.
    """
    text = conf.get(SECTION, "entries_per_shard", fallback=str(DEFAULT_ENTRIES_PER_SHARD))
    if not text.strip().isdecimal() or int(text) == 0:
        raise ConfigurationError(
            f"The option entries_per_shard in [{SECTION}] is {text!r}: it may be a number, at least 1."
        )
    return int(text)


def shard_pool() -> str:
    """Return the pool of the shards: ``POOL`` of the settings, or what the option ``pool`` names instead."""
    return str(conf.get(SECTION, "pool", fallback=POOL))
