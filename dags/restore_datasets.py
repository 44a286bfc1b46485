"""Put the cache entries of removed datasets back, from their archives.

**When it runs.** Only by hand, after datasets were removed that ought to be there: the Hub answered wrongly,
or a block list or a card was wrong. First put that right: a dataset that the Hub still does not support is
removed again by the next `backfill`. While another run writes to the datasets, this one waits without
occupying a worker.

**If you are not sure**, tick *Dry run*: the log and the XCom then show for each dataset when, why and by
which run it was removed, and how many entries would come back.

{parameters}

**What it does.** Each dataset gets the entries that its last removal took (in the given time, if there is
one). An entry that exists is newer, and stays. The counts of the cache follow. Jobs and files of assets do
not come back: **run `backfill` for the same datasets afterwards**. It creates the jobs that are needed now,
also those of the entries that *Without files* leaves out. The page *One dataset* of the console then shows
when and by which run the dataset was restored, until it is removed again.

**When it fails.** The error says what to do. A dataset without an archive, or whose archive is damaged, is
counted, and the others are restored. You can run it again at any time: it only does what is left to do.
"""

from __future__ import annotations

from datasets_server.actions import RESTORE_DATASETS
from datasets_server.airflow_dags import action_dag
from datasets_server.operators.restore_datasets import RestoreDatasetsOperator
from datasets_server.params import restore_params

with action_dag(RESTORE_DATASETS, doc=__doc__, params=restore_params()):
    RestoreDatasetsOperator(
        task_id="restore_datasets",
        datasets="{{ params.datasets }}",
        removed_from="{{ params.removed_from }}",
        removed_to="{{ params.removed_to }}",
        without_files="{{ params.without_files }}",
        preview="{{ params.dry_run }}",
        error_limit="{{ params.error_limit }}",
    )
