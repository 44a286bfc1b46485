"""The tasks of ``clean-directory``: list the cleanings, ask a person, clean each directory, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from datasets_server import settings
from datasets_server.cleanable import cleanable_roots, protected_folders
from datasets_server.markdown import as_plain_text
from datasets_server.operators.approval import LastingApprovalOperator
from datasets_server.operators.selection import covered_interval
from datasets_server.runs import (
    end_run,
    fail_if_a_task_failed,
    results,
    seconds_since_start,
    within_error_limit,
)
from include.actions.clean_directory.cleaning import clean, time_of
from include.actions.clean_directory.limit import DeletionLimit
from include.actions.clean_directory.report import CleaningSummary, cleaning_report
from include.actions.clean_directory.rule import DirectoryCleaning
from include.errors import ConfigurationError
from include.summaries import as_text

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg


class ListCleaningsOperator(BaseOperator):
    """Lists what to clean: the directory that the run's parameters describe, or the entries of the Variable.

    The parameters are ``directory``, ``pattern``, ``expired_time_interval_seconds`` and ``judge_by``, or
    ``names`` of entries. The operator reads them itself, because a template would turn the pattern ``[12]``
    into a list.

    Returns a list of objects with the fields of
    :class:`include.actions.clean_directory.rule.DirectoryCleaning`.
    If there is nothing to clean, this task and the next ones are skipped.
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """List the cleanings."""
        cleanings = _cleanings(context["params"])
        if not cleanings:
            raise AirflowSkipException(
                f"There is nothing to clean: the Variable {settings.DIRECTORY_CLEANING.name} lists no"
                " directory, and neither do the parameters of the run."
            )
        for cleaning in cleanings:
            self.log.info("To clean: %s", cleaning)
        return [asdict(cleaning) for cleaning in cleanings]


def _cleanings(params: Mapping[str, Any]) -> Sequence[DirectoryCleaning]:
    names = params["names"] or ()
    if params["directory"]:
        if names:
            raise ConfigurationError("Set names or directory, not both.")
        rules = {rule: params[rule] for rule in ("pattern", "expired_time_interval_seconds", "judge_by")}
        return [DirectoryCleaning(name=params["directory"], directory=params["directory"], **rules)]
    cleanings: Mapping[str, DirectoryCleaning] = {
        cleaning.name: cleaning for cleaning in settings.DIRECTORY_CLEANING.read()
    }
    if unknown := [name for name in names if name not in cleanings]:
        raise ConfigurationError(
            f"The Variable {settings.DIRECTORY_CLEANING.name} has no entry {', '.join(unknown)}."
            f" It has {', '.join(cleanings) or 'none'}."
        )
    return [cleaning for name, cleaning in cleanings.items() if not names or name in names]


class ApproveDeletionsOperator(LastingApprovalOperator):
    """Asks a person, in Airflow's UI, to approve the deletions of a run if they exceed a limit.

    Only if there is a limit, it counts what the run would delete. If the person rejects it, or nobody decides
    in time, the run deletes nothing. What expires after the count is left to the next run.

    :param cleanings: what ListCleaningsOperator returned. (templated)
    :param max_deleted_bytes: lowers the limit of the Variable; None for no change. (templated)
    :param max_deleted_paths: the same for files and folders. (templated)
    :param preview: whether the run deletes nothing anyway. (templated)
    """

    template_fields: Sequence[str] = (
        *LastingApprovalOperator.template_fields,
        "cleanings",
        "max_deleted_bytes",
        "max_deleted_paths",
        "preview",
    )

    _BOUNDS = "accessed_before"

    def __init__(
        self,
        *,
        cleanings: XComArg | Sequence[Mapping[str, Any]],
        max_deleted_bytes: int | str | None,
        max_deleted_paths: int | str | None,
        preview: bool | str,
        **kwargs: Any,
    ) -> None:
        super().__init__(subject="Delete what has expired?", **kwargs)
        self.cleanings = cleanings
        self.max_deleted_bytes = max_deleted_bytes
        self.max_deleted_paths = max_deleted_paths
        self.preview = preview

    def execute(self, context: Context) -> None:
        """Count the deletions, and wait for a person if there are too many."""
        limit = self._limit()
        if self.preview or not limit.exists:
            self.log.info("The deletions need no approval.")
            return
        cleanings = [
            DirectoryCleaning(**each) for each in cast("Sequence[Mapping[str, Any]]", self.cleanings)
        ]
        bounds = {
            cleaning.name: time_of(cleaning) - timedelta(seconds=cleaning.expired_time_interval_seconds)
            for cleaning in cleanings
        }
        context["ti"].xcom_push(self._BOUNDS, {name: bound.isoformat() for name, bound in bounds.items()})
        summaries = {
            cleaning.name: _clean(cleaning, context, bounds[cleaning.name], dry_run=True)
            for cleaning in cleanings
        }
        total = CleaningSummary.total(summary.as_json() for summary in summaries.values())
        if not limit.is_exceeded_by(total):
            self.log.info("%s to delete, within the limit.", _amount(total))
            return
        self.log.warning("%s to delete, above the limit: a person has to approve.", _amount(total))
        self.ask(
            context,
            f"Delete {_amount(total)} that have expired?",
            _text_for_approval(summaries, total.deleted_sample, self.hours_to_decide()),
            about=f"the deletion of {_amount(total)}",
            otherwise="nothing was deleted",
        )

    @classmethod
    def bound(cls, context: Context, task_id: str, cleaning: DirectoryCleaning) -> datetime | None:
        """Return the time before which paths were accessed that a task of this operator counted, if any."""
        bounds = context["ti"].xcom_pull(task_ids=task_id, key=cls._BOUNDS)
        return datetime.fromisoformat(bounds[cleaning.name]) if bounds else None

    def _limit(self) -> DeletionLimit:
        configured = DeletionLimit(settings.MAX_DELETED_BYTES.read(), settings.MAX_DELETED_PATHS.read())
        lowered_to = DeletionLimit(_number(self.max_deleted_bytes), _number(self.max_deleted_paths))
        return DeletionLimit.lowest(configured, lowered_to)


def _number(argument: int | str | None) -> int | None:
    return None if argument is None else int(argument)


def _amount(summary: CleaningSummary) -> str:
    return f"{summary.files:,} files and {summary.folders:,} folders ({summary.bytes_freed:,} bytes)"


def _text_for_approval(summaries: Mapping[str, CleaningSummary], sample: Sequence[str], hours: int) -> str:
    amounts = [f"- {as_plain_text(name)}: {_amount(summary)}" for name, summary in summaries.items()]
    paths = [f"- {as_plain_text(path)}" for path in sample]
    return (
        "If you approve, the run deletes these paths, unless they are used until then. If these directories"
        f" ought to keep them, reject, and check the Variable `{settings.DIRECTORY_CLEANING.name}`. If nobody"
        f" decides within {hours} hours, nothing is deleted, and the next run finds it again.\n\n"
        + "The directories:\n\n"
        + "\n".join(amounts)
        + "\n\nSome of the paths:\n\n"
        + "\n".join(paths)
    )


def _clean(
    cleaning: DirectoryCleaning, context: Context, accessed_before: datetime | None, *, dry_run: bool
) -> CleaningSummary:
    accessed_from, accessed_to = covered_interval(context, "backfill") or (None, None)
    bounds = [bound for bound in (accessed_before, accessed_to) if bound is not None]
    return clean(
        cleaning,
        accessed_from=accessed_from,
        accessed_to=min(bounds, default=None),
        dry_run=dry_run,
        roots=cleanable_roots(),
        protected=list(protected_folders()),
    )


class CleanDirectoryOperator(BaseOperator):
    """Deletes what has expired in one directory.

    It refuses a directory that is in none of the folders which the Variables allow, and a folder of the
    assets or of Airflow.

    In Airflow's backfill by date range, a run only deletes what was last accessed in its data interval. Any
    other run, however late it starts, deletes all that has expired.

    Returns ``name`` and the fields of :class:`include.actions.clean_directory.report.CleaningSummary`.

    :param approval_task_id: the task that counts what is to be deleted: this one deletes no more.
    :param cleaning: an item of what ListCleaningsOperator returned. (templated)
    :param preview: find and count what has expired, but delete nothing. (templated)
    :param error_limit: the maximum number of paths that cannot be deleted; with more, the task fails at its
        end. (templated)
    """

    template_fields: Sequence[str] = ("cleaning", "preview", "error_limit")

    def __init__(
        self,
        *,
        approval_task_id: str,
        cleaning: Mapping[str, Any],
        preview: bool | str,
        error_limit: int | str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.approval_task_id = approval_task_id
        self.cleaning = cleaning
        self.preview = preview
        self.error_limit = error_limit

    def execute(self, context: Context) -> dict[str, Any]:
        """Clean the directory."""
        cleaning = DirectoryCleaning(**self.cleaning)
        dry_run = bool(self.preview)
        bound = ApproveDeletionsOperator.bound(context, self.approval_task_id, cleaning)
        summary = _clean(cleaning, context, bound, dry_run=dry_run).as_json()
        self.log.info("%s", as_text({"dry_run": dry_run, **summary}))
        return within_error_limit({"name": cleaning.name, **summary}, int(self.error_limit), context, "paths")


class CleaningReportOperator(BaseOperator):
    """Reports what the tasks of a run did, and fails if one of them failed.

    Returns the report of :func:`include.actions.clean_directory.report.cleaning_report`.

    :param list_task_id: the task that lists the cleanings.
    :param clean_task_id: the mapped task that cleans.
    :param approval_task_id: the task that asks a person to approve the deletions.
    :param preview: whether the run deleted nothing. (templated)
    """

    template_fields: Sequence[str] = ("preview",)

    def __init__(
        self,
        *,
        list_task_id: str,
        clean_task_id: str,
        approval_task_id: str,
        preview: bool | str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.list_task_id = list_task_id
        self.clean_task_id = clean_task_id
        self.approval_task_id = approval_task_id
        self.preview = preview

    def execute(self, context: Context) -> dict[str, Any]:
        """Gather the results of the tasks, and end the run."""
        cleanings = context["ti"].xcom_pull(task_ids=self.list_task_id)
        if not cleanings:
            fail_if_a_task_failed(context)
            raise AirflowSkipException("There was nothing to clean.")
        summaries = dict(_named_summary(result) for result in results(context, self.clean_task_id))
        report = cleaning_report(
            summaries,
            seconds_since_start(context),
            dry_run=bool(self.preview),
            not_cleaned=[cleaning["name"] for cleaning in cleanings if cleaning["name"] not in summaries],
            decisions=ApproveDeletionsOperator.decisions(context, self.approval_task_id),
        )
        return end_run(context, report)


def _named_summary(result: Mapping[str, Any]) -> tuple[str, CleaningSummary]:
    counts = dict(result)
    return counts.pop("name"), CleaningSummary(**counts)
