"""Delete the old temporary files and folders that the workers of datasets-server leave behind.

**When it runs.** Every three hours, for each directory in the Variable `datasets_server_directory_cleaning`.
Run it by hand to clean these at once, or a single directory that you name in the form. A run deletes all that
has expired, however late it starts. Only in Airflow's *backfill* by date range, each run deletes nothing but
what was last accessed in its data interval.

**What it deletes.** Each path that matches the pattern below the directory and has not been accessed for as
long as the expiry says: a file, or a folder with everything in it. The file system's clock decides. A link to
a file is judged by the file, and only the link is deleted. Links to folders or to nothing, FIFOs, sockets and
devices that match stay. If the directory is missing, it is created.

**If you are not sure**, tick *Dry run*: the task `report` then shows what the run would delete.

{parameters}

If `judge_by` is `path`, a folder that some program lists often never expires, although everything in it is
old. `contents` looks inside the folder instead.

**The Variable** is a list in JSON. The last three fields are optional; these are their defaults:

```
[{"name": "hf-datasets-cache", "directory": "/storage/hf-datasets-cache",
  "pattern": "*/datasets/*", "expired_time_interval_seconds": 10800, "judge_by": "path"}]
```

**What it does.** `list_cleanings` reads the Variable or the form; if there is no directory, the run is
skipped. If there is a limit, `approve_deletions` counts first what the run would delete, and asks a person if
it is more. Each `clean_directory`, named after its entry, cleans one directory. `report` sums up: files,
folders and bytes per directory, and which paths could not be deleted and why.

**When it fails.** The error says what to do. The task refuses a directory outside those of the Variable (or
of `datasets_server_directory_cleaning_roots`), folders of the assets, of Airflow, of the system and of other
users, and a pattern that leads out of the directory. It leaves, counts and names the paths that it cannot
delete; most often the worker's user lacks the right. Then clear the failed tasks: you can run each of them
again at any time.
"""

from __future__ import annotations

from datasets_server.actions import CLEAN_DIRECTORY
from datasets_server.airflow_dags import action_dag
from datasets_server.operators.clean_directory import (
    ApproveDeletionsOperator,
    CleanDirectoryOperator,
    CleaningReportOperator,
    ListCleaningsOperator,
)
from datasets_server.params import clean_directory_params

with action_dag(CLEAN_DIRECTORY, doc=__doc__, params=clean_directory_params()):
    list_cleanings = ListCleaningsOperator(task_id="list_cleanings")
    approve_deletions = ApproveDeletionsOperator(
        task_id="approve_deletions",
        cleanings=list_cleanings.output,
        max_deleted_bytes="{{ params.max_deleted_bytes }}",
        max_deleted_paths="{{ params.max_deleted_paths }}",
        preview="{{ params.dry_run }}",
        execution_timeout=None,  # a person has as long as the Variable says
    )
    clean_directory = CleanDirectoryOperator.partial(
        task_id="clean_directory",
        map_index_template="{{ task.cleaning.name[:250] }}",  # Airflow keeps 250 characters
        approval_task_id="approve_deletions",
        preview="{{ params.dry_run }}",
        error_limit="{{ params.error_limit }}",
    ).expand(cleaning=list_cleanings.output)
    report = CleaningReportOperator(
        task_id="report",
        list_task_id="list_cleanings",
        clean_task_id="clean_directory",
        approval_task_id="approve_deletions",
        preview="{{ params.dry_run }}",
        trigger_rule="all_done",
    )
    approve_deletions >> clean_directory >> report
