"""Retry the errors that are worth retrying.

A run selects the datasets with a cache entry that has an error code to retry, and brings them up to date
with the tasks of the DAG `backfill`.

**When it runs.** Every ten minutes. While another run, of this DAG or of `backfill`, writes to the datasets,
a scheduled run is skipped, and the log of `find_work` says so; any other run waits there, without occupying
a worker. Run it by hand after an incident, when many entries have an error whose cause is gone. In
Airflow's *backfill* by date range, each run takes the datasets with such an entry updated in its data
interval.

{parameters}

**When it fails.** The error says what to do. Then clear the failed tasks, or wait for the next run.
"""

from __future__ import annotations

from datasets_server.actions import BACKFILL_RETRYABLE_ERRORS
from datasets_server.airflow_dags import action_dag
from datasets_server.backfill_tasks import backfill_tasks
from datasets_server.params import retryable_error_params

with action_dag(BACKFILL_RETRYABLE_ERRORS, doc=__doc__, params=retryable_error_params()):
    backfill_tasks(scheduled_if_busy="skip", retryable_errors=True)
