"""A backfill without a kill, and a backfill during which a worker is killed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dev.local_stack.configuration import QUEUE_DATABASE
from dev.local_stack.distributed.stack import WORKERS, Stack
from dev.local_stack.distributed.state import EndState, read_end
from dev.local_stack.documents import JOBS
from include.databases.name_ranges import NameRange, in_range
from include.errors import ServiceError

DAG = "backfill"
SHARDS = 8
BATCH_SIZE = 25

_SHARD_TASK = "backfill_shard"
_RUN_SECONDS = 600
#: How often to look for the end of a run, and for the middle of a shard, which takes a few seconds.
_END_POLL_SECONDS = 1
_MIDDLE_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Try:
    """A try of a shard: its worker, and its state at the end."""

    worker: str
    state: str


@dataclass(frozen=True, slots=True)
class Kill:
    """The kill of a worker; ``written`` has its unfinished shards with the number of jobs written."""

    worker: str
    after_seconds: float
    written: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """The result of a run; ``shards`` has the tries of each shard, ``jobs`` the number of jobs it created."""

    state: str
    seconds: float
    shards: Sequence[Sequence[Try]]
    jobs: Sequence[int]
    report: Mapping[str, Any]
    end: EndState


class Run:
    """A run of the backfill."""

    def __init__(self, stack: Stack) -> None:
        """Restore the initial state, and start the run."""
        self._stack = stack
        stack.put_back()
        self.started_at = datetime.now(UTC)
        self.id = stack.api.trigger(DAG, shards=SHARDS, batch_size=BATCH_SIZE)

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return (datetime.now(UTC) - self.started_at).total_seconds()

    def while_running(self, interval: float) -> Iterator[None]:
        """Yield every ``interval`` seconds until the run has ended.

        :raises ServiceError: if the run takes too long.
        """
        timeout = _RUN_SECONDS - self.seconds
        return self._stack.api.while_running(DAG, self.id, timeout=timeout, interval=interval)

    def running_shards(self) -> dict[int, str]:
        """Return the running shards, each with its worker."""
        return {
            task["map_index"]: task["hostname"]
            for task in self._stack.api.tasks(DAG, self.id)
            if task["task_id"] == _SHARD_TASK and task["state"] == "running" and task["hostname"]
        }

    def jobs_of(self, shard: int) -> int:
        """Return the number of jobs that a shard has created so far."""
        ranges: Any = self._stack.api.result(DAG, self.id, "find_work")
        names: NameRange = (ranges[shard]["first"], ranges[shard]["end"])
        jobs = self._stack.client[QUEUE_DATABASE][JOBS]
        return jobs.count_documents(in_range(names) | {"created_at": {"$gte": self.started_at}})

    def finish(self) -> FinishedRun:
        """Wait for the end of the run, and return its result."""
        for _ in self.while_running(_END_POLL_SECONDS):
            pass
        seconds = self.seconds
        api = self._stack.api
        return FinishedRun(
            state=api.run(DAG, self.id)["state"],
            seconds=seconds,
            shards=[self._tries(shard) for shard in range(SHARDS)],
            jobs=[self.jobs_of(shard) for shard in range(SHARDS)],
            report=api.result(DAG, self.id, "report") or {},
            end=read_end(self._stack.present, self._stack.client),
        )

    def _tries(self, shard: int) -> list[Try]:
        tries = self._stack.api.tries(DAG, self.id, _SHARD_TASK, shard)
        return [Try(each["hostname"], each["state"]) for each in tries]


def undisturbed(stack: Stack) -> FinishedRun:
    """Do a run without a kill."""
    return Run(stack).finish()


def with_a_kill(stack: Stack, all_jobs: Sequence[int]) -> tuple[FinishedRun, Kill]:
    """Do a run, and kill a worker in the middle of a shard.

    :param all_jobs: the number of jobs that each shard creates without a kill.
    :raises ServiceError: if the kill came too late.
    """
    run = Run(stack)
    victim = _wait_for_the_middle(run, all_jobs)
    shards = [shard for shard, worker in run.running_shards().items() if worker == victim]
    stack.airflow.kill_worker(victim)
    after_seconds = run.seconds
    written = {shard: run.jobs_of(shard) for shard in shards}
    unfinished = {shard: jobs for shard, jobs in written.items() if jobs < all_jobs[shard]}
    if not any(unfinished.values()):
        raise ServiceError(f"The kill came too late: {written} of {all_jobs} jobs were written.")
    return run.finish(), Kill(victim, after_seconds, unfinished)


def _wait_for_the_middle(run: Run, all_jobs: Sequence[int]) -> str:
    """Wait until all workers run shards and a shard has written some of its jobs; return its worker."""
    for _ in run.while_running(_MIDDLE_POLL_SECONDS):
        running = run.running_shards()
        if set(running.values()) == set(WORKERS):
            for shard, worker in running.items():
                if 0 < run.jobs_of(shard) < all_jobs[shard] / 2:
                    return worker
    raise ServiceError("The run ended before a worker was in the middle of a shard.")
