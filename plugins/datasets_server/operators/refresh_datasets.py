"""The tasks of ``refresh-datasets``: refresh or recreate datasets, after an approval if they are many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.utils.skipmixin import SkipMixin

from datasets_server.console_link import ConsoleLink
from datasets_server.markdown import as_plain_text
from datasets_server.operators.approval import NAMES_SHOWN, LastingApprovalOperator, listed
from datasets_server.operators.waiting import WaitingOperator
from datasets_server.runs import (
    RETURNED,
    Result,
    check_error_limit,
    keep_report,
    run_name,
    run_token,
    turn_to_write,
)
from datasets_server.services import Services, open_services
from include.planning.dataset_state import Priority
from include.summaries import as_text

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.actions.refresh_datasets import Refresher, RefreshSummary


class _RefreshingOperator(WaitingOperator):
    """Base class of the operators that refresh or recreate datasets. While another run writes, they wait.

    :param datasets: names or shell wildcards. (templated)
    :param error_codes: only datasets that have an entry with one of these. (templated)
    :param steps: the steps to compute again; none for the entries with the error codes. (templated)
    :param artifacts: instead of datasets and steps, exactly these, each as the text of an
        :class:`include.planning.artifact_name.ArtifactName`. (templated)
    :param with_children: also all that depends on these. (templated)
    :param recreate: instead, remove the datasets and build them from nothing. (templated)
    :param priority: the priority of the new jobs: ``low``, ``normal`` or ``high``. (templated)
    :param max_jobs: with more jobs to create, the task creates none and fails. (templated)
    :param max_removals_per_day: lowers the limit of the removals of a day; None for no change. (templated)
    :param preview: plan and count everything, but write nothing. (templated)
    :param error_limit: the maximum number of failed datasets; with more, the task fails at its end.
        (templated)
    """

    template_fields: Sequence[str] = (
        "datasets",
        "error_codes",
        "steps",
        "artifacts",
        "with_children",
        "recreate",
        "priority",
        "max_jobs",
        "max_removals_per_day",
        "preview",
        "error_limit",
    )
    operator_extra_links = (ConsoleLink(),)

    def __init__(
        self,
        *,
        datasets: Sequence[str] | str | None,
        error_codes: Sequence[str] | str | None,
        steps: Sequence[str] | str | None,
        artifacts: Sequence[str] | str | None,
        with_children: bool | str,
        recreate: bool | str,
        priority: str,
        max_jobs: int | str,
        max_removals_per_day: int | str | None,
        preview: bool | str,
        error_limit: int | str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.datasets = datasets
        self.error_codes = error_codes
        self.steps = steps
        self.artifacts = artifacts
        self.with_children = with_children
        self.recreate = recreate
        self.priority = priority
        self.max_jobs = max_jobs
        self.max_removals_per_day = max_removals_per_day
        self.preview = preview
        self.error_limit = error_limit

    def refreshed(self, context: Context, approved_by: str | None = None) -> Result:
        """Refresh or recreate the datasets, and return the report.

        :param approved_by: who has approved that datasets are recreated, if a person was asked.
        """
        from include.actions.refresh_datasets import refresh_report

        dry_run, limit = bool(self.preview), int(self.error_limit)
        with open_services() as services:
            summary = self._summary(services, context, approved_by)
            report = refresh_report(summary, dry_run=dry_run)
            keep_report(services.maintenance, context, report, succeeded=summary.failed <= limit)
        self.log.info("%s", as_text(report))
        context["ti"].xcom_push(RETURNED, report)
        check_error_limit(summary.as_json(), limit, "datasets")
        return report

    def _summary(self, services: Services, context: Context, approved_by: str | None) -> RefreshSummary:
        """Do the work, as soon as no other run writes."""
        from include.actions.refresh_datasets import Refresher

        dry_run = bool(self.preview)
        with turn_to_write(services, context, dry_run=dry_run, by_last_task=True) as right:
            if not dry_run:
                services.maintenance.create_indexes()
            refresher = Refresher(
                run_token(context),
                services.release,
                services.cache,
                services.queue,
                services.maintenance,
                services.hub(),
                services.remover(right, run_name(context), approved_by),
                right,
                dry_run,
            )
            return self._done_by(refresher, services)

    def _done_by(self, refresher: Refresher, services: Services) -> RefreshSummary:
        from include.actions.refresh_datasets import named_datasets
        from include.planning.artifact_name import ArtifactName, by_dataset
        from include.planning.refresh import Refresh

        error_codes, priority = self.error_codes or (), Priority(self.priority)
        artifacts = by_dataset(map(ArtifactName.parse, self.artifacts or ()))
        names = artifacts or named_datasets(services.cache, self.datasets or (), error_codes)
        if self.recreate:
            return refresher.recreate(names, priority, services.removal_limit(self.max_removals_per_day))
        refresh = Refresh(
            frozenset(self.steps or ()), frozenset(error_codes), bool(self.with_children), priority, artifacts
        )
        return refresher.refresh(names, refresh, int(self.max_jobs))


class RefreshDatasetsOperator(_RefreshingOperator, SkipMixin):
    """Refreshes or recreates datasets, and skips the next tasks, for which Airflow then starts no process.

    Only if so many are to be recreated that a person has to approve, it leaves them to the next tasks.

    Returns the report of :func:`include.actions.refresh_datasets.refresh_report`; None if it leaves them to
    the next tasks.

    :param removal_limit: the maximum number of datasets to recreate that need no approval. (templated)
    """

    template_fields: Sequence[str] = (*_RefreshingOperator.template_fields, "removal_limit")
    inherits_from_skipmixin = True

    def __init__(self, *, removal_limit: int | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.removal_limit = removal_limit

    def execute(self, context: Context) -> None:
        """Check what is asked for, and do it."""
        from include.actions.refresh_datasets import check_request
        from include.planning.artifact_name import ArtifactName
        from include.planning.refresh import check_steps

        run_token(context)  # makes it for the tasks that follow
        steps, artifacts = self.steps or (), self.artifacts or ()
        check_request(
            self.datasets or (), self.error_codes or (), steps, artifacts, recreate=bool(self.recreate)
        )
        for artifact in artifacts:
            ArtifactName.parse(artifact)
        with open_services() as services:
            check_steps(services.release, steps)
        if self._needs_approval():
            return
        self.refreshed(context)
        self.skip(context["ti"], self.get_direct_relatives(upstream=False))

    def _needs_approval(self) -> bool:
        number = len(set(self.datasets or ()))
        return bool(self.recreate) and not self.preview and number > int(self.removal_limit)


class ApproveRecreationsOperator(LastingApprovalOperator):
    """Asks a person, in Airflow's UI, to approve that many datasets are recreated.

    If the person rejects it, or nobody decides in time, the next task is skipped.

    :param datasets: their names. (templated)
    """

    template_fields: Sequence[str] = (*LastingApprovalOperator.template_fields, "datasets")

    def __init__(self, *, datasets: Sequence[str] | str, **kwargs: Any) -> None:
        super().__init__(subject="Recreate datasets?", **kwargs)
        self.datasets = datasets

    def execute(self, context: Context) -> None:
        """Wait for a person."""
        names = list(dict.fromkeys(self.datasets))
        self.ask(
            context,
            f"Remove {len(names):,} datasets from the cache, and build them from nothing?",
            _text_for_approval(names, self.hours_to_decide()),
            about=f"the recreation of {len(names):,} datasets",
            otherwise="none was recreated",
            datasets=names[:NAMES_SHOWN],
        )


def _text_for_approval(names: Sequence[str], hours: int) -> str:
    return (
        "If you approve, the run archives and removes their waiting jobs and cache entries, and removes their"
        " files, within the limit of the day, and creates the jobs that build them anew. Until these have"
        " run, their pages have no data. Datasets that the Hub does not support stay as they are. If nobody"
        f" decides within {hours} hours, nothing is removed.\n\nThe datasets:\n\n"
        + listed(map(as_plain_text, names), len(names))
    )


class RecreateApprovedOperator(_RefreshingOperator):
    """Recreates the datasets that a person has approved.

    Returns the report of :func:`include.actions.refresh_datasets.refresh_report`.

    :param approval_task_id: the task that asked the person.
    """

    def __init__(self, *, approval_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approval_task_id = approval_task_id

    def execute(self, context: Context) -> Result:
        """Recreate them."""
        return self.refreshed(context, ApproveRecreationsOperator.approver(context, self.approval_task_id))
