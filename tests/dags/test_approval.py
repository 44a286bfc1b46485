"""The approval of many removals and deletions, by a person in Airflow's UI."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo.database import Database

from datasets_server.markdown import as_plain_text
from dev.local_stack.sample_state import Outcome, datasets_by_outcome
from include.databases.maintenance_store import MaintenanceStore
from include.databases.mongo import MAINTENANCE_DATABASE
from tests.conftest import Databases
from tests.dags.conftest import RELEASE, RunDag, set_variable

UNSUPPORTED = datasets_by_outcome(RELEASE)[Outcome.REMOVED]
#: Dataset names may hold anything that another program writes into the cache.
STRANGE = "<img src=x onerror=alert(1)>/[a](javascript:b) `c`\n# d"

TO_RECREATE = ["glue", "imdb"]

STRANGE_DIRECTORY = "*b* <i>"

Respond = Callable[[Any, Any], None]


@dataclass(slots=True)
class Asked:
    """What people saw, and who had the right to write meanwhile."""

    subject: str = ""
    body: str = ""
    leases: int = -1
    waits: timedelta = timedelta()
    times: int = 0


@pytest.fixture
def asked() -> Asked:
    """What is asked when ``respond`` lets somebody respond."""
    return Asked()


@pytest.fixture
def respond(
    airflow_database: None, asked: Asked, monkeypatch: pytest.MonkeyPatch, databases: Databases
) -> Callable[[Respond], None]:
    """Let somebody respond while a run waits: Airflow's test run then sleeps."""

    def by(response: Respond) -> None:
        from airflow.models.hitl import HITLDetail
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from airflow.utils.state import TaskInstanceState
        from sqlalchemy import select

        sleep_really = time.sleep

        def sleep(seconds: float) -> None:
            if threading.current_thread() is not threading.main_thread():
                sleep_really(seconds)
                return
            with create_session() as session:
                waiting = select(TaskInstance).where(TaskInstance.state == TaskInstanceState.AWAITING_INPUT)
                ti = session.scalars(waiting).one_or_none()
                if ti is None:
                    sleep_really(seconds)
                    return
                question = session.get_one(HITLDetail, ti.id)
                asked.subject, asked.body = question.subject, question.body or ""
                assert ti.trigger_timeout is not None
                asked.waits = ti.trigger_timeout - question.created_at
                asked.leases = databases.cache.client[MAINTENANCE_DATABASE]["leases"].count_documents({})
                asked.times += 1
                response(ti, session)

        monkeypatch.setattr(time, "sleep", sleep)

    return by


def choose(option: str) -> Respond:
    """Choose an option as the user Ada, by the function behind the API of the UI."""

    def response(ti: Any, session: Any) -> None:
        from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
        from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail

        user = SimpleNamespace(get_id=lambda: "7", get_name=lambda: "Ada")
        payload = UpdateHITLDetailPayload(chosen_options=[option])
        update_hitl_detail(ti.dag_id, ti.run_id, ti.task_id, payload, user, session)  # type: ignore[arg-type]

    return response


def let_time_pass(ti: Any, session: Any) -> None:
    """Let the time be over for which the run waits, and the scheduler find that out."""
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    ti.trigger_timeout -= timedelta(days=7)
    session.flush()
    scheduler = SimpleNamespace(log=logging.getLogger(__name__))
    SchedulerJobRunner.check_awaiting_input_timeouts(scheduler, session=session)  # type: ignore[arg-type]


def cached(databases: Databases) -> set[str]:
    return set(databases.cache.cachedResponsesBlue.distinct("dataset"))


def test_what_a_person_approves_is_removed(
    sample: None, run_dag: RunDag, databases: Databases, asked: Asked, respond: Callable[[Respond], None]
) -> None:
    respond(choose("Approve"))

    finished = run_dag("backfill", removal_limit=3)

    assert finished.state == "success"
    assert finished.report["datasets"]["removed"] == len(UNSUPPORTED)
    assert finished.report["decisions"] == [f"Ada approved the removal of {len(UNSUPPORTED)} datasets"]
    assert not cached(databases) & UNSUPPORTED
    restore = run_dag("restore-datasets", datasets=sorted(UNSUPPORTED), dry_run=True)
    assert all(", approved by Ada: " in line for line in restore.report["restored_sample"])
    assert restore.report["restored"] == len(UNSUPPORTED)
    assert (asked.times, asked.waits // timedelta(minutes=1)) == (1, 12 * 60)


@pytest.mark.parametrize(("room", "says"), [(2, "only 2"), (0, "none")])
def test_the_question_says_how_many_removals_the_limit_of_the_day_leaves(
    sample: None,
    run_dag: RunDag,
    maintenance: Database[dict[str, Any]],
    asked: Asked,
    respond: Callable[[Respond], None],
    room: int,
    says: str,
) -> None:
    earlier = {f"user/{number}": "gone" for number in range(5)}
    MaintenanceStore(maintenance).removal_ledger().begin("earlier", earlier, 5)
    MaintenanceStore(maintenance).removal_ledger().finish(list(earlier))
    respond(choose("Approve"))

    finished = run_dag("backfill", removal_limit=1, max_removals_per_day=5 + room)

    assert f"has room for {room} removals now, so {says} of these datasets go." in asked.body
    assert finished.report["datasets"]["removed"] == room


def test_the_right_to_write_is_free_while_the_run_waits(
    sample: None, run_dag: RunDag, asked: Asked, respond: Callable[[Respond], None]
) -> None:
    respond(choose("Approve"))

    run_dag("backfill", removal_limit=3)

    assert asked.leases == 0


def test_what_a_person_rejects_stays(
    sample: None, run_dag: RunDag, databases: Databases, respond: Callable[[Respond], None]
) -> None:
    respond(choose("Reject"))

    finished = run_dag("backfill", removal_limit=3)

    assert (finished.state, finished.tasks["remove_datasets"]) == ("success", "skipped")
    assert finished.report["datasets"]["removed"] == 0
    assert finished.report["decisions"] == [
        f"Ada rejected the removal of {len(UNSUPPORTED)} datasets: none was removed"
    ]
    assert cached(databases) >= UNSUPPORTED


def test_if_nobody_decides_in_time_nothing_is_removed_and_the_run_succeeds(
    sample: None,
    run_dag: RunDag,
    databases: Databases,
    asked: Asked,
    respond: Callable[[Respond], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_variable(monkeypatch, "datasets_server_approval_timeout_hours", "2")
    respond(let_time_pass)

    finished = run_dag("backfill", removal_limit=3)

    assert (finished.state, finished.tasks["remove_datasets"]) == ("success", "skipped")
    assert finished.report["decisions"] == [
        f"nobody decided within 2 hours about the removal of {len(UNSUPPORTED)} datasets: none was removed"
    ]
    assert cached(databases) >= UNSUPPORTED
    assert asked.waits // timedelta(minutes=1) == 120


def test_few_removals_need_nobody(
    sample: None, run_dag: RunDag, asked: Asked, respond: Callable[[Respond], None]
) -> None:
    respond(choose("Reject"))

    finished = run_dag("backfill", removal_limit=len(UNSUPPORTED))

    assert asked.times == 0
    assert finished.report["decisions"] == []
    assert finished.report["datasets"]["removed"] == len(UNSUPPORTED)


def test_what_a_person_approves_is_recreated(
    sample: None, run_dag: RunDag, databases: Databases, asked: Asked, respond: Callable[[Respond], None]
) -> None:
    respond(choose("Approve"))

    finished = run_dag("refresh-datasets", datasets=TO_RECREATE, recreate=True, removal_limit=1)

    assert (finished.state, set(finished.tasks.values())) == ("success", {"success"})
    assert finished.report["datasets"]["recreated"] == len(TO_RECREATE)
    assert not cached(databases) & set(TO_RECREATE)
    assert asked.subject == "Remove 2 datasets from the cache, and build them from nothing?"
    assert asked.body.endswith("The datasets:\n\n" + "\n".join(f"- {as_plain_text(n)}" for n in TO_RECREATE))
    assert (asked.times, asked.leases) == (1, 0)
    restore = run_dag("restore-datasets", datasets=TO_RECREATE, dry_run=True)
    assert all(", approved by Ada: " in line for line in restore.report["restored_sample"])


@pytest.mark.parametrize("response", [choose("Reject"), let_time_pass])
def test_what_nobody_approves_is_not_recreated(
    sample: None,
    run_dag: RunDag,
    databases: Databases,
    respond: Callable[[Respond], None],
    response: Respond,
) -> None:
    respond(response)
    before = cached(databases)

    finished = run_dag("refresh-datasets", datasets=TO_RECREATE, recreate=True, removal_limit=1)

    assert (finished.state, finished.tasks["recreate_approved"]) == ("success", "skipped")
    assert cached(databases) == before


def test_the_question_shows_how_many_why_and_which(
    sample: None, run_dag: RunDag, asked: Asked, respond: Callable[[Respond], None]
) -> None:
    respond(choose("Reject"))

    report = run_dag("backfill", removal_limit=3).report

    reasons = [line.split(": ", 1)[1] for line in report["unsupported_sample"]]
    assert asked.subject == f"Remove {len(UNSUPPORTED)} datasets that the Hub no longer supports?"
    for reason in set(reasons):
        assert f"- {reasons.count(reason)}: {as_plain_text(reason)}\n" in asked.body
    for name in UNSUPPORTED:
        assert f"- {as_plain_text(name)}: " in asked.body


def test_names_are_shown_as_they_are(
    sample: None,
    run_dag: RunDag,
    asked: Asked,
    respond: Callable[[Respond], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add = MaintenanceStore.add_removal_candidates

    def add_a_strange_one(store: MaintenanceStore, run: str, reasons: dict[str, str], *right: Any) -> None:
        add(store, run, {**reasons, STRANGE: STRANGE}, *right)

    monkeypatch.setattr(MaintenanceStore, "add_removal_candidates", add_a_strange_one)
    respond(choose("Reject"))

    run_dag("backfill", removal_limit=3)

    assert "<img" not in asked.body
    assert "\n# d" not in asked.body
    assert as_plain_text(STRANGE) in asked.body


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("user/data", "user/data"),
        ("a_b*c", r"a\_b\*c"),
        ("`a`", r"\`a\`"),
        ("[a](b)", r"\[a\]\(b\)"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp\\;"),
        ("https://a.b", r"https\://a\.b"),
        ("a\n- b", r"a\\n\- b"),
        ("a\u202eb", r"a\\u202eb"),
        ("\\*", r"\\\*"),
    ],
)
def test_a_text_in_markdown_has_no_meaning(text: str, shown: str) -> None:
    assert as_plain_text(text) == shown


@pytest.mark.usefixtures("connections")
class TestDeletions:
    """The approval of the deletions of clean-directory: 2 files of 1,000 bytes in each of 2 directories."""

    @pytest.fixture(autouse=True)
    def directories(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
        directories = [tmp_path / "temporary" / name for name in ("a", STRANGE_DIRECTORY)]
        for directory in directories:
            directory.mkdir(parents=True)
            for name in ("one", "other"):
                (directory / name).write_bytes(bytes(1_000))
        cleanings = [
            {
                "name": each.name,
                "directory": str(each),
                "pattern": "*",
                "expired_time_interval_seconds": 0,
            }
            for each in directories
        ]
        set_variable(monkeypatch, "datasets_server_directory_cleaning", json.dumps(cleanings))
        return directories

    @staticmethod
    def left(directories: list[Path]) -> int:
        return sum(1 for directory in directories for _ in directory.iterdir())

    def test_what_a_person_approves_is_deleted(
        self,
        run_dag: RunDag,
        directories: list[Path],
        asked: Asked,
        respond: Callable[[Respond], None],
    ) -> None:
        respond(choose("Approve"))

        finished = run_dag("clean-directory", max_deleted_paths=3)

        assert finished.state == "success"
        assert self.left(directories) == 0
        assert finished.report["decisions"] == [
            "Ada approved the deletion of 4 files and 0 folders (4,000 bytes)"
        ]
        assert asked.subject == "Delete 4 files and 0 folders (4,000 bytes) that have expired?"
        assert asked.times == 1

    def test_what_expires_while_the_run_waits_is_left_to_the_next_run(
        self, run_dag: RunDag, directories: list[Path], respond: Callable[[Respond], None]
    ) -> None:
        def approve_a_moment_later(ti: Any, session: Any) -> None:
            (directories[0] / "later").touch()
            (directories[1] / "one").touch()  # used again
            choose("Approve")(ti, session)

        respond(approve_a_moment_later)

        first = run_dag("clean-directory", max_deleted_paths=3).report["total"]
        left = self.left(directories)
        second = run_dag("clean-directory").report["total"]

        assert (first["files"], left, second["files"]) == (3, 2, 2)

    def test_what_a_person_rejects_stays(
        self, run_dag: RunDag, directories: list[Path], respond: Callable[[Respond], None]
    ) -> None:
        respond(choose("Reject"))

        finished = run_dag("clean-directory", max_deleted_bytes=3_999)

        assert finished.state == "success"
        assert self.left(directories) == 4
        assert finished.report["decisions"] == [
            "Ada rejected the deletion of 4 files and 0 folders (4,000 bytes): nothing was deleted"
        ]

    def test_if_nobody_decides_in_time_nothing_is_deleted(
        self, run_dag: RunDag, directories: list[Path], respond: Callable[[Respond], None]
    ) -> None:
        respond(let_time_pass)

        finished = run_dag("clean-directory", max_deleted_paths=0)

        assert finished.state == "success"
        assert self.left(directories) == 4
        assert finished.report["decisions"] == [
            "nobody decided within 12 hours about the deletion of 4 files and 0 folders (4,000 bytes):"
            " nothing was deleted"
        ]

    def test_the_question_shows_the_directories_and_paths_as_they_are(
        self, run_dag: RunDag, directories: list[Path], asked: Asked, respond: Callable[[Respond], None]
    ) -> None:
        respond(choose("Reject"))

        run_dag("clean-directory", max_deleted_paths=0)

        assert "- a: 2 files and 0 folders (2,000 bytes)" in asked.body
        assert f"- {as_plain_text(STRANGE_DIRECTORY)}: 2 files" in asked.body
        assert as_plain_text(repr(str(directories[0] / "one"))) in asked.body
        assert STRANGE_DIRECTORY not in asked.body

    def test_a_run_can_lower_the_limit_of_the_variable_but_not_raise_it(
        self,
        run_dag: RunDag,
        monkeypatch: pytest.MonkeyPatch,
        directories: list[Path],
        asked: Asked,
        respond: Callable[[Respond], None],
    ) -> None:
        set_variable(monkeypatch, "datasets_server_cleaning_max_deleted_paths", "3")
        respond(choose("Reject"))

        run_dag("clean-directory", max_deleted_paths=100)

        assert asked.times == 1
        assert self.left(directories) == 4

    @pytest.mark.parametrize(
        "params",
        [{}, {"max_deleted_paths": 4, "max_deleted_bytes": 4_000}, {"max_deleted_paths": 0, "dry_run": True}],
        ids=["no limit", "within the limit", "dry run"],
    )
    def test_nobody_is_asked_without_need(
        self,
        run_dag: RunDag,
        directories: list[Path],
        asked: Asked,
        respond: Callable[[Respond], None],
        params: dict[str, Any],
    ) -> None:
        respond(choose("Reject"))

        finished = run_dag("clean-directory", **params)

        assert finished.state == "success"
        assert finished.report["decisions"] == []
        assert asked.times == 0
        assert self.left(directories) == (4 if params.get("dry_run") else 0)
