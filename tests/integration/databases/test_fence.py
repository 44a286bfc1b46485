"""A task whose work another run has taken over writes nothing more, wherever it was paused meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import PyMongoError
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from dev.local_stack.documents import CACHE, JOBS, new_job
from dev.local_stack.mongod import Mongod, find_mongod
from dev.local_stack.ports import HOST, free_port
from dev.local_stack.process import ServerProcess
from include.actions.backfill.removal import Remover
from include.databases.fence import LostRightError
from include.databases.lease import HeldByAnotherRunError, Lease
from include.databases.mongo import Session, in_transaction
from include.databases.queue_store import QueueStore
from include.databases.right_to_write import RightToWrite
from include.planning.dataset_state import Priority
from include.planning.plan import NewJob, Plan, Reason
from include.planning.processing_graph import Release
from include.storage.folder_storage import FolderStorage
from tests.builders import DATASET, NOON, REVISION, contents, insert_up_to_date
from tests.integration.conftest import Stores
from tests.integration.databases import paused_run

Document = dict[str, Any]

WORK = "backfill"
PLAN = Plan(DATASET, REVISION, (NewJob("dataset-config-names", None, None, 50, Reason.EMPTY),), ())


@pytest.fixture
def release_name() -> str:
    return "2024-03"


@pytest.fixture
def ours(stores: Stores) -> Lease:
    return Lease(stores.databases.maintenance, WORK, "our run", task="a shard")


@pytest.fixture
def theirs(stores: Stores) -> Lease:
    return Lease(stores.databases.maintenance, WORK, "their run")


def expire(leases: Collection[Document]) -> None:
    """Let the lease run out by the database's clock, which its holder cannot see."""
    leases.update_many({}, {"$set": {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}})


def take_over(stores: Stores, theirs: Lease) -> None:
    expire(stores.databases.maintenance["leases"])
    theirs.acquire()


class TestAPausedProcess:
    @pytest.mark.parametrize("lasts", [2, 60], ids=["and knows it", "and cannot know it"])
    def test_writes_nothing_after_it_lost_its_right(
        self, stores: Stores, theirs: Lease, mongod: Mongod, lasts: float
    ) -> None:
        process = paused_run.start(mongod.uri, stores.databases, PLAN, lasts)
        wait_until(partial(paused_run.is_paused, process))

        if lasts == 60:
            expire(stores.databases.maintenance["leases"])
        wait_until(lambda: is_free_for(theirs))
        paused_run.resume(process)
        process.join(timeout=30)

        assert process.exitcode == paused_run.LOST_ITS_RIGHT
        assert stores.databases.queue[JOBS].count_documents({}) == 0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_free_for(theirs: Lease) -> bool:
    try:
        theirs.acquire()
    except HeldByAnotherRunError:
        return False
    return True


class TestAnOpenTransaction:
    @pytest.mark.parametrize("client", ["its own client", "another client"])
    def test_is_committed_before_another_run_takes_over(
        self, stores: Stores, ours: Lease, theirs: Lease, mongod: Mongod, client: str
    ) -> None:
        """The transaction may be that of another Connection to the same deployment."""
        written = stores.databases.queue["written"]
        taking_over = threading.Thread(target=theirs.acquire)

        def write_while_they_take_over(session: Session) -> None:
            assert session is not None
            session.client[written.database.name][written.name].insert_one({}, session=session)
            expire(stores.databases.maintenance["leases"])
            taking_over.start()
            taking_over.join(timeout=0.5)
            assert taking_over.is_alive()

        with MongoClient[Document](mongod.uri) as other_client, ours.held() as right:
            own = written.database.client
            in_transaction(
                own if client == "its own client" else other_client, write_while_they_take_over, right
            )
            taking_over.join(timeout=30)

            assert written.count_documents({}) == 1
            assert stores.databases.maintenance["leases"].distinct("run") == ["their run"]
            with pytest.raises(LostRightError):
                right.check()

    def test_fails_if_another_run_is_just_taking_over(
        self, stores: Stores, ours: Lease, mongod: Mongod
    ) -> None:
        pause = PauseAtCommit()
        maintenance = stores.databases.maintenance
        with (
            MongoClient[Document](mongod.uri, event_listeners=[pause]) as their_client,
            ours.held() as right,
            ThreadPoolExecutor() as threads,
        ):
            expire(maintenance["leases"])
            taking_over = threads.submit(Lease(their_client[maintenance.name], WORK, "their run").acquire)
            pause.reached.wait(timeout=30)

            writing = threads.submit(stores.queue.apply, [PLAN], Priority.LOW, right=right)
            time.sleep(0.1)
            assert not writing.done()
            pause.ended.set()

            taking_over.result(timeout=30)
            with pytest.raises(LostRightError):
                writing.result(timeout=30)
        assert stores.databases.queue[JOBS].count_documents({}) == 0

    def test_of_one_task_never_disturbs_that_of_another_task_of_the_run(self, stores: Stores) -> None:
        attempts: list[str] = []
        both_are_open = threading.Barrier(2, timeout=30)
        written = stores.databases.queue["written"]
        written.insert_one({})

        def write(task: str, session: Session) -> None:
            attempts.append(task)
            both_are_open.wait()
            written.insert_one({"task": task}, session=session)
            both_are_open.wait()

        def run(task: str) -> None:
            with Lease(stores.databases.maintenance, WORK, "our run", task=task).held() as right:
                in_transaction(written.database.client, partial(write, task), right)

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(run, ["shard 1", "shard 2"]))

        assert sorted(attempts) == ["shard 1", "shard 2"]
        assert written.count_documents({}) == 3


class PauseAtCommit(CommandListener):
    """Lets a client wait before it commits a transaction."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.ended = threading.Event()

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "commitTransaction":
            self.reached.set()
            self.ended.wait(timeout=30)

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


class TestAnEarlierAttempt:
    def test_of_the_same_task_can_no_longer_write(self, stores: Stores, ours: Lease) -> None:
        with ours.held() as right:
            other_task = Lease(stores.databases.maintenance, WORK, "our run", task="another shard")
            with other_task.held() as other_right:
                same_task = Lease(stores.databases.maintenance, WORK, "our run", task="a shard")
                with same_task.held() as new_right:
                    with pytest.raises(LostRightError, match="another attempt of this task, has taken over"):
                        right.check()
                    new_right.check()
                    other_right.check()

    def test_leaves_no_trace_once_it_is_replaced(self, stores: Stores, ours: Lease, theirs: Lease) -> None:
        ours.acquire()
        ours.acquire()

        assert stores.databases.maintenance["writers"].count_documents({}) == 1
        take_over(stores, theirs)
        with theirs.held(by_last_task=True):
            pass
        assert stores.databases.maintenance["writers"].count_documents({}) == 0


Write = Callable[[Stores, RightToWrite], object]
WRITES: dict[str, Write] = {
    "create jobs": lambda stores, right: stores.queue.apply([PLAN], Priority.LOW, right=right),
    "delete jobs": lambda stores, right: stores.queue.remove([DATASET], right),
    "delete entries": lambda stores, right: stores.cache.remove([DATASET], right),
    "select": lambda stores, right: stores.maintenance.select(
        "run", [], lambda names: dict.fromkeys(names, 1), right
    ),
    "add removal candidates": lambda stores, right: stores.maintenance.add_removal_candidates(
        "run", {"rebuilt": "it is gone"}, right
    ),
    "withdraw removal candidates": lambda stores, right: stores.maintenance.withdraw_removal_candidates(
        "run", ["candidate"], right
    ),
    "start rebuilds": lambda stores, right: stores.maintenance.start_rebuilds([DATASET], right),
    "note a restore": lambda stores, right: stores.maintenance.restores().note(DATASET, "a run", right),
}


class TestEachWrite:
    @pytest.fixture
    def write(self, request: pytest.FixtureRequest) -> Write:
        return WRITES[request.param]

    @pytest.fixture(autouse=True)
    def something_to_write(self, stores: Stores, release: Release) -> None:
        insert_up_to_date(stores.databases.cache, release, DATASET)
        job = new_job(release.step("config-info"), DATASET, REVISION, "a", created_at=NOON)
        stores.databases.queue[JOBS].insert_one(job)
        stores.maintenance.select("run", ["selected"], lambda names: dict.fromkeys(names, 1))
        stores.maintenance.start_rebuilds(["rebuilt"])
        stores.maintenance.add_removal_candidates("run", {"candidate": "it is gone"})

    @pytest.mark.parametrize("write", WRITES, indirect=True)
    def test_needs_the_right(self, stores: Stores, ours: Lease, theirs: Lease, write: Write) -> None:
        with ours.held() as right:
            take_over(stores, theirs)
            before = everything(stores)

            with pytest.raises(LostRightError):
                write(stores, right)

            assert everything(stores) == before

    @pytest.mark.parametrize("write", WRITES, indirect=True)
    def test_is_done_by_right(self, stores: Stores, ours: Lease, write: Write) -> None:
        with ours.held() as right:
            before = everything(stores)

            write(stores, right)

            assert everything(stores) != before

    def test_of_files_needs_the_right_for_each_dataset(
        self, stores: Stores, ours: Lease, theirs: Lease, tmp_path: Path
    ) -> None:
        class LosesTheRight(FolderStorage):
            def remove(self, dataset: str) -> bool:
                take_over(stores, theirs)
                return super().remove(dataset)

        names = ["a", "b"]
        for name in names:
            (tmp_path / name / "--").mkdir(parents=True)
        with ours.held() as right, pytest.raises(LostRightError):
            Remover(stores.cache, stores.queue, [LosesTheRight(tmp_path)], right).remove(names)

        assert [name for name in names if (tmp_path / name / "--").exists()] == ["b"]


def everything(stores: Stores) -> Document:
    databases = stores.databases
    found = contents(databases.cache, databases.queue, databases.maintenance)
    return {name: documents for name, documents in found.items() if name not in ("leases", "writers")}


def answers(client: MongoClient[Document]) -> bool:
    try:
        client.admin.command("ping")
    except PyMongoError:
        return False
    return True


class TestOtherDeployments:
    """The right is kept on a standalone server, which knows no transactions; the cache is elsewhere."""

    @pytest.fixture(scope="class")
    def standalone(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoClient[Document]]:
        folder = tmp_path_factory.mktemp("standalone")
        port = free_port()
        options: list[str | Path] = [
            "--dbpath",
            folder,
            "--bind_ip",
            HOST,
            "--port",
            str(port),
            "--nounixsocket",
        ]
        with MongoClient[Document](HOST, port, serverSelectionTimeoutMS=500) as client:
            server = ServerProcess(
                "mongod",
                [find_mongod(), *options],
                log_file=folder / "mongod.log",
                is_ready=partial(answers, client),
            )
            with server:
                yield client

    @pytest.fixture
    def ours(self, standalone: MongoClient[Document]) -> Lease:
        return Lease(standalone["maintenance"], WORK, "our run")

    @pytest.fixture
    def theirs(self, standalone: MongoClient[Document]) -> Lease:
        return Lease(standalone["maintenance"], WORK, "their run")

    @pytest.mark.parametrize("database", ["cache", "queue"])
    def test_are_guarded_right_before_each_transaction(
        self,
        stores: Stores,
        release: Release,
        ours: Lease,
        theirs: Lease,
        standalone: MongoClient[Document],
        database: Literal["cache", "queue"],
    ) -> None:
        insert_up_to_date(stores.databases.cache, release, DATASET)
        entries = stores.databases.cache[CACHE].count_documents({})
        queue = QueueStore(standalone["queue"], release)

        def write(right: RightToWrite) -> None:
            if database == "cache":
                stores.cache.remove([DATASET], right)
            else:
                queue.apply([PLAN], Priority.LOW, right=right)

        def written() -> int:
            if database == "cache":
                return entries - stores.databases.cache[CACHE].count_documents({})
            return standalone["queue"][JOBS].count_documents({})

        with ours.held() as right:
            expire(standalone["maintenance"]["leases"])
            theirs.acquire()
            with pytest.raises(LostRightError):
                write(right)
            assert written() == 0

        theirs.release()
        with ours.held(by_last_task=True) as right:
            write(right)
            assert written() > 0
