"""The parameters that the backfills share, and the form that asks for them in Airflow's UI."""

from __future__ import annotations

from airflow.sdk import Param

from include.actions.clean_directory import DEFAULT_EXPIRY_SECONDS, DEFAULT_PATTERN, JudgeBy


def _dry_run(description: str) -> Param:
    return Param(False, type="boolean", title="Dry run", description=description)


def _time(title: str, description: str) -> Param:
    return Param(None, type=["null", "string"], format="date-time", title=title, description=description)


def backfill_params() -> dict[str, Param]:
    """Give the parameters of a backfill: new ones for each DAG, because Airflow changes their values."""
    return {
        "datasets": Param(
            [],
            type=["array", "null"],
            items={"type": "string", "minLength": 1, "pattern": r"^\S+$"},
            title="Datasets",
            description="One name a line, or a wildcard such as `org/*`. Empty: all datasets of the cache.",
        ),
        "updated_from": _time(
            "Updated from",
            "Only the datasets with a cache entry updated at this time or later.",
        ),
        "updated_to": _time(
            "Updated before",
            "Only the datasets with a cache entry updated before this time.",
        ),
        "dry_run": _dry_run(
            "Plan and count everything and show a sample, but write nothing and remove nothing."
        ),
        "priority": Param(
            "low",
            type="string",
            enum=["low", "normal", "high"],
            title="Priority",
            description="The priority of the jobs to create. Workers take high before normal before low.",
        ),
        "removal_limit": Param(
            100,
            type="integer",
            minimum=0,
            title="Removals without approval",
            description="If more datasets than this are to be removed, a person has to approve first.",
            section="Limits",
        ),
        "error_limit": Param(
            100,
            type="integer",
            minimum=0,
            title="Errors allowed",
            description="A task fails, at its end, if it could not handle more datasets than this.",
            section="Limits",
        ),
        "shards": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=1000,
            title="Shards",
            description="The number of tasks that share the work. Empty: one for each 250,000 cache entries.",
            section="Limits",
        ),
        "batch_size": Param(
            500,
            type="integer",
            minimum=1,
            maximum=5000,
            title="Batch size",
            description="The number of datasets that are read, planned and written at a time.",
            section="Limits",
        ),
        "listing_max_age": Param(
            12,
            type="integer",
            minimum=1,
            maximum=24,
            title="Age of the listing",
            description="For how many hours a shard trusts the Hub's listing.",
            section="Limits",
        ),
        "listing_min_share": Param(
            50,
            type="integer",
            minimum=0,
            maximum=100,
            title="Size of the listing",
            description=(
                "The Hub's listing is trusted if it has at least this percentage of as many datasets as the"
                " last one had, and of a sample of the cached datasets."
            ),
            section="Limits",
        ),
        "untrusted_listing": Param(
            "ask",
            type="string",
            enum=["ask", "stop"],
            title="Without a trusted listing",
            description="Ask the Hub about each dataset, which may take hours, or stop.",
            section="Limits",
        ),
    }


def retryable_error_params() -> dict[str, Param]:
    """Give the parameters of ``backfill-retryable-errors``."""
    return backfill_params() | {
        "error_codes": Param(
            [],
            type=["array", "null"],
            items={"type": "string", "minLength": 1, "pattern": r"^\S+$"},
            title="Error codes",
            description="The codes to retry, one a line. Empty: those that the release retries.",
        ),
        "ignore_failed_runs": Param(
            False,
            type="boolean",
            title="Ignore failed runs",
            description="Retry also what has failed as often as it may. For after an incident.",
        ),
    }


def metrics_params() -> dict[str, Param]:
    """Give the parameters of a collection of metrics."""
    return {
        "dry_run": _dry_run("Count everything and show the counts, but store nothing and send no gauge."),
        "history": Param(
            True,
            type="boolean",
            title="Keep the history",
            description="Add the counts to our history, from which charts are drawn.",
        ),
    }


def message_params() -> dict[str, Param]:
    """Give the parameters of ``post-messages``."""
    shared = backfill_params()
    return {
        "datasets": shared["datasets"],
        "updated_from": _time(
            "Converted from",
            "Only the datasets converted to Parquet at this time or later. Empty: the last day.",
        ),
        "updated_to": _time(
            "Converted before",
            "Only the datasets converted to Parquet before this time. Empty: before the run.",
        ),
        "dry_run": _dry_run("Ask the Hub, write the messages and show a few, but open no discussion."),
        "max_messages": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Messages at most",
            description="Open no more discussions than this. Empty: no limit.",
            section="Limits",
        ),
        "error_limit": shared["error_limit"],
    }


def clean_directory_params() -> dict[str, Param]:
    """Give the parameters of ``clean-directory``."""
    one_directory = "One directory"
    return {
        "names": Param(
            [],
            type=["array", "null"],
            items={"type": "string", "minLength": 1},
            title="Names",
            description="Only these entries of the Variable, one name a line. Empty: all of them.",
        ),
        "dry_run": _dry_run("Find and count what is expired and show a sample, but delete nothing."),
        "error_limit": Param(
            100,
            type="integer",
            minimum=0,
            title="Errors allowed",
            description="A task fails, at its end, if more paths than this could not be deleted.",
        ),
        "directory": Param(
            None,
            type=["null", "string"],
            pattern=r"^/[^/]+/.*[^/].*$",
            title="Directory",
            description="Clean this directory, in place of those of the Variable, by the three rules below.",
            section=one_directory,
        ),
        "pattern": Param(
            DEFAULT_PATTERN,
            type="string",
            pattern=r"^[^/]",
            title="Pattern",
            description="The paths below the directory that are deleted when expired, with shell wildcards.",
            section=one_directory,
        ),
        "expired_time_interval_seconds": Param(
            DEFAULT_EXPIRY_SECONDS,
            type="integer",
            minimum=0,
            title="Expiry",
            description="How many seconds ago a path was last accessed, at least, to be expired.",
            section=one_directory,
        ),
        "judge_by": Param(
            JudgeBy.PATH.value,
            type="string",
            enum=[judge.value for judge in JudgeBy],
            title="Judge by",
            description="The last access of a folder is its own (`path`), or the newest of what it holds.",
            section=one_directory,
        ),
    }


#: The directory that the form names. As an object, because a text by itself, such as the pattern `[12]`,
#: would be taken for what it means in Python.
ONE_DIRECTORY = (
    "{{ {'directory': params.directory, 'pattern': params.pattern, 'judge_by': params.judge_by,"
    " 'expired_time_interval_seconds': params.expired_time_interval_seconds} }}"
)

#: The name of a mapped task in the UI, which keeps 250 characters. In quotes, because a name such as 2024
#: would be taken for a number.
CLEANING_NAME = "{{ task.cleaning.name[:250] | pprint }}"

#: In Airflow's backfill by date range, a run deletes only what was last accessed in its interval. Any other
#: run, however late it starts, deletes all that is expired.
LAST_ACCESS = {
    "accessed_from": "{{ data_interval_start if dag_run.run_type == 'backfill' else None }}",
    "accessed_to": "{{ data_interval_end if dag_run.run_type == 'backfill' else None }}",
}

#: Which datasets a run is about: its parameters say it, or in Airflow's backfill by date range, its interval.
SELECTION = {
    "datasets": "{{ params.datasets }}",
    "updated_from": "{{ data_interval_start if dag_run.run_type == 'backfill' else params.updated_from }}",
    "updated_to": "{{ data_interval_end if dag_run.run_type == 'backfill' else params.updated_to }}",
}

_INTERVAL_COUNTS = "dag_run.run_type in ('backfill', 'scheduled')"
#: The same for ``post-messages``: a scheduled run, however late it starts, is about its interval too.
MESSAGES_SELECTION = {
    "datasets": "{{ params.datasets }}",
    "updated_from": f"{{{{ data_interval_start if {_INTERVAL_COUNTS} else params.updated_from }}}}",
    "updated_to": (
        f"{{{{ data_interval_end if {_INTERVAL_COUNTS} else params.updated_to or dag_run.run_after }}}}"
    ),
}
