"""What the tasks of a run share: its token, its right to write, its error limit and its end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from datasets_server.notices import send_notice
from datasets_server.operators.waiting import WaitingOperator
from datasets_server.services import Services
from datasets_server.settings import NoticeKind
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.errors import ConfigurationError, ServiceError
from include.summaries import as_text

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.databases.lease import Lease
    from include.databases.maintenance_store import MaintenanceStore

#: The work of writing to the datasets, which only one run at a time may do.
WRITING = "backfill"
#: The key under which Airflow stores what a task returns.
RETURNED = "return_value"
#: The key under which the first task of a run stores the token of the run.
KEY = "run_token"
#: The key under which a task that is skipped, because another run is at work, stores which one that is.
SKIPPED_KEY = "skipped_because"
#: After how many runs in a row that were skipped or had to wait operators receive a notice.
WAITING_RUNS_FOR_NOTICE = 3

logger = logging.getLogger(__name__)

#: What a task returns, as an object that JSON can hold.
Result = dict[str, Any]


def run_token(context: Context) -> str:
    """Return the token of the run: a random text that no other run has, not even of another Airflow.

    The token identifies the run as the holder of the right to write, and in what its tasks store in our own
    database. The run_id cannot do this: two Airflows with one schedule give their runs the same run_id.

    The first task of the run makes the token, and passes it to the others through XCom. It also stores it in
    its task state, which Airflow keeps, unlike XComs, when it retries or clears the task. An Airflow with a
    copied database makes its own tokens, except for runs that began before the copy. If both Airflows then
    attempt the same task, only the attempt that took the right to write last may write.

    :raises ConfigurationError: if the first task has not made the token.
    """
    [first_task] = context["dag"].roots
    ti = context["ti"]
    if ti.task_id == first_task.task_id:
        state = context["task_state_store"]
        token = str(state.get(KEY, default=uuid4().hex))
        state.set(KEY, token)
        ti.xcom_push(KEY, token)
        return token
    token = ti.xcom_pull(task_ids=first_task.task_id, key=KEY)
    if token is None:
        raise ConfigurationError(f"The task {first_task.task_id} has not run: clear it to run it.")
    return str(token)


def turn_to_write(
    services: Services,
    context: Context,
    *,
    dry_run: bool,
    skip_if_busy: bool = False,
    by_last_task: bool = False,
) -> AbstractContextManager[RightToWrite]:
    """Hold the right to write to the datasets, as :func:`turn` does. A dry run needs none."""
    if dry_run:
        return nullcontext(UNRESTRICTED)
    return turn(services.maintenance, WRITING, context, skip_if_busy=skip_if_busy, by_last_task=by_last_task)


@contextmanager
def turn(
    maintenance: MaintenanceStore,
    work: str,
    context: Context,
    *,
    skip_if_busy: bool = False,
    by_last_task: bool = False,
) -> Iterator[RightToWrite]:
    """Hold the right to do some work. Only one run at a time has it, of all Airflows on the same database.

    If several runs in a row do not have it at once, operators receive a notice.

    :param work: the name of the work.
    :param skip_if_busy: skip this task while another run has the right, instead of waiting.
    :param by_last_task: no later task of the run needs the right.
    :raises TaskDeferred: if another run has the right and this one waits: the task ends its process, and the
        triggerer waits for it. Its operator has to be a
        :class:`datasets_server.operators.waiting.WaitingOperator`.
    :raises AirflowSkipException: if another run has the right and this one is skipped.
    """
    # Imported here, because DAG files import this module, which then would load pymongo.
    from datasets_server.triggers import TurnTrigger
    from include.databases.lease import HeldByAnotherRunError

    with ExitStack() as held:
        try:
            lease = _lease(maintenance, work, context)
            right = held.enter_context(lease.held(by_last_task=by_last_task))
        except HeldByAnotherRunError as error:
            _note_waiting(maintenance, work, context, str(error))
            if skip_if_busy:
                context["ti"].xcom_push(SKIPPED_KEY, str(error))
                raise AirflowSkipException(f"This run is skipped, because {error}.") from error
            logger.info("This run waits, because %s.", error)
            trigger = TurnTrigger(work, run_token(context))
            raise TaskDeferred(trigger=trigger, method_name=WaitingOperator.resume.__name__) from error
        maintenance.run_records(context["dag"].dag_id).note_turn(run_token(context))
        yield right


def _note_waiting(maintenance: MaintenanceStore, work: str, context: Context, because: str) -> None:
    if context["dag_run"].run_type == "backfill":
        return  # Airflow creates many runs of date ranges at once, so they wait for each other.
    dag_id = context["dag"].dag_id
    in_a_row = maintenance.run_records(dag_id).note_waiting(run_token(context), work)
    if in_a_row == WAITING_RUNS_FOR_NOTICE:
        send_notice(
            NoticeKind.WAITING,
            context,
            f"{dag_id} does not get its turn",
            happened=f"{in_a_row} runs in a row had to wait or were skipped. This time, {because}.",
            to_do="look at the log of that run. If it makes progress, there is nothing to do; if this happens"
            " often, run this DAG less often, or with more shards. If it hangs, mark its running tasks as"
            " failed.",
        )


def skip_if_turn_was_skipped(context: Context, task_id: str) -> None:
    """Skip the last task of a run too, if another task was skipped because another run was at work.

    The run is still a success for Airflow, which knows no other end of a run whose tasks are skipped. The
    report ``{"skipped": the reason}`` is in XCom, and no task of the run that would do its work is green.

    :param task_id: the task that was skipped.
    :raises AirflowSkipException: if it was.
    """
    because = context["ti"].xcom_pull(task_ids=task_id, key=SKIPPED_KEY)
    if because is not None:
        context["ti"].xcom_push(RETURNED, {"skipped": because})
        raise AirflowSkipException(f"This run did nothing, because {because}.")


def end_turn(maintenance: MaintenanceStore, work: str, context: Context) -> None:
    """Give back the right to do some work, if the run has it."""
    with suppress(ConfigurationError):  # A run without a token never had the right.
        _lease(maintenance, work, context).release()


def run_name(context: Context) -> str:
    """Return what people call the run: its DAG and its id, which runs of another Airflow may have too."""
    run = context["dag_run"]
    return f"{run.dag_id} {run.run_id}"


def _lease(maintenance: MaintenanceStore, work: str, context: Context) -> Lease:
    ti = context["ti"]
    return maintenance.lease(
        work,
        run_token(context),
        run_name=run_name(context),
        task=f"{ti.task_id} {ti.map_index}",
    )


def within_error_limit(result: Result, error_limit: int, context: Context, what: str) -> Result:
    """Return the result of a task, if it has at most ``error_limit`` errors.

    :param result: has the fields ``failed`` and ``error_sample``. It is in XCom even if the task fails.
    :param what: what failed, in the plural.
    :raises ServiceError: if it has more errors.
    """
    context["ti"].xcom_push(RETURNED, result)
    check_error_limit(result, error_limit, what)
    return result


def check_error_limit(result: Result, error_limit: int, what: str) -> None:
    """Make sure that a result has at most ``error_limit`` errors, as :func:`within_error_limit` does."""
    if result["failed"] > error_limit:
        raise ServiceError(
            f"{result['failed']:,} {what} failed, more than error_limit ({error_limit:,})."
            f" The first of them: {'; '.join(result['error_sample'][:3])}"
        )


def results(context: Context, task_id: str, key: str = RETURNED) -> list[Result]:
    """Return the results of a task, one for each mapped instance that has one.

    :param key: of the XCom.
    """
    # With a list of task ids, Airflow always returns a list.
    found = context["ti"].xcom_pull(task_ids=[task_id], key=key)
    return [result for result in found if result]


def seconds_since_start(context: Context) -> float:
    """Return the duration of the run so far."""
    start = context["dag_run"].start_date
    return (datetime.now(UTC) - start).total_seconds() if start else 0.0


def end_run(context: Context, report: Result) -> Result:
    """Log the report of a run and return it, if every task of the run succeeded.

    The last task of a run calls this, because a run succeeds or fails with its last task.

    :raises AirflowFailException: if a task failed. The report is in XCom even then.
    """
    logger.info("%s", as_text(report))
    context["ti"].xcom_push(RETURNED, report)
    fail_if_a_task_failed(context)
    return report


def keep_report(
    maintenance: MaintenanceStore,
    context: Context,
    report: Result,
    *,
    succeeded: bool,
    covers_everything: bool = False,
) -> None:
    """Keep the report of a run in our own database, where the console finds it.

    If that fails, the log says so, and the run goes on: its work is done.

    :param covers_everything: whether the run covered all that its action is for, not a part.
    """
    run = context["dag_run"]
    try:
        maintenance.run_reports().add(
            run.dag_id,
            run.run_id,
            run.start_date,
            report,
            succeeded=succeeded,
            covers_everything=covers_everything,
        )
    except Exception as error:  # noqa: BLE001 (whatever it is, it must not undo what the run has done)
        logger.warning("The console will not show the report of this run: it could not be kept: %s", error)


def fail_if_a_task_failed(context: Context) -> None:
    """Fail the task if another task of the run failed.

    :raises AirflowFailException: naming the tasks that failed.
    """
    if failed := failed_tasks(context):
        raise AirflowFailException(
            f"The run is incomplete, because {', '.join(failed)} failed. Their logs say why. Clear them to"
            " run them again."
        )


def failed_tasks(context: Context) -> list[str]:
    """Return the tasks of the run that failed, or did not run because another one failed."""
    run = context["dag_run"]
    states = context["ti"].get_task_states(dag_id=run.dag_id, run_ids=[run.run_id])[run.run_id]
    return sorted(task for task, state in states.items() if state in ("failed", "upstream_failed"))
