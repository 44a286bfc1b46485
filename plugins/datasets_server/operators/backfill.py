"""The tasks of a backfill: find the work, backfill each shard, remove datasets, report.

A task passes small results to the next one through XCom, and large ones through our own database, under the
token of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import BaseOperator

from datasets_server import settings
from datasets_server.console_link import ConsoleLink
from datasets_server.markdown import as_plain_text
from datasets_server.notices import send_notice
from datasets_server.operators.approval import NAMES_SHOWN, LastingApprovalOperator, listed
from datasets_server.operators.selection import SelectingOperator
from datasets_server.operators.waiting import WaitingOperator
from datasets_server.options import entries_per_shard
from datasets_server.params import READ_CHANGED
from datasets_server.runs import (
    WRITING,
    check_error_limit,
    end_run,
    end_turn,
    failed_tasks,
    keep_report,
    results,
    run_name,
    run_token,
    seconds_since_start,
    skip_if_turn_was_skipped,
    turn_to_write,
    within_error_limit,
)
from datasets_server.services import Services, open_services
from datasets_server.settings import NoticeKind
from datasets_server.xcoms import ListingReference, Shard
from include.actions.backfill.hub_listing import FEW_DATASETS, HubLister, UntrustedListingError, usable
from include.actions.backfill.report import BackfillSummary, RemovalSummary, backfill_report
from include.databases.selection import Selection
from include.planning.dataset_state import Priority

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.actions.backfill.pipeline import Backfill
    from include.actions.backfill.proofs import Proofs
    from include.databases.maintenance_store import MaintenanceStore, RemovalCandidate, Selected
    from include.databases.right_to_write import RightToWrite
    from include.hub.client import Hub
    from include.planning.processing_graph import Release


class CachedDatasetsOperator(SelectingOperator):
    """Base class of the operators that work on the cached datasets that a run selects.

    :param error_codes: select the datasets with an entry with one of these error codes; an empty list means
        the codes that the release retries, None any entry. (templated)
    """

    template_fields: Sequence[str] = (*SelectingOperator.template_fields, "error_codes")

    def __init__(self, *, error_codes: Sequence[str] | str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error_codes = error_codes

    def selection_in(self, release: Release, context: Context) -> Selection:
        """Return which datasets the run selects.

        :raises ConfigurationError: if a time is not valid, or the times are in the wrong order.
        """
        selection = self.selection(context)
        if self.error_codes is None:
            return selection
        return replace(selection, error_codes=tuple(self.error_codes) or tuple(release.max_failed_runs))


class FindWorkOperator(CachedDatasetsOperator):
    """Finds the work of a run, and cuts it into shards: ranges of names, one for each mapped task.

    It takes the right to write, checks the token, and lists the Hub, if the listing saves more requests than
    it takes: it proves that most datasets are up to date. If few datasets are selected, or the listing is not
    trusted, the run asks the Hub about each dataset instead. If many are selected, but not all, a recent
    listing is used again. While another run writes to the datasets, this one waits or is skipped.

    Returns a list of objects with the fields of :class:`datasets_server.xcoms.Shard`, which is empty if there
    is nothing to do. The XCom ``listing`` has the fields of :class:`datasets_server.xcoms.ListingReference`.

    :param shards: the number of shards; None for one per so many cache entries as
        :func:`datasets_server.options.entries_per_shard` says. (templated)
    :param listing_min_share: the minimum size of a trusted listing, in % of the previous listing and of a
        sample of the cached datasets. (templated)
    :param untrusted_listing: without a trusted listing, ``ask`` the Hub about each dataset, or ``stop``.
        (templated)
    :param scheduled_if_busy: whether a scheduled run waits or is skipped while another run writes. A run by
        hand or of a date range waits, because no other run would do its work.
    :param read: ``changed`` to leave out the datasets that earlier runs have proven to be up to date, as long
        as they do not change, or ``everything``. (templated)
    :param preview: write nothing, and do not wait for another run. (templated)
    """

    template_fields: Sequence[str] = (
        *CachedDatasetsOperator.template_fields,
        "shards",
        "read",
        "listing_min_share",
        "untrusted_listing",
        "preview",
    )
    #: The key of the XCom with the listing.
    LISTING = "listing"

    def __init__(
        self,
        *,
        shards: int | str | None,
        listing_min_share: int | str,
        untrusted_listing: str,
        scheduled_if_busy: Literal["wait", "skip"],
        read: str,
        preview: bool | str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shards = shards
        self.read = read
        self.listing_min_share = listing_min_share
        self.untrusted_listing = untrusted_listing
        self.scheduled_if_busy = scheduled_if_busy
        self.preview = preview

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Find the datasets, cut them into shards, and list the Hub."""
        run = run_token(context)  # makes it for the tasks that follow
        dry_run = bool(self.preview)
        is_scheduled = context["dag_run"].run_type == "scheduled"
        skip_if_busy = is_scheduled and self.scheduled_if_busy == "skip"
        with (
            open_services() as services,
            turn_to_write(services, context, dry_run=dry_run, skip_if_busy=skip_if_busy) as right,
        ):
            hub = services.hub()
            hub.check_token()
            if not dry_run:
                services.maintenance.create_indexes()
            selection = self.selection_in(services.release, context)
            selected = None if selection.is_everything else _select(services, selection, run, right)
            shards = self._shards(services, run, selected)
            if not shards and not dry_run:
                _finish_what_is_left(services, right)
            listing = self._listing(services, hub, selected, right)
            if listing.id is not None and self._reads_everything(services, right):
                shards = [replace(shard, read_everything=True) for shard in shards]
            context["ti"].xcom_push(self.LISTING, listing.as_json())
        return [shard.as_json() for shard in shards]

    def _shards(self, services: Services, run: str, selected: Selected | None) -> list[Shard]:
        """Cut the selected datasets into shards, or all cached datasets."""
        if selected is None:
            entries = services.cache.entry_count()
            ranges = services.cache.shards(self._number(entries))
            self.log.info("%s shards over about %s entries.", len(ranges), f"{entries:,}")
        else:
            ranges = services.maintenance.selection_shards(run, selected, self._number(selected.entries))
            if not selected.datasets and not self._has_removals_to_finish(services):
                ranges = []
            self.log.info(
                "%s shards over %s selected datasets with %s entries.",
                len(ranges),
                f"{selected.datasets:,}",
                f"{selected.entries:,}",
            )
        is_selected = selected is not None
        return [Shard(first, end, selected=is_selected, read_everything=False) for first, end in ranges]

    def _number(self, entries: int) -> int:
        return int(self.shards) if self.shards else max(1, -(-entries // entries_per_shard()))

    def _has_removals_to_finish(self, services: Services) -> bool:
        return not self.preview and bool(services.maintenance.removal_ledger().unfinished())

    def _listing(
        self, services: Services, hub: Hub, selected: Selected | None, right: RightToWrite
    ) -> ListingReference:
        requests = hub.requests
        if selected is not None and selected.datasets <= FEW_DATASETS:
            self.log.info("Few datasets are selected: the run asks the Hub about each of them.")
            return ListingReference.to(None, requests)
        min_share = int(self.listing_min_share) / 100
        lister = HubLister(hub, services.maintenance.listings(), services.cache, min_share, right)
        # A run over the whole cache always lists the Hub; others may run every few minutes.
        recent = None if selected is None else lister.recent()
        if recent is not None:
            self.log.info("The run uses the listing of the Hub of %s again.", recent.begun_at)
            return ListingReference.to(recent, requests)
        try:
            listing = lister.whole()
        except UntrustedListingError as error:
            warning = _warning_or_stop(error, self.untrusted_listing)
            self.log.warning("%s", warning)
            return ListingReference.to(None, hub.requests, [warning])
        requests += listing.requests  # includes those of earlier, interrupted attempts
        self.log.info("The Hub lists %s datasets, after %s requests.", f"{listing.listed:,}", requests)
        return ListingReference.to(listing, requests)

    def _reads_everything(self, services: Services, right: RightToWrite) -> bool:
        """Look for what has changed, and return whether the run is to read the rest too."""
        from include.actions.backfill.proofs import look_for_changes, time_since_all_was_read

        proofs = services.maintenance.proofs(services.cache.name)
        if not self.preview:
            look_for_changes(services.cache, proofs, settings.CLOCK_TOLERANCE.read(), right)
        age, longest = time_since_all_was_read(proofs), settings.READ_EVERYTHING_AFTER.read()
        if self.read == READ_CHANGED and age is not None and age < longest:
            return False
        self.log.info("The run reads everything, whether it has changed or not.")
        return True


def _finish_what_is_left(services: Services, right: RightToWrite) -> None:
    """Do what an earlier run that was killed could not do any more. Else the first shard does it."""
    services.queue.check_new_jobs(right)
    services.queue.pay_owed_counts()
    services.cache.pay_owed_counts()


def _select(services: Services, selection: Selection, run: str, right: RightToWrite) -> Selected:
    """Store which datasets the run is about."""
    cache = services.cache
    return services.maintenance.select(run, cache.selected_names(selection), cache.entry_counts, right)


def _warning_or_stop(error: UntrustedListingError, untrusted_listing: str) -> str:
    """Return the warning that the run asks the Hub about each dataset.

    :raises UntrustedListingError: if the run is to stop instead.
    """
    if untrusted_listing == "stop":
        raise error
    return f"{error} The run asks the Hub about each dataset."


class BackfillShardOperator(WaitingOperator):
    """Backfills the datasets of one shard, and stores which ones RemoveDatasetsOperator is to remove.

    Returns how many datasets the run is to remove, as far as the shard knows; None if it knows of none. The
    XCom ``summary`` has the fields of :class:`include.actions.backfill.report.BackfillSummary`.

    :param shard: an item of what FindWorkOperator returned. (templated)
    :param listing: the XCom ``listing`` of FindWorkOperator. (templated)
    :param listing_max_age: the number of hours for which the listing is trusted. (templated)
    :param untrusted_listing: if the listing is no longer trusted, ``ask`` the Hub about each dataset, or
        ``stop``. (templated)
    :param priority: the priority of the new jobs: ``low``, ``normal`` or ``high``. (templated)
    :param batch_size: the number of datasets to read, plan and write at a time. (templated)
    :param preview: plan and count everything, but write nothing. (templated)
    :param max_removals_per_day: lowers the limit of the removals and rebuilds of a day; None for no change.
        (templated)
    :param error_limit: the maximum number of failed datasets; with more, the task fails at its end.
        (templated)
    :param error_codes: the error codes to retry; None or an empty list for those that the release retries.
        (templated)
    :param ignore_failed_runs: also retry errors that have failed too often. (templated)
    """

    template_fields: Sequence[str] = (
        "shard",
        "listing",
        "listing_max_age",
        "untrusted_listing",
        "priority",
        "batch_size",
        "max_removals_per_day",
        "preview",
        "error_limit",
        "error_codes",
        "ignore_failed_runs",
    )
    #: The key of the XCom with the summary.
    SUMMARY = "summary"

    def __init__(
        self,
        *,
        shard: Mapping[str, Any],
        listing: Mapping[str, Any],
        listing_max_age: int | str,
        untrusted_listing: str,
        priority: str,
        batch_size: int | str,
        max_removals_per_day: int | str | None,
        preview: bool | str,
        error_limit: int | str,
        error_codes: Sequence[str] | str | None,
        ignore_failed_runs: bool | str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shard = shard
        self.listing = listing
        self.listing_max_age = listing_max_age
        self.untrusted_listing = untrusted_listing
        self.priority = priority
        self.batch_size = batch_size
        self.max_removals_per_day = max_removals_per_day
        self.preview = preview
        self.error_limit = error_limit
        self.error_codes = error_codes
        self.ignore_failed_runs = ignore_failed_runs

    def execute(self, context: Context) -> int | None:
        """Backfill the shard."""
        run = run_token(context)
        dry_run = bool(self.preview)
        with open_services() as services, turn_to_write(services, context, dry_run=dry_run) as right:
            listing_id, warnings = self._usable_listing(services.maintenance)
            backfill = self._backfill(services, context, listing_id, right)
            summary = backfill.run(_names(Shard.from_json(self.shard), services, run))
            summary.warnings = warnings
            to_remove = None if dry_run else _number_to_remove(services.maintenance, run)
        context["ti"].xcom_push(self.SUMMARY, summary.as_json())
        check_error_limit(summary.as_json(), int(self.error_limit), "datasets")
        return to_remove

    def _usable_listing(self, maintenance: MaintenanceStore) -> tuple[str | None, list[str]]:
        """Return the listing of the run, if it can be used, and a warning if it is no longer trusted."""
        try:
            return _usable_listing(maintenance, self.listing, self.listing_max_age), []
        except UntrustedListingError as error:
            warning = _warning_or_stop(error, self.untrusted_listing)
            self.log.warning("%s", warning)
            return None, [warning]

    def _backfill(
        self, services: Services, context: Context, listing_id: str | None, right: RightToWrite
    ) -> Backfill:
        from include.actions.backfill.pipeline import Backfill, BackfillOptions

        maintenance = services.maintenance
        release = services.release.retrying(
            self.error_codes or (), past_the_maximum=bool(self.ignore_failed_runs)
        )
        return Backfill(
            run_token(context),
            release,
            services.cache,
            services.queue,
            maintenance.with_listing(listing_id) if listing_id else maintenance,
            services.hub(),
            services.remover(right, run_name(context)),
            BackfillOptions(
                priority=Priority(self.priority),
                batch_size=int(self.batch_size),
                trust_listing=listing_id is not None,
                removal_limit=services.removal_limit(self.max_removals_per_day),
                dry_run=bool(self.preview),
            ),
            right,
            self._proofs(services, release, right) if listing_id else None,
        )

    def _proofs(self, services: Services, release: Release, right: RightToWrite) -> Proofs:
        """Return what earlier runs have proven. A run with rules of its own leaves no record."""
        from include.actions.backfill.proofs import Proofs, changed_since_last_look, fingerprint

        store, dry_run = services.maintenance.proofs(services.cache.name), bool(self.preview)
        changed: Set[str] = frozenset()
        if dry_run:
            changed = changed_since_last_look(services.cache, store, settings.CLOCK_TOLERANCE.read())
        rules = fingerprint(release)
        return Proofs(
            store,
            rules,
            right,
            used=not Shard.from_json(self.shard).read_everything,
            kept=not dry_run and rules == fingerprint(services.release),
            changed=changed,
        )


def _usable_listing(
    maintenance: MaintenanceStore, listing: Mapping[str, Any], max_age: int | str
) -> str | None:
    """Return the id of the listing of the run, or None if it has none.

    :raises UntrustedListingError: if it is no longer trusted.
    """
    listing_id = ListingReference.from_json(listing).id
    if listing_id is None:
        return None
    return usable(maintenance.listings(), listing_id, timedelta(hours=int(max_age))).id


def _names(shard: Shard, services: Services, run: str) -> Iterator[str]:
    """Return the names of the datasets in a shard, each once."""
    if shard.selected:
        return services.maintenance.selected(run, shard.names)
    # A dataset whose rebuild was interrupted may no longer be in the cache.
    unfinished = set(services.maintenance.unfinished_rebuilds(shard.names))
    cached = services.cache.dataset_names(shard.names)
    return chain(unfinished, (name for name in cached if name not in unfinished))


def _number_to_remove(maintenance: MaintenanceStore, run: str) -> int | None:
    """Return how many datasets are to be removed, those included whose removal an earlier run has begun."""
    return maintenance.removal_candidate_count(run) + len(maintenance.removal_ledger().unfinished()) or None


class RemovalsFoundOperator(EmptyOperator):
    """Stands between the shards and the removal: mapped over the shards that have found datasets to remove.

    If there are none, Airflow skips it, and the tasks after it with it. It does nothing itself: Airflow's
    scheduler sets its state and starts no process for it, nor for the tasks that it skips.

    :param to_remove: what BackfillShardOperator returned.
    """

    def __init__(self, *, to_remove: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.to_remove = to_remove


class ApproveRemovalsOperator(LastingApprovalOperator):
    """Asks a person, in Airflow's UI, to approve the removals if there are many.

    If the person rejects them, or nobody decides in time, the removals are skipped. Meanwhile other runs may
    write to the datasets.

    :param limit: the maximum number of removals that need no approval. (templated)
    :param max_removals_per_day: the maximum number of removals in 24 hours, if the run lowers it. (templated)
    """

    template_fields: Sequence[str] = (
        *LastingApprovalOperator.template_fields,
        "limit",
        "max_removals_per_day",
    )

    def __init__(
        self, *, limit: int | str, max_removals_per_day: int | str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(subject="Remove datasets that the Hub no longer supports?", **kwargs)
        self.limit = limit
        self.max_removals_per_day = max_removals_per_day

    def execute(self, context: Context) -> None:
        """Count the removals, and wait for a person if there are too many."""
        run = run_token(context)
        with open_services() as services:
            maintenance = services.maintenance
            number = maintenance.removal_candidate_count(run)
            if number <= int(self.limit):
                self.log.info("%s datasets to remove, within the limit of %s.", number, self.limit)
                return
            shown = list(maintenance.removal_candidates(run, limit=NAMES_SHOWN))
            reasons = maintenance.removal_reasons(run)
            room = _removals_left(services, self.max_removals_per_day)
            explanation = _text_for_approval(
                shown, number, int(self.limit), room, reasons, self.hours_to_decide()
            )
            end_turn(maintenance, WRITING, context)
        self.log.warning(
            "%s datasets to remove, above the limit of %s: a person has to approve.", number, self.limit
        )
        self.ask(
            context,
            f"Remove {number:,} datasets that the Hub no longer supports?",
            explanation,
            about=f"the removal of {number:,} datasets",
            otherwise="none was removed",
            datasets=[each.dataset for each in shown],
        )


def _removals_left(services: Services, max_removals_per_day: int | str | None) -> int:
    """Return how many datasets may still be removed, by the limit of 24 hours."""
    limit = services.removal_limit(max_removals_per_day).of(services.cache)
    return max(0, limit - services.maintenance.removal_ledger().begun_in_a_day())


def _text_for_approval(
    shown: Sequence[RemovalCandidate],
    number: int,
    limit: int,
    room: int,
    reasons: Mapping[str, int],
    hours: int,
) -> str:
    counts = [f"- {count:,}: {as_plain_text(reason)}" for reason, count in reasons.items()]
    names = (f"{as_plain_text(each.dataset)}: {as_plain_text(each.reason)}" for each in shown)
    going = "all" if room >= number else f"only {room:,}" if room else "none"
    return (
        f"The run asks because these are more than {limit:,}, its `removal_limit`. If you approve, it"
        " removes their waiting jobs, cache entries and files, after it has asked the Hub once more. Unless"
        " that is switched off, it archives the entries first, and `restore-datasets` puts them back. The"
        f" limit of 24 hours has room for {room:,} removals now, so {going} of these datasets go.\n\n"
        "If these datasets ought to be on the Hub, reject,"
        f" and check the token of the Connection `huggingface_hub`. If nobody decides within {hours} hours,"
        " nothing is removed, and the next run finds them again.\n\n"
        + "The reasons:\n\n"
        + "\n".join(counts)
        + "\n\nThe datasets:\n\n"
        + listed(names, number)
    )


class RemoveDatasetsOperator(WaitingOperator):
    """Removes the datasets that the shards of the run found to be unsupported.

    It also finishes the removals that an earlier run has begun and not finished. It asks the Hub about each
    dataset once more, and spares those that the Hub supports. If the Hub supports none of some datasets that
    exist, it removes nothing and fails.

    Returns the fields of :class:`include.actions.backfill.report.RemovalSummary`.

    :param work_task_id: the task that finds the work.
    :param listing_max_age: the number of hours for which the listing is trusted. (templated)
    :param shard_task_id: the mapped task of the shards.
    :param approval_task_id: the task that asks a person to approve the removals.
    :param max_removals_per_day: lowers the limit of the removals of a day; None for no change. (templated)
    :param error_limit: the maximum number of failed datasets; with more, the task fails at its end.
        (templated)
    """

    template_fields: Sequence[str] = ("listing_max_age", "max_removals_per_day", "error_limit")

    def __init__(
        self,
        *,
        work_task_id: str,
        listing_max_age: int | str,
        shard_task_id: str,
        approval_task_id: str,
        max_removals_per_day: int | str | None,
        error_limit: int | str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.work_task_id = work_task_id
        self.listing_max_age = listing_max_age
        self.shard_task_id = shard_task_id
        self.approval_task_id = approval_task_id
        self.max_removals_per_day = max_removals_per_day
        self.error_limit = error_limit

    def execute(self, context: Context) -> dict[str, Any]:
        """Remove the datasets."""
        from include.actions.backfill.removal import UnsupportedRemoval

        supported = _summary(context, self.shard_task_id).supported_sample
        with open_services() as services, turn_to_write(services, context, dry_run=False) as right:
            maintenance = self._with_listing(services.maintenance, context)
            limit = services.removal_limit(self.max_removals_per_day)
            approver = ApproveRemovalsOperator.approver(context, self.approval_task_id)
            removal = UnsupportedRemoval(
                services.remover(right, run_name(context), approver),
                services.hub(),
                maintenance,
                limit,
                supported,
            )
            summary = removal.run(run_token(context))
        return within_error_limit(summary.as_json(), int(self.error_limit), context, "datasets")

    def _with_listing(self, maintenance: MaintenanceStore, context: Context) -> MaintenanceStore:
        """Return the store with the listing of the run, unless that is no longer trusted."""
        [listing] = results(context, self.work_task_id, FindWorkOperator.LISTING)
        try:
            listing_id = _usable_listing(maintenance, listing, self.listing_max_age)
        except UntrustedListingError as error:
            self.log.warning("%s The removal does without it.", error)
            return maintenance
        return maintenance.with_listing(listing_id) if listing_id else maintenance


class ReportOperator(BaseOperator):
    """Reports what the tasks of a run did, and fails if one of them failed.

    If the run was skipped because another run was at work, this task is skipped too. Operators receive a
    notice if the run removed many datasets. The report is kept, and a good run over the whole cache is
    recorded.

    Returns the report of :func:`include.actions.backfill.report.backfill_report`.

    :param work_task_id: the task that finds the work.
    :param shard_task_id: the mapped task of the shards.
    :param approval_task_id: the task that asks a person to approve the removals.
    :param removal_task_id: the task that removes datasets.
    :param removal_limit: the maximum number of removals that need no approval. (templated)
    :param preview: whether the run wrote nothing. (templated)
    """

    template_fields: Sequence[str] = ("removal_limit", "preview")
    operator_extra_links = (ConsoleLink(),)

    def __init__(
        self,
        *,
        work_task_id: str,
        shard_task_id: str,
        approval_task_id: str,
        removal_task_id: str,
        removal_limit: int | str,
        preview: bool | str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.work_task_id = work_task_id
        self.shard_task_id = shard_task_id
        self.approval_task_id = approval_task_id
        self.removal_task_id = removal_task_id
        self.removal_limit = removal_limit
        self.preview = preview

    def execute(self, context: Context) -> dict[str, Any]:
        """Gather the results of the tasks, and end the run."""
        skip_if_turn_was_skipped(context, self.work_task_id)
        with open_services() as services:
            end_turn(services.maintenance, WRITING, context)
            report = self._report(context)
            self._tell_of_removals(context, report["datasets"]["removed"])
            shards = self._shards(context)
            covers_everything = bool(shards) and not any(shard.selected for shard in shards)
            keep_report(
                services.maintenance,
                context,
                report,
                succeeded=not failed_tasks(context),
                covers_everything=covers_everything,
            )
            end_run(context, report)
            if not self.preview and covers_everything:
                services.maintenance.run_records(context["dag"].dag_id).note_good_run()
                if all(shard.read_everything for shard in shards):
                    services.maintenance.proofs(services.cache.name).note_all_read()
        return report

    def _report(self, context: Context) -> dict[str, Any]:
        found = results(context, self.work_task_id, FindWorkOperator.LISTING)
        listings = [ListingReference.from_json(each) for each in found]
        backfill = _summary(context, self.shard_task_id)
        backfill.warnings = [*chain.from_iterable(each.warnings for each in listings), *backfill.warnings]
        return backfill_report(
            backfill,
            RemovalSummary.total(results(context, self.removal_task_id)),
            seconds_since_start(context),
            listing_requests=sum(listing.requests for listing in listings),
            decisions=ApproveRemovalsOperator.decisions(context, self.approval_task_id),
            dry_run=bool(self.preview),
        )

    def _tell_of_removals(self, context: Context, removed: int) -> None:
        limit = int(self.removal_limit)
        if removed > limit / 2:
            send_notice(
                NoticeKind.REMOVALS,
                context,
                f"{context['dag'].dag_id} removed {removed:,} datasets",
                happened=f"The run removed {removed:,} datasets that the Hub does not support. More than"
                f" {limit:,} need an approval.",
                to_do="look at the unsupported sample in the log of the task report. If these datasets ought"
                " to be on the Hub, pause the DAG, and check the token of the Connection huggingface_hub.",
            )

    def _shards(self, context: Context) -> list[Shard]:
        found = context["ti"].xcom_pull(task_ids=self.work_task_id) or ()
        return [Shard.from_json(shard) for shard in found]


def _summary(context: Context, shard_task_id: str) -> BackfillSummary:
    """Return what all shards of a run did."""
    return BackfillSummary.total(results(context, shard_task_id, BackfillShardOperator.SUMMARY))
