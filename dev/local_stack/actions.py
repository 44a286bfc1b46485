"""How ``make run`` shows what each of the seven actions did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from datasets_server import actions

Report = Mapping[str, Any]
#: The rows of a table, in groups; each row has a label and a number.
Groups = Iterator[Mapping[str, int]]

SAMPLE_LINES = 3
_LABEL_WIDTH = 36


@dataclass(frozen=True, slots=True)
class View:
    """How to show the report of an action.

    :param result_task: the task that returns the report; None if no task does.
    :param groups: makes the rows of a table from a report.
    :param samples: the fields of a report that have examples, with the label of each.
    """

    result_task: str | None
    groups: Callable[[Report], Groups]
    samples: Mapping[str, str]

    def table(self, title: str, report: Report, seconds: float) -> Table:
        """Return a table of what a run did; ``seconds`` is how long it took."""
        table = Table("what", title=title, show_header=False)
        table.columns[0].min_width = _LABEL_WIDTH
        table.add_column("how many", justify="right", min_width=10)
        for group in self.groups(report):
            for label, number in group.items():
                table.add_row(label, f"{number:,}")
            table.add_section()
        table.add_row("duration", f"{seconds:.1f} s")
        return table

    def examples(self, report: Report) -> Iterator[Text]:
        """Return a few examples of what a run did, one per line."""
        for field, label in self.samples.items():
            for line in report.get(field, [])[:SAMPLE_LINES]:
                yield Text.assemble(f"{label:>10}  ", (line.replace("\n", " "), "dim"))


def _backfill(report: Report) -> Groups:
    """Show a report of ``include.actions.backfill.report.backfill_report``."""
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
    """Show a report of ``include.actions.collect_metrics.metrics_report``."""
    for name, total in report["counted"].items():
        what = name.replace(".", " ").replace("_", " ")
        yield {
            what: total,
            f"{what}: groups written": report["groups_written"][name],
            f"{what}: groups deleted": report["groups_deleted"][name],
        }


def _messages(report: Report) -> Groups:
    """Show a report of ``include.actions.post_messages.MessageSummary``."""
    yield {
        "datasets converted": report["candidates"],
        "without a namespace": report["without_namespace"],
        "another one of its namespace": report["other_of_namespace"],
    }
    yield {"discussions opened": report["posted"], "opened before": report["already_posted"]}
    yield {**report["passed_over"], "failed": report["failed"]}


def _cleaning(report: Report) -> Groups:
    """Show a report of ``include.actions.clean_directory.report.cleaning_report``."""
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
_CLEANING_SAMPLES = {"deleted_sample": "deleted", "error_sample": "failed", "warnings": "warning"}
_METRICS_SAMPLES = {"largest_groups": "counted"}
_MESSAGE_SAMPLES = {"posted_sample": "posted", "passed_over_sample": "passed", "error_sample": "failed"}

#: The view of each action by its id, in the order in which ``make run`` runs them: errors are retried before
#: the backfill, which would create their jobs too, and the counts come after both.
VIEWS: Mapping[str, View] = {
    actions.BACKFILL_RETRYABLE_ERRORS.id: View("report", _backfill, _BACKFILL_SAMPLES),
    actions.BACKFILL.id: View("report", _backfill, _BACKFILL_SAMPLES),
    actions.COLLECT_CACHE_METRICS.id: View("report", _metrics, _METRICS_SAMPLES),
    actions.COLLECT_QUEUE_METRICS.id: View("report", _metrics, _METRICS_SAMPLES),
    actions.CLEAN_DIRECTORY.id: View("report", _cleaning, _CLEANING_SAMPLES),
    actions.POST_MESSAGES.id: View("post_messages", _messages, _MESSAGE_SAMPLES),
    actions.SKIP.id: View(None, _nothing, {}),
}
