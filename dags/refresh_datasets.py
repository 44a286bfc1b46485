"""Compute chosen steps of datasets again, whether or not they are up to date, or whole datasets from nothing.

**When it runs.** Only by hand: after a defect of a worker that left wrong results in the cache, or when a
dataset page shows something that it should not. What is missing, outdated or worth a retry needs no refresh:
`backfill` and `backfill-retryable-errors` find that by themselves. While another run writes to the datasets,
this one waits without occupying a worker.

**If you are not sure**, tick *Dry run*: the log and the XCom of the task `refresh_datasets` then show what
the run would do.

{parameters}

**What it does.** It asks the Hub about each dataset, and creates a job for each artifact of the chosen
*Steps*, for the revision on the Hub. For all steps, choose the first one (`dataset-config-names`) and *With
children*. With *Error codes* instead of steps, it creates a job for each entry with such an error. With
*Artifacts* instead of datasets and steps, it creates the jobs of exactly these; with *Error codes* too, only
of those that still have such an error. A job that is pending already is not doubled. It is only replaced if
it waits with a lower priority. The report shows which datasets have none of these artifacts, which artifacts
were left out, and which datasets the Hub does not support: these stay, until `backfill` removes them.

**The new jobs are safe from a backfill only when they have started.** A backfill deletes the waiting jobs of
artifacts that are up to date, these included: `backfill` at its time, and `backfill-retryable-errors` those
of the datasets with an error to retry. So choose a *Priority* with which the jobs start soon. If some are
gone, trigger a new run with *Priority* `high`, right after a backfill.

**Recreate** archives and removes each named dataset, and creates the jobs that build it from nothing. Until
they have run, its page has no data. It counts as a removal in the limit of the day. With more datasets than
the *Removal limit*, the task `approve_recreations` asks a person under *Required Actions*, and
`recreate_approved` then does the work; otherwise these two tasks are skipped. `restore-datasets` can put the
entries back.

**When it fails.** The error says what to do. Airflow retries a service that does not answer. *More jobs than
max_jobs* means that the run has created none: trigger a new one with fewer datasets or steps, or with more
*Maximum jobs* under *Limits*. Otherwise, clear the failed task: it leaves out the datasets that it is done
with, even if their jobs have run meanwhile. To compute these once more, trigger a new run.
"""

from __future__ import annotations

from typing import Any

from datasets_server.actions import REFRESH_DATASETS
from datasets_server.airflow_dags import action_dag
from datasets_server.operators.refresh_datasets import (
    ApproveRecreationsOperator,
    RecreateApprovedOperator,
    RefreshDatasetsOperator,
)
from datasets_server.params import refresh_params

WHAT: dict[str, Any] = {
    "datasets": "{{ params.datasets }}",
    "error_codes": "{{ params.error_codes }}",
    "steps": "{{ params.steps }}",
    "artifacts": "{{ params.artifacts }}",
    "with_children": "{{ params.with_children }}",
    "recreate": "{{ params.recreate }}",
    "priority": "{{ params.priority }}",
    "max_jobs": "{{ params.max_jobs }}",
    "max_removals_per_day": "{{ params.max_removals_per_day }}",
    "preview": "{{ params.dry_run }}",
    "error_limit": "{{ params.error_limit }}",
}

with action_dag(REFRESH_DATASETS, doc=__doc__, params=refresh_params()):
    (
        RefreshDatasetsOperator(
            task_id="refresh_datasets", removal_limit="{{ params.removal_limit }}", **WHAT
        )
        >> ApproveRecreationsOperator(
            task_id="approve_recreations",
            datasets="{{ params.datasets }}",
            execution_timeout=None,  # a person has as long as the Variable says
        )
        >> RecreateApprovedOperator(
            task_id="recreate_approved", approval_task_id="approve_recreations", **WHAT
        )
    )
