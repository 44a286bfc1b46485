"""The tasks that the DAGs ``backfill`` and ``backfill-retryable-errors`` have in common."""

from __future__ import annotations

from typing import Literal

from airflow.sdk import XComArg

from datasets_server.operators.backfill import (
    ApproveRemovalsOperator,
    BackfillShardOperator,
    FindWorkOperator,
    RemovalsFoundOperator,
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
    find_work = FindWorkOperator(
        task_id="find_work",
        datasets="{{ params.datasets }}",
        updated_from="{{ params.updated_from }}",
        updated_to="{{ params.updated_to }}",
        error_codes=error_codes,
        shards="{{ params.shards }}",
        listing_min_share="{{ params.listing_min_share }}",
        untrusted_listing="{{ params.untrusted_listing }}",
        scheduled_if_busy=scheduled_if_busy,
        read="{{ params.read }}",
        preview="{{ params.dry_run }}",
    )
    backfill_shard = BackfillShardOperator.partial(
        task_id="backfill_shard",
        pool=shard_pool(),
        listing=XComArg(find_work, FindWorkOperator.LISTING),
        listing_max_age="{{ params.listing_max_age }}",
        untrusted_listing="{{ params.untrusted_listing }}",
        priority="{{ params.priority }}",
        batch_size="{{ params.batch_size }}",
        max_removals_per_day="{{ params.max_removals_per_day }}",
        preview="{{ params.dry_run }}",
        error_limit="{{ params.error_limit }}",
        error_codes=error_codes,
        ignore_failed_runs="{{ params.ignore_failed_runs }}" if retryable_errors else False,
    ).expand(shard=find_work.output)
    removals_found = RemovalsFoundOperator.partial(task_id="removals_found").expand(
        to_remove=backfill_shard.output
    )
    approve_removals = ApproveRemovalsOperator(
        task_id="approve_removals",
        limit="{{ params.removal_limit }}",
        max_removals_per_day="{{ params.max_removals_per_day }}",
        execution_timeout=None,  # a person has as long as the Variable says
    )
    remove_datasets = RemoveDatasetsOperator(
        task_id="remove_datasets",
        work_task_id="find_work",
        listing_max_age="{{ params.listing_max_age }}",
        shard_task_id="backfill_shard",
        approval_task_id="approve_removals",
        max_removals_per_day="{{ params.max_removals_per_day }}",
        error_limit="{{ params.error_limit }}",
    )
    report = ReportOperator(
        task_id="report",
        work_task_id="find_work",
        shard_task_id="backfill_shard",
        approval_task_id="approve_removals",
        removal_task_id="remove_datasets",
        removal_limit="{{ params.removal_limit }}",
        preview="{{ params.dry_run }}",
        trigger_rule="all_done",
    )
    find_work >> backfill_shard >> removals_found >> approve_removals >> remove_datasets >> report
    # One failed shard ends the removal before it begins, but the report waits for the other shards.
    backfill_shard >> report
