"""Delete the old temporary files and folders that the workers of datasets-server leave behind.

**When it runs.** Every three hours, for each directory of the Variable `datasets_server_directory_cleaning`.
By hand also for a single directory, which the form asks for. A run deletes all that is expired, however late
it starts. Only with Airflow's *backfill* by date range, each run keeps to what was last accessed in its
interval.

**What it deletes.** Each path that matches the pattern below the directory, and was last accessed at least
the expiry ago: a file, or a folder with all below it. No symbolic link is followed; one that matches is
deleted itself, by its own age. A missing directory is created.

**Before a run that worries you**, tick *Dry run*: the task `report` then shows what would be deleted.

| parameter | |
| --- | --- |
| `names` | only these entries of the Variable, one a line; empty for all |
| `dry_run` | find and count what is expired, delete nothing |
| `error_limit` | a task fails, at its end, if more paths than this could not be deleted |
| `directory` | clean this one, in place of those of the Variable, by the three rules that follow |
| `pattern` | the paths below it, with wildcards for each level; `*` does not match a dot at the start |
| `expired_time_interval_seconds` | how long ago, at least, a path was last accessed to be expired |
| `judge_by` | a folder's last access is its own (`path`), or the newest of what it holds (`contents`) |

With `judge_by` `path`, a folder that something lists often never expires, though all in it is old. `contents`
looks into it instead.

**The Variable** is a list in JSON. The last three fields may be left out, and are then these:

```
[{"name": "hf-datasets-cache", "directory": "/storage/hf-datasets-cache",
  "pattern": "*/datasets/*", "expired_time_interval_seconds": 10800, "judge_by": "path"}]
```

**What it does.** `list_cleanings` reads the Variable or the form; without any directory, the run is skipped.
Each `clean_directory`, named after its entry, cleans one. `report` sums up: files, folders and bytes for each
directory, and what could not be deleted and why.

**When it fails.** The error says what to do. A directory that is `/`, a home or a folder of the system, or
has fewer than two parts, is refused at once, as is a pattern that leads out of it. What cannot be deleted is
left, counted and named; most often the worker's user lacks the right. Then clear the failed tasks: each may
be run again at any time.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from datasets_server.operators.clean_directory import (
    CleanDirectoryOperator,
    CleaningReportOperator,
    ListCleaningsOperator,
)
from datasets_server.params import CLEANING_NAME, LAST_ACCESS, ONE_DIRECTORY, clean_directory_params
from datasets_server.retries import RETRIES
from datasets_server.schedules import schedule

with DAG(
    dag_id="clean-directory",
    description="Delete the old temporary files and folders of the workers.",
    doc_md=__doc__,
    schedule=schedule("clean-directory", "0 */3 * * *"),
    start_date=datetime(2024, 3, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    params=clean_directory_params(),
    render_template_as_native_obj=True,
    tags=["datasets-server"],
):
    list_cleanings = ListCleaningsOperator(
        task_id="list_cleanings", single=ONE_DIRECTORY, names="{{ params.names }}"
    )
    clean_directory = CleanDirectoryOperator.partial(
        task_id="clean_directory",
        map_index_template=CLEANING_NAME,
        preview="{{ params.dry_run }}",
        error_limit="{{ params.error_limit }}",
        **LAST_ACCESS,
    ).expand(cleaning=list_cleanings.output)
    report = CleaningReportOperator(
        task_id="report",
        list_task_id="list_cleanings",
        clean_task_id="clean_directory",
        preview="{{ params.dry_run }}",
        trigger_rule="all_done",
    )
    clean_directory >> report
