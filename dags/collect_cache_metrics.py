"""Count the cache entries and store the counts.

Other programs read the counts by kind, HTTP status and error code in `cacheTotalMetric`. The workers change
them with each entry that they write; after a crash, they stay wrong until a run of this DAG.

**When it runs.** Every three hours. Run it by hand when the counts look wrong, such as after an incident. In
Airflow's *backfill* by date range it is skipped, because it can only count the current entries.

{parameters}

**What it does.** It counts in one pass over an index, without reading any entry. It overwrites each count,
and then deletes the counts of groups that no longer exist, so no count is ever missing. It also adds the
counts to the collection `metricsHistory` of the database `datasets_server_airflow`, and sends them as
gauges through Airflow's own metrics, if these are enabled.

**When it fails.** The error says what to do. Airflow retries a service that does not answer; a wrong
Connection or Variable has to be fixed first. Then clear the failed task, or wait for the next run: each run
counts everything.
"""

from __future__ import annotations

from datasets_server.actions import COLLECT_CACHE_METRICS
from datasets_server.airflow_dags import action_dag
from datasets_server.operators.metrics import CollectCacheMetricsOperator
from datasets_server.params import metrics_params

with action_dag(COLLECT_CACHE_METRICS, doc=__doc__, params=metrics_params()):
    CollectCacheMetricsOperator(
        task_id="report", history="{{ params.history }}", preview="{{ params.dry_run }}"
    )
