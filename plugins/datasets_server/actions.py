"""The seven actions of maintenance. All lists of actions come from this module, which imports no Airflow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """An action, and the DAG that runs it.

    :param id: the id of the DAG.
    :param schedule: when the DAG runs, as a cron expression in UTC, unless a release or Airflow's
        configuration sets another schedule; None if it only runs by hand.
    :param description: what the action does, in one sentence.
    """

    id: str
    schedule: str | None
    description: str


BACKFILL = Action(
    "backfill",
    "45 21 * * *",
    "Create the jobs that add missing and update outdated cache entries; remove the datasets that the Hub no"
    " longer supports.",
)
BACKFILL_RETRYABLE_ERRORS = Action(
    "backfill-retryable-errors",
    "*/10 * * * *",
    "Create the jobs that retry errors: a backfill of the datasets with an error worth retrying.",
)
COLLECT_CACHE_METRICS = Action(
    "collect-cache-metrics",
    "50 */3 * * *",
    "Count the cache entries by kind, HTTP status and error code, and store the counts.",
)
COLLECT_QUEUE_METRICS = Action(
    "collect-queue-metrics",
    "*/10 * * * *",
    "Count the jobs by type and status, and by worker size, and store the counts.",
)
CLEAN_DIRECTORY = Action(
    "clean-directory",
    "0 */3 * * *",
    "Delete the expired temporary files and folders of the workers.",
)
POST_MESSAGES = Action(
    "post-messages",
    "10 0 * * *",
    "Open a Hub discussion on the datasets that were converted to Parquet.",
)
SKIP = Action("skip", "0 0 * * *", "Do nothing.")

ACTIONS = (
    BACKFILL,
    BACKFILL_RETRYABLE_ERRORS,
    COLLECT_CACHE_METRICS,
    COLLECT_QUEUE_METRICS,
    CLEAN_DIRECTORY,
    POST_MESSAGES,
    SKIP,
)

#: Not actions, but also DAGs.
CHECK_CONNECTIONS = Action(
    "check-connections", None, "Check every Connection and Variable, and report what to fix."
)
RESTORE_DATASETS = Action(
    "restore-datasets", None, "Put the cache entries of removed datasets back, from their archives."
)
REFRESH_DATASETS = Action(
    "refresh-datasets",
    None,
    "Compute chosen steps of datasets again, whether or not they are up to date, or whole datasets from"
    " nothing.",
)
WATCH_BACKFILL = Action(
    "watch-backfill",
    "15 * * * *",
    "Tell operators if there has been no good run of backfill for too long.",
)

#: All our DAGs, in the order in which people read them.
DAGS = (*ACTIONS, REFRESH_DATASETS, RESTORE_DATASETS, CHECK_CONNECTIONS, WATCH_BACKFILL)
