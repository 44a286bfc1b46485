"""The tasks of a backfill, which the DAGs ``backfill`` and ``backfill-retryable-errors`` have in common."""

from __future__ import annotations

from typing import Literal

from datasets_server.operators.backfill import (
    ApproveRemovalsOperator,
    BackfillShardOperator,
    ListHubOperator,
    ListShardsOperator,
    RemoveDatasetsOperator,
    ReportOperator,
)
from datasets_server.params import SELECTION
from datasets_server.pools import shard_pool


def backfill_tasks(
    *, scheduled_if_busy: Literal["wait", "skip"] = "wait", retryable_errors: bool = False
) -> None:
    """Add the tasks to the DAG that is being defined.

    :param scheduled_if_busy: whether a scheduled run waits or is skipped while another one writes to the
        datasets. A run by hand or of a date range waits: no other would take its place.
    :param retryable_errors: take the datasets with an error to retry, by the parameters ``error_codes`` and
        ``ignore_failed_runs``.
    """
    codes = {"error_codes": "{{ params.error_codes }}"} if retryable_errors else {}
    failed_runs = {"ignore_failed_runs": "{{ params.ignore_failed_runs }}"} if retryable_errors else {}
    list_hub = ListHubOperator(
        task_id="list_hub",
        listing_min_share="{{ params.listing_min_share }}",
        untrusted_listing="{{ params.untrusted_listing }}",
        **SELECTION,
        **codes,
    )
    list_shards = ListShardsOperator(
        task_id="list_shards",
        shards="{{ params.shards }}",
        if_busy=f"{{{{ '{scheduled_if_busy}' if dag_run.run_type == 'scheduled' else 'wait' }}}}",
        preview="{{ params.dry_run }}",
        **SELECTION,
        **codes,
    )
    backfill_shard = BackfillShardOperator.partial(
        task_id="backfill_shard",
        pool=shard_pool(),
        listing=list_hub.output,
        listing_max_age="{{ params.listing_max_age }}",
        untrusted_listing="{{ params.untrusted_listing }}",
        priority="{{ params.priority }}",
        batch_size="{{ params.batch_size }}",
        preview="{{ params.dry_run }}",
        error_limit="{{ params.error_limit }}",
        **codes,
        **failed_runs,
    ).expand(shard=list_shards.output)
    approve_removals = ApproveRemovalsOperator(task_id="approve_removals", limit="{{ params.removal_limit }}")
    remove_datasets = RemoveDatasetsOperator(
        task_id="remove_datasets", error_limit="{{ params.error_limit }}"
    )
    report = ReportOperator(
        task_id="report",
        listing_task_id="list_hub",
        shard_task_id="backfill_shard",
        removal_task_id="remove_datasets",
        preview="{{ params.dry_run }}",
        trigger_rule="all_done",
    )
    list_hub >> list_shards >> backfill_shard >> approve_removals >> remove_datasets >> report
