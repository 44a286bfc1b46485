"""The parameters of the DAGs: title, description, default and limits of each.

Airflow's form, the page of each DAG and the tables in docs/actions.md use them, so each description is plain
text that is clear in a form and in a table. Each function returns new objects, because Airflow changes the
values of the objects that it gets.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from datasets_server.options import DEFAULT_ENTRIES_PER_SHARD
from include.actions.clean_directory.rule import DEFAULT_EXPIRY_SECONDS, DEFAULT_PATTERN, JudgeBy
from include.planning.dataset_state import Priority
from include.planning.processing_graph import load_release, release_names

#: The values of ``read``.
READ_CHANGED, READ_EVERYTHING = "changed", "everything"

_WORD = {"type": "string", "minLength": 1, "pattern": r"^\S+$"}

_LIMITS = "Limits"
_ONE_DIRECTORY = "One directory"


def _datasets() -> Param:
    return _words("Datasets", "Names, or wildcards such as org/*, one per line. Empty: all datasets.")


def _words(title: str, description: str) -> Param:
    return Param(
        [],
        type=["array", "null"],
        items=_WORD,
        title=title,
        description=description,
    )


def _time(title: str, description: str) -> Param:
    return Param(None, type=["null", "string"], format="date-time", title=title, description=description)


def _dry_run(description: str) -> Param:
    return Param(False, type="boolean", title="Dry run", description=description)


def _error_limit(description: str, **form: Any) -> Param:
    return Param(100, description, type="integer", minimum=0, title="Error limit", **form)


def _priority(default: Priority, description: str) -> Param:
    return Param(
        default.value,
        type="string",
        enum=[priority.value for priority in reversed(Priority)],
        title="Priority",
        description=description,
    )


def _removal_limit(description: str) -> Param:
    return Param(100, description, type="integer", minimum=0, title="Removal limit", section=_LIMITS)


def _max_removals_per_day() -> Param:
    return Param(
        None,
        type=["null", "integer"],
        minimum=0,
        title="Maximum removals per day",
        description=(
            "The maximum number of datasets that all runs together remove in 24 hours. It can only lower the"
            " limit of the Variable."
        ),
        section=_LIMITS,
    )


def backfill_params() -> dict[str, Param]:
    """Return the parameters of ``backfill``."""
    return {
        "datasets": _datasets(),
        "updated_from": _time(
            "Updated from", "Only datasets with a cache entry updated at this time or later."
        ),
        "updated_to": _time("Updated before", "Only datasets with a cache entry updated before this time."),
        "dry_run": _dry_run("Plan and count everything and show a sample, but write and remove nothing."),
        "priority": _priority(
            Priority.LOW, "The priority of the new jobs. Workers take high before normal before low."
        ),
        "read": Param(
            READ_CHANGED,
            type="string",
            enum=[READ_CHANGED, READ_EVERYTHING],
            title="Read",
            description=(
                "Read what has changed since earlier runs proved it to be up to date, or everything. A run"
                " over all datasets reads everything by itself, a week after the last one that did."
            ),
        ),
        "removal_limit": _removal_limit(
            "If there are more datasets than this to remove, a person has to approve first."
        ),
        "max_removals_per_day": _max_removals_per_day(),
        "error_limit": _error_limit(
            "A task with more failed datasets than this fails at its end.", section=_LIMITS
        ),
        "shards": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=1000,
            title="Shards",
            description=(
                f"How many tasks share the work. Empty: one per {DEFAULT_ENTRIES_PER_SHARD:,} cache entries,"
                " unless the option entries_per_shard sets another number."
            ),
            section=_LIMITS,
        ),
        "batch_size": Param(
            500,
            type="integer",
            minimum=1,
            maximum=5000,
            title="Batch size",
            description="The number of datasets that a task reads, plans and writes at a time.",
            section=_LIMITS,
        ),
        "listing_max_age": Param(
            12,
            type="integer",
            minimum=1,
            maximum=24,
            title="Maximum age of the listing (hours)",
            description="The number of hours for which the Hub's listing is trusted.",
            section=_LIMITS,
        ),
        "listing_min_share": Param(
            50,
            type="integer",
            minimum=0,
            maximum=100,
            title="Minimum size of the listing (%)",
            description=(
                "The minimum size of a trusted listing, in % of the previous listing and of a sample of the"
                " cached datasets. Lower it for one run if the Hub really shrank."
            ),
            section=_LIMITS,
        ),
        "untrusted_listing": Param(
            "ask",
            type="string",
            enum=["ask", "stop"],
            title="Untrusted listing",
            description=(
                "Without a trusted listing, ask the Hub about each dataset, which may take hours, or stop."
            ),
            section=_LIMITS,
        ),
    }


def retryable_error_params() -> dict[str, Param]:
    """Return the parameters of ``backfill-retryable-errors``: two more than those of ``backfill``."""
    return {
        "error_codes": _words(
            "Error codes", "The error codes to retry, one per line. Empty: those that the release retries."
        ),
        "ignore_failed_runs": Param(
            False,
            type="boolean",
            title="Ignore failed runs",
            description="Also retry what has failed too often, such as after an incident.",
        ),
        **backfill_params(),
        "updated_from": _time(
            "Updated from", "Only datasets with an error to retry in an entry updated at this time or later."
        ),
        "updated_to": _time(
            "Updated before", "Only datasets with an error to retry in an entry updated before this time."
        ),
    }


def metrics_params() -> dict[str, Param]:
    """Return the parameters of ``collect-cache-metrics`` and ``collect-queue-metrics``."""
    return {
        "dry_run": _dry_run("Count everything and show the counts, but store nothing and send no gauge."),
        "history": Param(
            True,
            type="boolean",
            title="History",
            description="Add the counts to the history, from which charts can be drawn.",
        ),
    }


def message_params() -> dict[str, Param]:
    """Return the parameters of ``post-messages``."""
    return {
        "datasets": _datasets(),
        "updated_from": _time(
            "Converted from",
            "Only datasets converted to Parquet at this time or later. Empty: one day before the end.",
        ),
        "updated_to": _time(
            "Converted before",
            "Only datasets converted to Parquet before this time. Empty: the time of the run.",
        ),
        "dry_run": _dry_run("Ask the Hub, write the messages and show a few, but open no discussion."),
        "max_messages": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Maximum messages",
            description="The maximum number of discussions to open. Empty: no limit.",
            section=_LIMITS,
        ),
        "error_limit": _error_limit(
            "A task with more failed datasets than this fails at its end.", section=_LIMITS
        ),
    }


def clean_directory_params() -> dict[str, Param]:
    """Return the parameters of ``clean-directory``."""
    return {
        "names": Param(
            [],
            type=["array", "null"],
            items={"type": "string", "minLength": 1},
            title="Names",
            description="Only these entries of the Variable, one name per line. Empty: all entries.",
        ),
        "dry_run": _dry_run("Find and count what has expired and show a sample, but delete nothing."),
        "max_deleted_bytes": _deletion_limit("Maximum bytes", "bytes"),
        "max_deleted_paths": _deletion_limit("Maximum paths", "files and folders"),
        "error_limit": _error_limit("A task that could not delete more paths than this fails at its end."),
        "directory": Param(
            None,
            type=["null", "string"],
            pattern=r"^/[^/]+/.*[^/].*$",
            title="Directory",
            description="Clean this directory instead of those of the Variable, by the following rules.",
            section=_ONE_DIRECTORY,
        ),
        "pattern": Param(
            DEFAULT_PATTERN,
            type="string",
            pattern=r"^[^/]",
            title="Pattern",
            description="The paths below the directory that may expire: a shell wildcard for each level.",
            section=_ONE_DIRECTORY,
        ),
        "expired_time_interval_seconds": Param(
            DEFAULT_EXPIRY_SECONDS,
            type="integer",
            minimum=0,
            title="Expiry (seconds)",
            description="A path expires this many seconds after its last access.",
            section=_ONE_DIRECTORY,
        ),
        "judge_by": Param(
            JudgeBy.PATH.value,
            type="string",
            enum=[judge.value for judge in JudgeBy],
            title="Judge by",
            description="The last access of a folder is its own (path), or the newest in it (contents).",
            section=_ONE_DIRECTORY,
        ),
    }


def _deletion_limit(title: str, of: str) -> Param:
    return Param(
        None,
        type=["null", "integer"],
        minimum=0,
        title=title,
        description=(
            f"If the run would delete more {of} than this, a person has to approve first. It can only lower"
            " the limit of the Variable."
        ),
    )


def restore_params() -> dict[str, Param]:
    """Return the parameters of ``restore-datasets``."""
    return {
        "datasets": Param(
            None,
            type="array",
            items=_WORD,
            minItems=1,
            title="Datasets",
            description="Names, or wildcards such as org/*, one per line.",
        ),
        "removed_from": _time("Removed from", "Only removals at this time or later."),
        "removed_to": _time("Removed before", "Only removals before this time."),
        "without_files": Param(
            False,
            type="boolean",
            title="Without files",
            description=(
                "Leave out the entries that name files of the assets (images, audio), which are gone. A"
                " backfill then creates the jobs that compute these entries again, with their files."
            ),
        ),
        "dry_run": _dry_run("Read the archives, compare and count everything, but write nothing."),
        "error_limit": _error_limit("A task with more failed datasets than this fails at its end."),
    }


def refresh_params() -> dict[str, Param]:
    """Return the parameters of ``refresh-datasets``."""
    return {
        "datasets": _words(
            "Datasets",
            "Names, or wildcards such as org/*, one per line. Empty: all datasets with an error code.",
        ),
        "error_codes": _words(
            "Error codes", "Only datasets with a cache entry that has one of these error codes, one per line."
        ),
        "steps": Param(
            [],
            type=["array", "null"],
            items=_WORD,
            examples=_all_steps(),
            title="Steps",
            description=(
                "The steps to compute again. Empty, with error codes: the entries with these codes, of any"
                " step."
            ),
        ),
        "artifacts": Param(
            [],
            type=["array", "null"],
            items={"type": "string", "minLength": 1},
            title="Artifacts",
            description=(
                "Exactly these, instead of datasets and steps. One per line: a JSON array of the dataset,"
                ' step, config and split, such as ["org/name", "split-first-rows", "config", "split"]. With'
                " error codes: only those that still have one."
            ),
        ),
        "with_children": Param(
            False,
            type="boolean",
            title="With children",
            description="Also all that depends on these in the processing graph, at any distance.",
        ),
        "recreate": Param(
            False,
            type="boolean",
            title="Recreate",
            description=(
                "Instead, archive and remove the named datasets, and build them from nothing, with all their"
                " steps."
            ),
        ),
        "priority": _priority(
            Priority.NORMAL,
            "The priority of the new jobs. They replace waiting jobs of the same artifacts with a lower one.",
        ),
        "dry_run": _dry_run("Plan and count everything and show a sample, but write and remove nothing."),
        "max_jobs": Param(
            10_000,
            type="integer",
            minimum=1,
            title="Maximum jobs",
            description="If the run would create more jobs than this, it fails before it creates one.",
            section=_LIMITS,
        ),
        "removal_limit": _removal_limit(
            "If there are more datasets than this to recreate, a person has to approve first."
        ),
        "max_removals_per_day": _max_removals_per_day(),
        "error_limit": _error_limit(
            "A task with more failed datasets than this fails at its end.", section=_LIMITS
        ),
    }


def _all_steps() -> list[str]:
    """Return the steps of all releases, for the form: which release is maintained, only a task can know."""
    steps = (step.name for name in reversed(release_names()) for step in load_release(name).steps)
    return list(dict.fromkeys(steps))
