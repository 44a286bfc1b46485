"""The tasks that collect metrics: count, store the counts, keep their history, send them as gauges."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from datasets_server import settings
from datasets_server.actions import COLLECT_CACHE_METRICS, COLLECT_QUEUE_METRICS, Action
from datasets_server.console_link import ConsoleLink
from datasets_server.gauges import send_gauges
from datasets_server.operators.selection import covered_interval
from datasets_server.runs import keep_report
from datasets_server.services import Services, open_services
from include.actions.collect_metrics import metrics_report
from include.summaries import as_text

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.databases.counts import Counts


class CollectMetricsOperator(BaseOperator):
    """Base class of the operators that collect metrics.

    In Airflow's backfill by date range, the task is skipped, because it can only count the current data.

    Returns the report of :func:`include.actions.collect_metrics.metrics_report`.

    :param history: add the counts to the history too, and keep the report. (templated)
    :param preview: count, but store nothing and send no gauge. (templated)
    """

    template_fields: Sequence[str] = ("history", "preview")
    operator_extra_links = (ConsoleLink(),)
    action: ClassVar[Action]

    def __init__(self, *, history: bool | str, preview: bool | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.history = history
        self.preview = preview

    @abstractmethod
    def collect(self, services: Services, *, dry_run: bool) -> list[Counts]:
        """Count, and store the counts unless it is a dry run."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Collect the metrics."""
        _skip_if_of_the_past(context)
        kept_for = settings.METRICS_HISTORY_DAYS.read()
        started = time.monotonic()
        with open_services() as services:
            counts = self.collect(services, dry_run=bool(self.preview))
            report = metrics_report(counts, time.monotonic() - started, dry_run=bool(self.preview))
            if self.history and not self.preview:
                services.maintenance.create_indexes()
                services.maintenance.add_metrics(self.action.id, counts, kept_for)
                keep_report(services.maintenance, context, report, succeeded=True, covers_everything=True)
        if not self.preview:
            send_gauges(counts)
        self.log.info("%s", as_text(report))
        return report


class CollectCacheMetricsOperator(CollectMetricsOperator):
    """Collects the metrics of the cache."""

    action = COLLECT_CACHE_METRICS

    def collect(self, services: Services, *, dry_run: bool) -> list[Counts]:
        """Count the entries by kind, HTTP status and error code."""
        return services.cache.collect_metrics(dry_run=dry_run)


class CollectQueueMetricsOperator(CollectMetricsOperator):
    """Collects the metrics of the queue."""

    action = COLLECT_QUEUE_METRICS

    def collect(self, services: Services, *, dry_run: bool) -> list[Counts]:
        """Count the jobs by type and status, and by worker size."""
        return services.queue.collect_metrics(dry_run=dry_run)


def _skip_if_of_the_past(context: Context) -> None:
    if interval := covered_interval(context, "backfill"):
        start, end = interval
        raise AirflowSkipException(
            f"Nothing is counted: a run can only count the current data, not that of {start} to {end}."
        )
