"""The task of ``post-messages``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from datasets_server import settings
from datasets_server.operators.selection import Interval, SelectingOperator, covered_interval, utc_time
from datasets_server.runs import keep_report, turn, within_error_limit
from datasets_server.services import Services, open_services
from include.summaries import as_text

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.databases.selection import Selection
    from include.hub.bot import HubBot

#: The work that only one run at a time may do.
POSTING = "post-messages"
#: A run by hand without ``updated_from`` covers this time before ``updated_to``.
DEFAULT_PERIOD = timedelta(days=1)


class PostMessagesOperator(SelectingOperator):
    """Opens a discussion on the datasets that were converted to Parquet, one per namespace.

    A scheduled run, however late it starts, and a run of Airflow's backfill by date range cover their data
    interval. Any other run covers the given times, by default the day before the run.

    Returns ``dry_run`` and the fields of :class:`include.actions.post_messages.MessageSummary`.

    :param max_messages: the maximum number of discussions to open; None for no limit. (templated)
    :param preview: ask the Hub and write the messages, but open no discussion. (templated)
    :param error_limit: the maximum number of failed datasets; with more, the task fails at its end.
        (templated)
    """

    template_fields: Sequence[str] = (
        *SelectingOperator.template_fields,
        "max_messages",
        "preview",
        "error_limit",
    )

    def __init__(
        self, *, max_messages: int | str | None, preview: bool | str, error_limit: int | str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.max_messages = max_messages
        self.preview = preview
        self.error_limit = error_limit

    def interval(self, context: Context) -> Interval:
        """Return the times between which the datasets were converted.

        :raises ConfigurationError: if a time is not valid.
        """
        if covered := covered_interval(context, "scheduled", "backfill"):
            return covered
        end = utc_time(self.updated_to) or context["dag_run"].run_after
        return utc_time(self.updated_from) or end - DEFAULT_PERIOD, end

    def execute(self, context: Context) -> dict[str, Any]:
        """Find the datasets and post to them."""
        from include.actions.post_messages import MessageTemplate, ParquetMessages

        selection = self.selection(context)
        messages = partial(
            ParquetMessages,
            template=MessageTemplate.load(),
            revision=settings.PARQUET_REVISION.read(),
            max_messages=int(self.max_messages) if self.max_messages else None,
            dry_run=bool(self.preview),
        )
        with open_services() as services:
            bot = services.bot()
            # Two runs at the same time could both find no discussion on a dataset, and both open one.
            with turn(services.maintenance, POSTING, context, by_last_task=True) as right:
                names = self._names(services, selection, bot)
                summary = messages(bot, right=right).post(names)
            report = {"dry_run": bool(self.preview), **summary.as_json()}
            succeeded = summary.failed <= int(self.error_limit)
            keep_report(services.maintenance, context, report, succeeded=succeeded)
        self.log.info("%s", as_text(report))
        return within_error_limit(report, int(self.error_limit), context, "datasets")

    def _names(self, services: Services, selection: Selection, bot: HubBot) -> list[str]:
        names = list(services.cache.converted_datasets(selection))
        self.log.info(
            "%s datasets were converted from %s to %s. %s posts to one dataset of each namespace.",
            f"{len(names):,}",
            selection.updated_from,
            selection.updated_to,
            bot.name,
        )
        return names
