"""The tasks that the DAGs ``backfill`` and ``backfill-retryable-errors`` have in common."""

from __future__ import annotations

from typing import Any, Literal

from datasets_server.operators.backfill import (
    ApproveRemovalsOperator,
    BackfillShardOperator,
    ListHubOperator,
    ListShardsOperator,
    RemoveDatasetsOperator,
    ReportOperator,
)
from datasets_server.options import shard_pool


def backfill_tasks(*, scheduled_if_busy: Literal["wait", "skip"], retryable_errors: bool) -> None:
    """Add the tasks to the DAG that is being defined.

    :param scheduled_if_busy: whether a scheduled run waits or is skipped while another run writes to the
        datasets.
    :param retryable_errors: work only on the datasets with an error to retry. The DAG then has the parameters
        ``error_codes`` and ``ignore_failed_runs``.
    """
    error_codes = "{{ params.error_codes }}" if retryable_errors else None
    selection: dict[str, Any] = {
        "datasets": "{{ params.datasets }}",
        "updated_from": "{{ params.updated_from }}",
        "updated_to": "{{ params.updated_to }}",
        "error_codes": error_codes,
    }
    list_hub = ListHubOperator(
        task_id="list_hub",
        listing_min_share="{{ params.listing_min_share }}",
        untrusted_listing="{{ params.untrusted_listing }}",
        **selection,
    )
    list_shards = ListShardsOperator(
        task_id="list_shards",
        shards="{{ params.shards }}",
        scheduled_if_busy=scheduled_if_busy,
        preview="{{ params.dry_run }}",
        **selection,
    )
    backfill_shard = BackfillShardOperator.partial(
        task_id="backfill_shard",
        pool=shard_pool(),
        listing=list_hub.output,
        listing_max_age="{{ params.listing_max_age }}",
        untrusted_listing="{{ params.untrusted_listing }}",
        priority="{{ params.priority }}",
        batch_size="{{ params.batch_size }}",
        max_removals_per_day="{{ params.max_removals_per_day }}",
        preview="{{ params.dry_run }}",
        error_limit="{{ params.error_limit }}",
        error_codes=error_codes,
        ignore_failed_runs="{{ params.ignore_failed_runs }}" if retryable_errors else False,
    ).expand(shard=list_shards.output)
    approve_removals = ApproveRemovalsOperator(
        task_id="approve_removals",
        limit="{{ params.removal_limit }}",
        execution_timeout=None,  # a person has as long as the Variable says
    )
    remove_datasets = RemoveDatasetsOperator(
        task_id="remove_datasets",
        listing_task_id="list_hub",
        listing_max_age="{{ params.listing_max_age }}",
        shard_task_id="backfill_shard",
        approval_task_id="approve_removals",
        max_removals_per_day="{{ params.max_removals_per_day }}",
        preview="{{ params.dry_run }}",
        error_limit="{{ params.error_limit }}",
    )
    report = ReportOperator(
        task_id="report",
        listing_task_id="list_hub",
        ranges_task_id="list_shards",
        shard_task_id="backfill_shard",
        approval_task_id="approve_removals",
        removal_task_id="remove_datasets",
        removal_limit="{{ params.removal_limit }}",
        preview="{{ params.dry_run }}",
        trigger_rule="all_done",
    )
    list_hub >> list_shards >> backfill_shard >> approve_removals >> remove_datasets >> report
