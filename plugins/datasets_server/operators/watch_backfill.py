"""The task of ``watch-backfill``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from datasets_server import settings
from datasets_server.actions import BACKFILL
from datasets_server.notices import send_notice
from datasets_server.services import open_services
from datasets_server.settings import NoticeKind

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from airflow.sdk import Context


class WatchBackfillOperator(BaseOperator):
    """Tells operators if there has been no good run of ``backfill`` for too long, at most once a day.

    Returns ``{"last_good_run": its end in ISO 8601, or None, "overdue": whether it was too long ago}``.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, and tell."""
        longest = settings.OVERDUE_HOURS.read()
        with open_services() as services:
            records = services.maintenance.run_records(BACKFILL.id)
            watch = records.watch(longest)
            if watch.is_overdue:
                self.log.warning("%s", _happened(watch.last_good_run, longest))
            if watch.is_notice_due and not _tell(context, watch.last_good_run, longest):
                records.forget_notice()
        last = watch.last_good_run
        return {"last_good_run": last and last.isoformat(), "overdue": watch.is_overdue}


def _happened(last_good_run: datetime | None, longest: timedelta) -> str:
    hours = int(longest.total_seconds() // 3600)
    last = (
        f"The last one ended at {last_good_run:%Y-%m-%d %H:%M} UTC" if last_good_run else "There was none yet"
    )
    return f"There has been no good run of {BACKFILL.id} over the whole cache for {hours} hours. {last}."


def _tell(context: Context, last_good_run: datetime | None, longest: timedelta) -> bool:
    return send_notice(
        NoticeKind.OVERDUE,
        context,
        f"{BACKFILL.id} is overdue",
        happened=_happened(last_good_run, longest),
        to_do=f"see whether the DAG {BACKFILL.id} is paused, waits for an approval, or fails.",
    )
