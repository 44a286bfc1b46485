"""The tasks of a backfill: list the Hub, cut the cache into shards, backfill each, remove, report.

What one task hands to the next goes through XCom if it is small, and else through our own database, under the
name of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseOperator

from datasets_server.errors import within_error_limit
from datasets_server.reports import fail_if_a_task_failed, seconds_since_start
from datasets_server.runs import run_name, turn
from datasets_server.services import Services, open_services
from include.actions.backfill.hub_listing import FEW_DATASETS, HubLister, UntrustedListingError, usable
from include.actions.backfill.pipeline import Backfill, BackfillOptions
from include.actions.backfill.removal import confirmed
from include.actions.backfill.report import BackfillSummary, RemovalSummary, backfill_report
from include.databases.cache_store import CacheStore, Selection
from include.databases.lease import UNRESTRICTED, RightToWrite
from include.databases.listing_store import HubListing
from include.databases.maintenance_store import MaintenanceStore, RemovalCandidate
from include.databases.name_ranges import NameRange
from include.errors import ConfigurationError
from include.planning.dataset_state import Priority
from include.planning.processing_graph import Release
from include.summaries import as_text

if TYPE_CHECKING:
    from airflow.sdk import Context

ENTRIES_PER_SHARD = 250_000
NAMES_SHOWN_FOR_APPROVAL = 200
#: What one run at a time may do.
WRITING = "backfill"


class SelectingOperator(BaseOperator):
    """Knows which datasets a run is about.

    :param datasets: names or shell wildcards; none for all.
    :param updated_from: the datasets with an entry updated at this time (ISO 8601, UTC if no zone) or later.
    :param updated_to: ... and before this time.
    :param error_codes: the datasets with an entry with one of these; an empty list for those that the release
        retries, None for no matter which.
    """

    template_fields: Sequence[str] = ("datasets", "updated_from", "updated_to", "error_codes")

    def __init__(
        self,
        *,
        datasets: Any = None,
        updated_from: Any = None,
        updated_to: Any = None,
        error_codes: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.error_codes = error_codes
        self.datasets = datasets
        self.updated_from = updated_from
        self.updated_to = updated_to

    @property
    def selection(self) -> Selection:
        """The datasets that the run is about.

        :raises ConfigurationError: if the times are in the wrong order, or no times.
        """
        selection = Selection(tuple(self.datasets or ()), _time(self.updated_from), _time(self.updated_to))
        if selection.updated_from and selection.updated_to and selection.updated_from >= selection.updated_to:
            raise ConfigurationError(
                f"updated_from ({self.updated_from}) must be before updated_to ({self.updated_to})."
            )
        return selection

    def selection_in(self, release: Release) -> Selection:
        """The same, with the error codes, which the release may say."""
        if self.error_codes is None:
            return self.selection
        return replace(self.selection, error_codes=tuple(self.error_codes) or tuple(release.max_failed_runs))


def _time(value: str | datetime | None) -> datetime | None:
    if not value:
        return None
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except ValueError as error:
        raise ConfigurationError(f"{value!r} is no time: write it as 2026-01-31T18:00:00.") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


class ListHubOperator(SelectingOperator):
    """Checks the token, and lists the Hub, which proves most datasets to be up to date.

    Returns ``{"id": the listing, "listed": the number of its datasets, "requests": those to the Hub,
    "warnings": [text]}``. The first two are None, and the Hub will be asked about each dataset, if few are
    selected or the listing is not trusted. A selection of many uses a recent listing again.

    :param listing_min_share: of as many datasets as the last listing had, and of a sample of the cached
        datasets, which percentage a listing must have to be trusted.
    :param untrusted_listing: ``ask`` the Hub about each dataset, or ``stop``.
    """

    template_fields: Sequence[str] = (
        *SelectingOperator.template_fields,
        "listing_min_share",
        "untrusted_listing",
    )

    def __init__(self, *, listing_min_share: Any = 50, untrusted_listing: str = "ask", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.listing_min_share = listing_min_share
        self.untrusted_listing = untrusted_listing

    def execute(self, context: Context) -> dict[str, Any]:
        """List the Hub."""
        with open_services() as services:
            hub = services.hub()
            hub.check_token()
            selection = self.selection_in(services.release)
            if _is_of_few(selection, services.cache):
                self.log.info("Few datasets are selected: the Hub will be asked about each.")
                return _told(None, hub.requests)
            lister = HubLister(
                hub, services.maintenance.listings(), services.cache, int(self.listing_min_share) / 100
            )
            return self._list(lister, selection)

    def _list(self, lister: HubLister, selection: Selection) -> dict[str, Any]:
        requests = lister.hub.requests
        # A run over the whole cache is there to find out everything; others may come every few minutes.
        listing = None if selection.is_everything else lister.recent()
        if listing is not None:
            self.log.info("The listing of the Hub of %s is used again.", listing.begun_at)
            return _told(listing, requests)
        try:
            listing = lister.whole()
        except UntrustedListingError as error:
            warning = _ask_or_stop(error, self.untrusted_listing)
            self.log.warning("%s", warning)
            return _told(None, lister.hub.requests, [warning])
        requests += listing.requests  # with those of the attempts that were cut short
        self.log.info("The Hub lists %s datasets, after %s requests.", f"{listing.listed:,}", requests)
        return _told(listing, requests)


def _told(listing: HubListing | None, requests: int, warnings: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "id": listing.id if listing else None,
        "listed": listing.listed if listing else None,
        "requests": requests,
        "warnings": list(warnings),
    }


def _is_of_few(selection: Selection, cache: CacheStore) -> bool:
    if selection.is_everything:
        return False
    return len(list(islice(cache.selected_names(selection), FEW_DATASETS + 1))) <= FEW_DATASETS


def _ask_or_stop(error: UntrustedListingError, choice: str) -> str:
    """Give the warning that belongs to asking the Hub about each dataset.

    :raises UntrustedListingError: if the choice is to stop.
    """
    if choice == "stop":
        raise error
    return f"{error} The Hub is asked about each dataset."


class ListShardsOperator(SelectingOperator):
    """Cuts the datasets that the run is about into shards: ranges of names, one for each mapped task.

    Returns a list of ``{"first": name or None, "end": name or None, "selected": bool}``. The end is not in
    the range; ``selected`` tells that only the names written down for the run count, not the whole cache.

    While another run works on the datasets, this one waits, or is skipped.

    :param shards: their number; by default, one for each 250,000 entries.
    :param if_busy: ``wait`` or ``skip``, while another run writes.
    :param preview: nothing will be written, so it does not matter what another run does.
    """

    template_fields: Sequence[str] = (*SelectingOperator.template_fields, "shards", "if_busy", "preview")

    def __init__(
        self, *, shards: Any = None, if_busy: Any = "wait", preview: Any = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.shards = shards
        self.if_busy = if_busy
        self.preview = preview

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Find the datasets and cut them up."""
        if_busy = str(self.if_busy)
        with (
            open_services() as services,
            _turn(services, context, preview=bool(self.preview), if_busy=if_busy),
        ):
            selection = self.selection_in(services.release)
            cache, maintenance = services.cache, services.maintenance
            if selection.is_everything:
                entries = cache.entry_count()
                ranges = cache.shards(self._count(entries))
                self.log.info("%s shards over about %s entries.", len(ranges), f"{entries:,}")
            else:
                run = run_name(context)
                number = maintenance.select(run, cache.selected_names(selection), cache.entry_counts)
                ranges = maintenance.selection_shards(run, number, self._count(number.entries))
                self.log.info(
                    "%s shards over %s selected datasets, which have %s entries.",
                    len(ranges),
                    f"{number.datasets:,}",
                    f"{number.entries:,}",
                )
        selected = not selection.is_everything
        return [{"first": first, "end": end, "selected": selected} for first, end in ranges]

    def _count(self, entries: int) -> int:
        return int(self.shards) if self.shards else max(1, -(-entries // ENTRIES_PER_SHARD))


class BackfillShardOperator(BaseOperator):
    """Backfills the datasets of one shard. Those to be removed are only written down.

    Returns the fields of :class:`include.actions.backfill.report.BackfillSummary`.

    :param shard: one item of what ListShardsOperator returned.
    :param listing: what ListHubOperator returned.
    :param listing_max_age: for how many hours the listing is trusted.
    :param untrusted_listing: if it no longer is, ``ask`` the Hub about each dataset, or ``stop``.
    :param priority: of the jobs to create: low, normal or high.
    :param batch_size: the number of datasets that are read, planned and written at a time.
    :param preview: plan and count everything, write nothing.
    :param error_limit: fail, at the end, if more datasets than this could not be handled.
    :param error_codes: the error codes to retry; with none, those that the release retries.
    :param ignore_failed_runs: retry also what has failed too often.
    """

    template_fields: Sequence[str] = (
        "shard",
        "listing",
        "listing_max_age",
        "untrusted_listing",
        "priority",
        "batch_size",
        "preview",
        "error_limit",
        "error_codes",
        "ignore_failed_runs",
    )

    def __init__(
        self,
        *,
        shard: Any,
        listing: Any,
        listing_max_age: Any = 12,
        untrusted_listing: str = "ask",
        priority: str = Priority.LOW.value,
        batch_size: Any = 500,
        preview: Any = False,
        error_limit: Any = 100,
        error_codes: Any = None,
        ignore_failed_runs: Any = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.error_codes = error_codes
        self.ignore_failed_runs = ignore_failed_runs
        self.shard = shard
        self.listing = listing
        self.listing_max_age = listing_max_age
        self.untrusted_listing = untrusted_listing
        self.priority = priority
        self.batch_size = batch_size
        self.preview = preview
        self.error_limit = error_limit

    def execute(self, context: Context) -> dict[str, Any]:
        """Backfill the shard."""
        names: NameRange = (self.shard["first"], self.shard["end"])
        with (
            open_services() as services,
            _turn(services, context, preview=bool(self.preview)) as right,
        ):
            maintenance = services.maintenance
            listing_id, warnings = self._usable_listing(maintenance)
            options = BackfillOptions(
                priority=Priority(self.priority),
                batch_size=int(self.batch_size),
                trust_listing=listing_id is not None,
                dry_run=bool(self.preview),
            )
            backfill = Backfill(
                run_name(context),
                services.release.retrying(
                    self.error_codes or (), past_the_maximum=bool(self.ignore_failed_runs)
                ),
                services.cache,
                services.queue,
                maintenance.with_listing(listing_id) if listing_id else maintenance,
                services.hub(),
                services.remover(right),
                options,
                right,
            )
            if self.shard["selected"]:
                found = maintenance.selected(run_name(context), names)
            else:
                # A dataset whose rebuild was cut short may no longer be in the cache.
                unfinished = set(maintenance.unfinished_rebuilds(names))
                cached = services.cache.dataset_names(names)
                found = chain(unfinished, (name for name in cached if name not in unfinished))
            summary = backfill.run(found)
            summary.warnings = warnings
        return within_error_limit(summary.as_json(), int(self.error_limit), context)

    def _usable_listing(self, maintenance: MaintenanceStore) -> tuple[str | None, list[str]]:
        """Give the listing of the run, or None, and if it has just proved unfit, a warning."""
        if self.listing["id"] is None:
            return None, []
        try:
            max_age = timedelta(hours=int(self.listing_max_age))
            return usable(maintenance.listings(), self.listing["id"], max_age).id, []
        except UntrustedListingError as error:
            warning = _ask_or_stop(error, self.untrusted_listing)
            self.log.warning("%s", warning)
            return None, [warning]


def _turn(
    services: Services, context: Context, *, preview: bool, if_busy: str = "wait"
) -> AbstractContextManager[RightToWrite]:
    """Hold the right to write to the datasets, which a preview does not need."""
    if preview:
        return nullcontext(UNRESTRICTED)
    return turn(services.maintenance, WRITING, context, if_busy=if_busy)


class ApproveRemovalsOperator(ApprovalOperator):
    """Lets a person approve the removals, in Airflow's UI, if there are more than ``limit`` of them.

    If the person rejects them, the removal is skipped.

    :param limit: the number of removals that need no approval.
    """

    template_fields: Sequence[str] = (*ApprovalOperator.template_fields, "limit")

    def __init__(self, *, limit: Any, **kwargs: Any) -> None:
        super().__init__(subject="Remove datasets that the Hub no longer supports?", **kwargs)
        self.limit = limit

    def execute(self, context: Context) -> Any:
        """Count the removals, and wait for a person if they are too many."""
        run = run_name(context)
        with open_services() as services:
            number = services.maintenance.removal_candidate_count(run)
            if number <= int(self.limit):
                self.log.info("%s datasets to remove, within the limit of %s.", number, self.limit)
                return None
            shown = list(services.maintenance.removal_candidates(run, limit=NAMES_SHOWN_FOR_APPROVAL))
        self.log.warning(
            "%s datasets to remove, above the limit of %s: a person decides.", number, self.limit
        )
        self.subject = f"Remove {number:,} datasets that the Hub no longer supports?"
        self.body = _list_for_approval(shown, number)
        return super().execute(context)


def _list_for_approval(shown: Sequence[RemovalCandidate], number: int) -> str:
    more = f"\n\n... and {number - len(shown):,} more." if number > len(shown) else ""
    lines = [f"- `{candidate.dataset}`: {candidate.reason}" for candidate in shown]
    return (
        "Their waiting jobs, cache entries and files will be removed. If these datasets should be there,"
        " reject, and check the token of the Connection `huggingface_hub`.\n\n" + "\n".join(lines) + more
    )


class RemoveDatasetsOperator(BaseOperator):
    """Removes the datasets that the shards of the run have written down.

    Where their answer is old, as after an approval, the Hub is asked again, and what it supports is spared.
    Returns the fields of :class:`include.actions.backfill.report.RemovalSummary`.

    :param error_limit: fail, at the end, if more datasets than this could not be removed.
    """

    template_fields: Sequence[str] = ("error_limit",)

    def __init__(self, *, error_limit: Any = 100, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error_limit = error_limit

    def execute(self, context: Context) -> dict[str, Any]:
        """Remove the datasets."""
        with open_services() as services, _turn(services, context, preview=False) as right:
            candidates = services.maintenance.removal_candidates(run_name(context))
            summary = RemovalSummary()
            names = confirmed(candidates, services.hub(), summary)
            summary.add(services.remover(right).remove(names))
        return within_error_limit(summary.as_json(), int(self.error_limit), context)


class ReportOperator(BaseOperator):
    """Sums up what the tasks of a run did, logs it, and fails if one of them failed.

    :param listing_task_id: the task that lists the Hub.
    :param shard_task_id: the mapped task of the shards.
    :param removal_task_id: the task of the removal.
    :param preview: whether nothing was written.
    """

    template_fields: Sequence[str] = ("preview",)

    def __init__(
        self,
        *,
        listing_task_id: str,
        shard_task_id: str,
        removal_task_id: str,
        preview: Any = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.listing_task_id = listing_task_id
        self.shard_task_id = shard_task_id
        self.removal_task_id = removal_task_id
        self.preview = preview

    def execute(self, context: Context) -> dict[str, Any]:
        """Sum up, and give the report of :func:`report`."""
        # A list of task ids gives a list, even where there is one shard.
        with open_services() as services:
            services.maintenance.lease(WRITING, run_name(context)).release()
        shards = context["ti"].xcom_pull(task_ids=[self.shard_task_id])
        removal = context["ti"].xcom_pull(task_ids=self.removal_task_id)
        listing = context["ti"].xcom_pull(task_ids=self.listing_task_id) or {"requests": 0, "warnings": []}
        total = BackfillSummary.total(shard for shard in shards if shard)
        total.warnings = listing["warnings"] + total.warnings
        found = backfill_report(
            total,
            RemovalSummary.total([removal] if removal else []),
            seconds_since_start(context),
            listing_requests=listing["requests"],
            dry_run=bool(self.preview),
        )
        self.log.info("%s", as_text(found))
        context["ti"].xcom_push("return_value", found)
        fail_if_a_task_failed(context)
        return found
