"""What the tasks of a run have in common: its name, and its turn to write."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException

from include.databases.lease import HeldByAnotherRunError, RightToWrite
from include.databases.maintenance_store import MaintenanceStore

if TYPE_CHECKING:
    from airflow.sdk import Context

TIME_BETWEEN_ATTEMPTS = timedelta(seconds=15)

logger = logging.getLogger(__name__)


def run_name(context: Context) -> str:
    """Give the name under which the tasks of a run find what they left for one another."""
    run = context["dag_run"]
    return f"{run.dag_id} {run.run_id}"


@contextmanager
def turn(
    maintenance: MaintenanceStore,
    work: str,
    context: Context,
    *,
    if_busy: str = "wait",
    by_last_task: bool = False,
) -> Iterator[RightToWrite]:
    """Hold the right to do some work, which one run at a time has, of all Airflows on the same database.

    :param if_busy: ``wait`` or ``skip``.
    :param by_last_task: no other task of the run needs it.
    :raises AirflowRescheduleException: if another run has it, and this one is to wait: the task gives its
        place on the worker to others, and tries again a little later.
    :raises AirflowSkipException: if another run has it, and this one is to be skipped.
    """
    with ExitStack() as held:
        try:
            lease = maintenance.lease(work, run_name(context))
            right = held.enter_context(lease.held(by_last_task=by_last_task))
        except HeldByAnotherRunError as error:
            if if_busy == "skip":
                raise AirflowSkipException(f"This run is skipped, because {error}.") from error
            logger.info("This run waits, because %s.", error)
            again_at = datetime.now(UTC) + TIME_BETWEEN_ATTEMPTS
            raise AirflowRescheduleException(again_at) from error  # type: ignore[no-untyped-call]
        yield right
