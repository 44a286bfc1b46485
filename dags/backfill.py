"""Bring the cache up to date, and remove what the Hub no longer supports.

Creates the jobs that add missing and update outdated cache entries.

**When it runs.** Every evening, over the whole cache. Run it by hand after a release with new job runner
versions, after an incident, or for a few datasets that look wrong. With Airflow's *backfill* by date range,
each run takes the datasets with a cache entry updated in its interval. While another run writes to the
datasets, this one waits in `list_shards`, without keeping a worker.

**Before a run that worries you**, tick *Dry run*: the task `report` then shows what would be done.

| parameter | |
| --- | --- |
| `datasets` | names or wildcards (`org/*`), one a line; empty for all |
| `updated_from`, `updated_to` | only the datasets with a cache entry updated between these times |
| `dry_run` | plan and count everything, write nothing |
| `priority` | of the jobs to create |
| `removal_limit` | above this number of removals, `approve_removals` waits for a person |
| `error_limit` | a task with more errors than this fails, at its end |
| `shards`, `batch_size` | how the work is cut up |
| `listing_max_age` | for how many hours the Hub's listing is trusted |
| `listing_min_share` | which percentage of the last one, and of the cached datasets, it must have for that |
| `untrusted_listing` | without a trusted one, `ask` the Hub about each dataset, or `stop` |

**What it does.** `list_hub` keeps the Hub's listing, which proves most datasets to be up to date; where at
most 1,000 datasets are selected, the Hub is asked about each instead. `list_shards` cuts the cached datasets
into ranges of names. Each `backfill_shard` plans its datasets and writes the jobs. `remove_datasets` removes
what the Hub, asked by itself, no longer supports. `report` sums up, in its log and its XCom.

**When it fails.** The error says what to do. A service that does not answer is tried again by itself; a wrong
Connection or Variable has to be mended first. Then clear the failed tasks: each may be run again at any time,
and does only what is left to do.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from datasets_server.backfill_tasks import backfill_tasks
from datasets_server.params import backfill_params
from datasets_server.retries import RETRIES
from datasets_server.schedules import schedule

with DAG(
    dag_id="backfill",
    description="Create the jobs that bring the cache up to date, and remove unsupported datasets.",
    doc_md=__doc__,
    schedule=schedule("backfill", "45 21 * * *"),
    start_date=datetime(2024, 3, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    params=backfill_params(),
    render_template_as_native_obj=True,
    tags=["datasets-server"],
):
    backfill_tasks()
