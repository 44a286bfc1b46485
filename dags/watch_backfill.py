"""Tell operators if there has been no good run of `backfill` for too long.

**Why it is there.** A run that fails sends a notice. A run that never starts or never ends cannot: the DAG
is paused, an earlier run waits for an approval, or no worker takes its tasks. This DAG looks from outside.

**When it runs.** Every hour. It has no parameters.

**What it does.** It reads when the last good run of `backfill` over the whole cache ended; a dry run does not
count. If that is longer ago than the Variable `datasets_server_notices_overdue_hours` says (26 hours by
default), it sends the notice `overdue`, at most once a day until the next good run. As long as there was no
good run, it counts from its own first run. It does not fail if `backfill` is overdue: the log and the XCom
say so.

**When it fails.** The error says what to do. The next run looks again.
"""

from __future__ import annotations

from datasets_server.actions import WATCH_BACKFILL
from datasets_server.airflow_dags import action_dag
from datasets_server.operators.watch_backfill import WatchBackfillOperator

with action_dag(WATCH_BACKFILL, doc=__doc__):
    WatchBackfillOperator(task_id="watch_backfill")
