"""The task of ``restore-datasets``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from datasets_server import settings
from datasets_server.console_link import ConsoleLink
from datasets_server.operators.selection import utc_time
from datasets_server.operators.waiting import WaitingOperator
from datasets_server.runs import keep_report, run_name, turn_to_write, within_error_limit
from datasets_server.services import open_services
from include.errors import ConfigurationError
from include.summaries import as_text

if TYPE_CHECKING:
    from airflow.sdk import Context


class RestoreDatasetsOperator(WaitingOperator):
    """Puts the cache entries of removed datasets back, where there is no newer entry.

    While another run writes to the datasets, this one waits.

    Returns ``dry_run`` and the fields of :class:`include.actions.restore_datasets.RestoreSummary`.

    :param datasets: names or shell wildcards. (templated)
    :param removed_from: only removals at this time or later (ISO 8601, UTC if it has no zone). (templated)
    :param removed_to: only removals before this time. (templated)
    :param without_files: leave out the entries that name files of the assets. (templated)
    :param preview: read and compare everything, but write nothing. (templated)
    :param error_limit: the maximum number of failed datasets; with more, the task fails at its end.
        (templated)
    """

    template_fields: Sequence[str] = (
        "datasets",
        "removed_from",
        "removed_to",
        "without_files",
        "preview",
        "error_limit",
    )
    operator_extra_links = (ConsoleLink(),)

    def __init__(
        self,
        *,
        datasets: Sequence[str] | str | None,
        removed_from: datetime | str | None,
        removed_to: datetime | str | None,
        without_files: bool | str,
        preview: bool | str,
        error_limit: int | str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.datasets = datasets
        self.removed_from = removed_from
        self.removed_to = removed_to
        self.without_files = without_files
        self.preview = preview
        self.error_limit = error_limit

    def execute(self, context: Context) -> dict[str, Any]:
        """Restore the datasets."""
        from include.actions.restore_datasets import Restorer

        names = list(dict.fromkeys(self.datasets or ()))
        since, until = utc_time(self.removed_from), utc_time(self.removed_to)
        if not names:
            raise ConfigurationError("Name the datasets to restore: with the name * it restores all of them.")
        if since and until and since >= until:
            raise ConfigurationError(f"removed_from ({since}) must be before removed_to ({until}).")
        dry_run = bool(self.preview)
        with open_services() as services:
            archives = services.archives()
            if archives is None:
                raise ConfigurationError(
                    f"There is no archive, because the Variable {settings.ARCHIVE_PROTOCOL.name} holds off."
                )
            with turn_to_write(services, context, dry_run=dry_run, by_last_task=True) as right:
                if not dry_run:  # The restored entries have their old times, which no look for changes finds.
                    services.maintenance.proofs(services.cache.name).forget_looks()
                restorer = Restorer(
                    archives,
                    services.cache,
                    run_name(context),
                    None if dry_run else services.maintenance.restores(),
                    bool(self.without_files),
                    dry_run,
                    right,
                )
                summary = restorer.restore(names, since, until)
            report = {"dry_run": dry_run, **summary.as_json()}
            if not dry_run:  # A dry run does not need the database in which reports are kept.
                succeeded = summary.failed <= int(self.error_limit)
                keep_report(services.maintenance, context, report, succeeded=succeeded)
        self.log.info("%s", as_text(report))
        return within_error_limit(report, int(self.error_limit), context, "datasets")
