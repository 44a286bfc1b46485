"""Tell the owners of datasets, in a discussion on the Hub, that there is a Parquet version.

**When it runs.** Every day, for the datasets whose Parquet version was made or renewed in the day before.
With Airflow's *backfill* by date range, each run takes those of its interval: for days on which Airflow stood
still. By hand, it takes the last day, or the time that you give.

**Whom it posts to.** One dataset of each namespace, the first by name; none without a namespace. A dataset on
which the bot has ever opened a discussion, open or closed, gets no other one. Datasets that are gone,
disabled, renamed or forbidden to the bot, or that have discussions disabled, are counted and passed over.

**Before a run that worries you**, tick *Dry run*: its log and its XCom then show how many discussions would
be opened, where, and the text of the first few. The text is in `include/actions/post_messages.md`.

| parameter | |
| --- | --- |
| `datasets` | names or wildcards (`org/*`), one a line; empty for all |
| `updated_from`, `updated_to` | only the datasets converted between these times; empty for the last day |
| `max_messages` | open no more discussions than this; empty for no limit |
| `dry_run` | ask the Hub and write the messages, open nothing |
| `error_limit` | the task fails, at its end, with more errors than this |

The summary counts as `postponed` the datasets beyond `max_messages`. Another run over the same times goes on
with them.

**When it fails.** The error says what to do. Without the bot's name or token, or with another user's token,
it fails at once: mend the Connection `huggingface_hub_bot`. The Hub's rate limit is waited for, and a Hub
that does not answer is tried again. Then clear the failed task: it may be run again at any time, because the
Hub is asked first, and no dataset gets a second discussion.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from datasets_server.operators.post_messages import PostMessagesOperator
from datasets_server.params import MESSAGES_SELECTION, message_params
from datasets_server.retries import RETRIES
from datasets_server.schedules import schedule

with DAG(
    dag_id="post-messages",
    description="Open a Hub discussion on the datasets that were converted to Parquet.",
    doc_md=__doc__,
    schedule=schedule("post-messages", "10 0 * * *"),
    start_date=datetime(2024, 3, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    params=message_params(),
    render_template_as_native_obj=True,
    tags=["datasets-server"],
):
    PostMessagesOperator(
        task_id="post_messages",
        max_messages="{{ params.max_messages }}",
        preview="{{ params.dry_run }}",
        error_limit="{{ params.error_limit }}",
        **MESSAGES_SELECTION,
    )
