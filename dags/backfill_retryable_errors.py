"""Retry the errors that are worth it.

Takes the datasets with a cache entry whose error code is one to retry, and brings them up to date as the DAG
`backfill` does, with the same tasks and parameters.

**When it runs.** Every ten minutes. While another run, of this DAG or of `backfill`, writes to the datasets,
a scheduled run is skipped, and says so in the log of `list_shards`; any other run waits there, without
keeping a worker. Run it by hand after an incident, when many entries hold an error that is no longer true.
With Airflow's *backfill* by date range, each run takes the datasets with such an entry updated in its
interval.

| parameter | |
| --- | --- |
| `error_codes` | the codes to retry, one a line; empty for those that the release retries |
| `ignore_failed_runs` | retry also what has failed as often as it may; for after an incident |
| `datasets` | names or wildcards (`org/*`), one a line; empty for all |
| `updated_from`, `updated_to` | only the datasets with such an entry updated between these times |
| `dry_run` | plan and count everything, write nothing |
| `priority` | of the jobs to create |
| `removal_limit` | above this number of removals, `approve_removals` waits for a person |
| `error_limit` | a task with more errors than this fails, at its end |
| `shards`, `batch_size` | how the work is cut up |
| `listing_max_age` | for how many hours the Hub's listing is trusted |
| `listing_min_share` | which percentage of the last one, and of the cached datasets, it must have for that |
| `untrusted_listing` | without a trusted one, `ask` the Hub about each dataset, or `stop` |

**When it fails.** The error says what to do; then clear the failed tasks, or leave it to the next run.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from datasets_server.backfill_tasks import backfill_tasks
from datasets_server.params import retryable_error_params
from datasets_server.retries import RETRIES
from datasets_server.schedules import schedule

with DAG(
    dag_id="backfill-retryable-errors",
    description="Create the jobs that retry errors, as a backfill of the datasets that have them.",
    doc_md=__doc__,
    schedule=schedule("backfill-retryable-errors", "*/10 * * * *"),
    start_date=datetime(2024, 3, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    params=retryable_error_params(),
    render_template_as_native_obj=True,
    tags=["datasets-server"],
):
    backfill_tasks(scheduled_if_busy="skip", retryable_errors=True)
