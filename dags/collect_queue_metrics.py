"""Count the jobs and store the counts.

Other programs read the counts by type and status in `jobTotalMetric`, and autoscalers read the counts by
worker size in `workerTypeJobCounts`, to know how many workers are needed. After a crash, the counts stay
wrong until a run of this DAG.

**When it runs.** Every ten minutes. Run it by hand when the counts look wrong, such as after an incident. In
Airflow's *backfill* by date range it is skipped, because it can only count the current jobs.

{parameters}

**What it does.** It counts in one pass over the jobs. It overwrites each count, and then deletes the counts
of groups that no longer exist, so no count is ever missing. In the release 2026-08, the jobs of blocked
datasets are counted separately, and not by worker size. It also adds the counts to the collection
`metricsHistory` of the database `datasets_server_airflow`, and sends them as gauges through Airflow's own
metrics, if these are enabled.

**When it fails.** The error says what to do. Airflow retries a service that does not answer; a wrong
Connection or Variable has to be fixed first. Then clear the failed task, or wait for the next run: each run
counts everything.
"""

from __future__ import annotations

from datasets_server.actions import COLLECT_QUEUE_METRICS
from datasets_server.airflow_dags import action_dag
from datasets_server.operators.metrics import CollectQueueMetricsOperator
from datasets_server.params import metrics_params

with action_dag(COLLECT_QUEUE_METRICS, doc=__doc__, params=metrics_params()):
    CollectQueueMetricsOperator(
        task_id="report", history="{{ params.history }}", preview="{{ params.dry_run }}"
    )
