"""The tasks of ``clean-directory``: list what is to be cleaned, clean each directory, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from datasets_server import settings
from datasets_server.errors import within_error_limit
from datasets_server.reports import fail_if_a_task_failed, seconds_since_start
from include.actions.clean_directory import CleaningSummary, DirectoryCleaning, clean, cleaning_report
from include.errors import ConfigurationError
from include.summaries import as_text

if TYPE_CHECKING:
    from airflow.sdk import Context


class ListCleaningsOperator(BaseOperator):
    """Lists what is to be cleaned: the directory of the form, or else the entries of the Variable.

    Returns the fields of a :class:`include.actions.clean_directory.DirectoryCleaning` for each. If there is
    none, the task is skipped, and with it the others.

    :param single: the fields of one, without a name; it counts if its ``directory`` is given.
    :param names: take only these entries of the Variable; none for all.
    """

    template_fields: Sequence[str] = ("single", "names")

    def __init__(self, *, single: Any, names: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.single = single
        self.names = names

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """List them."""
        cleanings = self._cleanings()
        if not cleanings:
            raise AirflowSkipException(
                f"There is nothing to clean: the Variable {settings.DIRECTORY_CLEANING.name} lists no"
                " directory, and the run names none."
            )
        for cleaning in cleanings:
            self.log.info("To clean: %s", cleaning)
        return [asdict(cleaning) for cleaning in cleanings]

    def _cleanings(self) -> Sequence[DirectoryCleaning]:
        names = self.names or ()
        if self.single["directory"]:
            if names:
                raise ConfigurationError("Give names of the Variable's entries or a directory, not both.")
            return (DirectoryCleaning(name=self.single["directory"], **self.single),)
        cleanings: Mapping[str, DirectoryCleaning] = {
            cleaning.name: cleaning for cleaning in settings.DIRECTORY_CLEANING.read()
        }
        if unknown := [name for name in names if name not in cleanings]:
            raise ConfigurationError(
                f"The Variable {settings.DIRECTORY_CLEANING.name} has no entry {', '.join(unknown)}."
                f" It has {', '.join(cleanings) or 'none'}."
            )
        return [cleaning for name, cleaning in cleanings.items() if not names or name in names]


class CleanDirectoryOperator(BaseOperator):
    """Deletes what is expired in one directory.

    Returns ``name`` and the fields of :class:`include.actions.clean_directory.CleaningSummary`.

    :param cleaning: the fields of a :class:`include.actions.clean_directory.DirectoryCleaning`.
    :param accessed_from: delete only what was last accessed at this time (with a zone) or later.
    :param accessed_to: ... and before this time.
    :param preview: find and count what is expired, but delete nothing.
    :param error_limit: fail, at the end, if more paths than this could not be deleted.
    """

    template_fields: Sequence[str] = ("cleaning", "accessed_from", "accessed_to", "preview", "error_limit")

    def __init__(
        self,
        *,
        cleaning: Any,
        accessed_from: Any = None,
        accessed_to: Any = None,
        preview: Any = False,
        error_limit: Any = 100,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cleaning = cleaning
        self.accessed_from = accessed_from
        self.accessed_to = accessed_to
        self.preview = preview
        self.error_limit = error_limit

    def execute(self, context: Context) -> dict[str, Any]:
        """Clean the directory."""
        cleaning = DirectoryCleaning(**self.cleaning)
        summary = clean(
            cleaning,
            accessed_from=self.accessed_from,
            accessed_to=self.accessed_to,
            dry_run=bool(self.preview),
        ).as_json()
        self.log.info("%s", as_text({"dry_run": bool(self.preview), **summary}))
        return within_error_limit(
            {"name": cleaning.name, **summary}, int(self.error_limit), context, what="paths"
        )


class CleaningReportOperator(BaseOperator):
    """Sums up what the tasks of a run did, logs it, and fails if one of them failed.

    Returns the report of :func:`include.actions.clean_directory.cleaning_report`.

    :param list_task_id: the task that lists what is to be cleaned.
    :param clean_task_id: the mapped task that cleans.
    :param preview: whether nothing was deleted.
    """

    template_fields: Sequence[str] = ("preview",)

    def __init__(self, *, list_task_id: str, clean_task_id: str, preview: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.list_task_id = list_task_id
        self.clean_task_id = clean_task_id
        self.preview = preview

    def execute(self, context: Context) -> dict[str, Any]:
        """Sum up."""
        cleanings = context["ti"].xcom_pull(task_ids=self.list_task_id)
        if not cleanings:
            fail_if_a_task_failed(context)
            raise AirflowSkipException("There was nothing to clean.")
        # A list of task ids gives a list, even where there is one directory.
        results = context["ti"].xcom_pull(task_ids=[self.clean_task_id])
        summaries = dict(_named_summary(result) for result in results if result)
        report = cleaning_report(
            summaries,
            seconds_since_start(context),
            dry_run=bool(self.preview),
            not_cleaned=[cleaning["name"] for cleaning in cleanings if cleaning["name"] not in summaries],
        )
        self.log.info("%s", as_text(report))
        context["ti"].xcom_push("return_value", report)
        fail_if_a_task_failed(context)
        return report


def _named_summary(result: Mapping[str, Any]) -> tuple[str, CleaningSummary]:
    fields = {name: value for name, value in result.items() if name != "name"}
    return str(result["name"]), CleaningSummary(**fields)
