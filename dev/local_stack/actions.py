"""The seven actions as ``make run`` shows them: the DAG, the task that returns what it did, and its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

Report = Mapping[str, Any]
#: Rows of a table, in groups: a label and a number each.
Groups = Iterator[Mapping[str, int]]

SAMPLE_LINES = 3
_LABEL_WIDTH = 36


@dataclass(frozen=True, slots=True)
class Action:
    """A DAG of the seven.

    :param result_task: the task that returns the report; None if no task does.
    :param groups: the rows of the table that shows a report.
    :param samples: the lists of a report that hold examples, and what is written before each example.
    """

    dag_id: str
    result_task: str | None
    groups: Callable[[Report], Groups]
    samples: Mapping[str, str]

    def table(self, report: Report, seconds: float) -> Table:
        """Show what a run did; ``seconds`` is how long it took."""
        table = Table("what", title=self.dag_id, show_header=False)
        table.columns[0].min_width = _LABEL_WIDTH
        table.add_column("how many", justify="right", min_width=10)
        for group in self.groups(report):
            for label, number in group.items():
                table.add_row(label, f"{number:,}")
            table.add_section()
        table.add_row("duration", f"{seconds:.1f} s")
        return table

    def examples(self, report: Report) -> Iterator[Text]:
        """Give a few examples of what a run did, a line each."""
        for field, label in self.samples.items():
            for line in report.get(field, [])[:SAMPLE_LINES]:
                yield Text.assemble(f"{label:>10}  ", (line.replace("\n", " "), "dim"))


def _backfill(report: Report) -> Groups:
    """Show what ``include.actions.backfill.report.backfill_report`` describes."""
    datasets, jobs, removed = report["datasets"], report["jobs"], report["removed"]
    yield {f"datasets {name}": datasets[name] for name in ("untouched", "backfilled", "removed", "failed")}
    yield {f"jobs {name}": jobs[name] for name in ("created", "deleted")}
    yield {
        "cache entries removed": removed["cache_entries"],
        "waiting jobs removed": removed["waiting_jobs"],
        "storage folders removed": removed["asset_folders"],
    }
    yield {"Hub requests": sum(report["hub_requests"].values())}


def _metrics(report: Report) -> Groups:
    """Show what ``include.actions.collect_metrics.metrics_report`` describes."""
    for name, total in report["counted"].items():
        what = name.replace(".", " ").replace("_", " ")
        yield {
            what: total,
            f"{what}: groups written": report["groups_written"][name],
            f"{what}: groups deleted": report["groups_deleted"][name],
        }


def _messages(report: Report) -> Groups:
    """Show what ``include.actions.post_messages.MessageSummary`` describes."""
    yield {
        "datasets converted": report["candidates"],
        "without a namespace": report["without_namespace"],
        "another one of its namespace": report["other_of_namespace"],
    }
    yield {"discussions opened": report["posted"], "opened before": report["already_posted"]}
    yield {**report["passed_over"], "failed": report["failed"]}


def _cleaning(report: Report) -> Groups:
    """Show what ``include.actions.clean_directory.cleaning_report`` describes."""
    for name, counts in report["directories"].items():
        yield {f"{name}: {what} deleted": counts[what] for what in ("files", "folders")}
    yield {"bytes freed": report["total"]["bytes_freed"], "failed": report["total"]["failed"]}


def _nothing(_: Report) -> Groups:
    return iter(())


_BACKFILL_SAMPLES = {
    "plan_sample": "planned",
    "unsupported_sample": "removed",
    "error_sample": "failed",
    "warnings": "warning",
}
_CLEANING_SAMPLES = {"deleted_sample": "deleted", "error_sample": "failed"}
_METRICS_SAMPLES = {"largest_groups": "counted"}
_MESSAGE_SAMPLES = {"posted_sample": "posted", "passed_over_sample": "passed", "error_sample": "failed"}

#: In the order in which they show most: what is retried is backfilled, and what is left is counted.
ACTIONS = (
    Action("backfill-retryable-errors", "report", _backfill, _BACKFILL_SAMPLES),
    Action("backfill", "report", _backfill, _BACKFILL_SAMPLES),
    Action("collect-cache-metrics", "report", _metrics, _METRICS_SAMPLES),
    Action("collect-queue-metrics", "report", _metrics, _METRICS_SAMPLES),
    Action("clean-directory", "report", _cleaning, _CLEANING_SAMPLES),
    Action("post-messages", "post_messages", _messages, _MESSAGE_SAMPLES),
    Action("skip", None, _nothing, {}),
)
