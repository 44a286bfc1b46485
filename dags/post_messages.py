"""Tell the owners of datasets, in a discussion on the Hub, that there is a Parquet version.

**When it runs.** Every day, for the datasets whose Parquet version was created or updated in the day before.
In Airflow's *backfill* by date range, which covers days on which Airflow was down, each run takes the
datasets of its data interval. A run by hand takes the last day, or the times that you set.

**Which datasets get a discussion.** One per namespace, the first by name; none without a namespace. A dataset
on which the bot has ever opened a discussion, open or closed, gets no other one. Datasets that are gone,
disabled, renamed or forbidden to the bot, or that have discussions disabled, are counted and passed over.

**If you are not sure**, tick *Dry run*: the log and the XCom then show how many discussions the run would
open, where, and the text of the first few. The text is in `include/actions/post_messages.md`.

{parameters}

The summary counts the datasets beyond `max_messages` as `postponed`. Another run over the same times
continues with them.

**When it fails.** The error says what to do. Without the bot's name or token, or with the token of another
user, the task fails at once: fix the Connection `huggingface_hub_bot`. The task waits for the Hub's rate
limit, and Airflow retries a Hub that does not answer. Then clear the failed task. You can run it again at any
time: it asks the Hub first, so no dataset gets a second discussion.
"""

from __future__ import annotations

from datasets_server.actions import POST_MESSAGES
from datasets_server.airflow_dags import action_dag
from datasets_server.operators.post_messages import PostMessagesOperator
from datasets_server.params import message_params

with action_dag(POST_MESSAGES, doc=__doc__, params=message_params()):
    PostMessagesOperator(
        task_id="post_messages",
        datasets="{{ params.datasets }}",
        updated_from="{{ params.updated_from }}",
        updated_to="{{ params.updated_to }}",
        max_messages="{{ params.max_messages }}",
        preview="{{ params.dry_run }}",
        error_limit="{{ params.error_limit }}",
    )
