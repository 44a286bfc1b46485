"""The task of ``post-messages``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from datasets_server import settings
from datasets_server.errors import within_error_limit
from datasets_server.hooks.hub_bot import HubBotHook
from datasets_server.operators.backfill import SelectingOperator
from datasets_server.runs import turn
from datasets_server.services import open_services
from include.actions.post_messages import MessageTemplate, ParquetMessages
from include.databases.cache_store import Selection
from include.summaries import as_text

if TYPE_CHECKING:
    from airflow.sdk import Context

#: What one run at a time may do.
POSTING = "post-messages"
#: Where no time is given from which on datasets count: those of the last day.
DEFAULT_PERIOD = timedelta(days=1)


class PostMessagesOperator(SelectingOperator):
    """Opens a discussion on the datasets that were converted to Parquet, one in each namespace.

    Returns ``dry_run`` and the fields of :class:`include.actions.post_messages.MessageSummary`.

    :param datasets: names or shell wildcards; none for all.
    :param updated_from: the datasets with a Parquet version made or renewed at this time (ISO 8601, UTC if no
        zone) or later; by default, in the day before ``updated_to``.
    :param updated_to: ... and before this time; now by default.
    :param max_messages: open no more discussions than this; None for no limit.
    :param preview: ask the Hub and write the messages, but open no discussion.
    :param error_limit: fail, at the end, if more datasets than this could not be handled.
    """

    template_fields: Sequence[str] = (
        *SelectingOperator.template_fields,
        "max_messages",
        "preview",
        "error_limit",
    )

    def __init__(
        self, *, max_messages: Any = None, preview: Any = False, error_limit: Any = 100, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.max_messages = max_messages
        self.preview = preview
        self.error_limit = error_limit

    def execute(self, context: Context) -> dict[str, Any]:
        """Find the datasets and post to them."""
        selection = _with_default_period(self.selection)
        revision = settings.PARQUET_REVISION.read()
        bot = HubBotHook().bot()
        # Two runs at a time could both find no discussion on a dataset, and both open one.
        with (
            open_services() as services,
            turn(services.maintenance, POSTING, context, by_last_task=True) as right,
        ):
            names = list(services.cache.converted_datasets(selection))
            self.log.info(
                "%s datasets were converted from %s to %s. %s posts to them, one in each namespace.",
                f"{len(names):,}",
                selection.updated_from,
                selection.updated_to,
                bot.name,
            )
            messages = ParquetMessages(
                bot,
                MessageTemplate.load(),
                revision,
                max_messages=int(self.max_messages) if self.max_messages else None,
                dry_run=bool(self.preview),
                right=right,
            )
            summary = messages.post(names)
        report = {"dry_run": messages.dry_run, **summary.as_json()}
        self.log.info("%s", as_text(report))
        return within_error_limit(report, int(self.error_limit), context)


def _with_default_period(selection: Selection) -> Selection:
    updated_to = selection.updated_to or datetime.now(UTC)
    return replace(
        selection, updated_from=selection.updated_from or updated_to - DEFAULT_PERIOD, updated_to=updated_to
    )
