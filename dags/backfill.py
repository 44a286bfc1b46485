"""Bring the cache up to date, and remove the datasets that the Hub no longer supports.

A run creates the jobs that add missing and update outdated cache entries.

**When it runs.** Every day, over the whole cache. Run it by hand after a release with new job runner
versions, after an incident, or for a few datasets that look wrong. In Airflow's *backfill* by date range,
each run takes the datasets with a cache entry updated in its data interval. While another run writes to the
datasets, this one waits in `find_work` (*deferred*), without occupying a worker.

**If you are not sure**, tick *Dry run*: the task `report` then shows what the run would do.

{parameters}

**What it does.** `find_work` cuts the cached datasets into ranges of names, and stores the Hub's listing,
which proves that most datasets are up to date; if at most 1,000 datasets are selected, the run asks the Hub
about each of them instead. Each `backfill_shard` plans its datasets and writes the jobs. If none finds a
dataset to remove, the next three tasks are skipped: Airflow starts no process for them. Otherwise
`removals_found` is green, and if there are many datasets to remove, `approve_removals` asks a person under
*Required Actions*; if nobody decides in time (12 hours), nothing is removed. `remove_datasets` removes the
datasets that the Hub, asked about each of them once more, does not support, and finishes the removals that
were cut short. `report` sums up, in its log and its XCom.

**When it fails.** The error says what to do. Airflow retries a service that does not answer; a wrong
Connection or Variable has to be fixed first. Then clear the failed tasks. You can run each of them again at
any time: it only does what is left to do.
"""

from __future__ import annotations

from datasets_server.actions import BACKFILL
from datasets_server.airflow_dags import action_dag
from datasets_server.backfill_tasks import backfill_tasks
from datasets_server.params import backfill_params

with action_dag(BACKFILL, doc=__doc__, params=backfill_params()):
    backfill_tasks(scheduled_if_busy="wait", retryable_errors=False)
