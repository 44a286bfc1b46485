"""The notices to operators: which arrive, by which services, and what happens if a service fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Context
from apprise.plugins.slack import NotifySlack
from pymongo.database import Database

from datasets_server.notices import send_notice
from datasets_server.runs import WRITING
from datasets_server.settings import NoticeKind
from dev.local_stack.hub_server import HubServer
from dev.local_stack.ports import HOST, free_port
from include.databases.lease import Lease
from include.databases.run_records import COLLECTION
from tests.dags.conftest import DyingRun, MakeRunsAs, RunDag, set_connection, set_variable
from tests.dags.notice_receivers import Mailbox, Webhook, mailbox, webhook

AIRFLOW = "https://airflow.example.com"
INTERVAL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 10, tzinfo=UTC)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """A webhook that receives the notices."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", AIRFLOW)
    with webhook() as server:
        set_services(monkeypatch, json_url(server))
        yield server


@pytest.fixture
def mails() -> Iterator[Mailbox]:
    with mailbox() as server:
        yield server


def set_services(monkeypatch: pytest.MonkeyPatch, *urls: str) -> None:
    config = [{"path": url} for url in urls]
    set_connection(monkeypatch, "datasets_server_notices", conn_type="apprise", extra={"config": config})


def json_url(server: Webhook, path: str = "/hook") -> str:
    return server.url.replace("http://", "json://") + path


def context(run_id: str = "manual__2026-01-01T00:00:00+00:00") -> Context:
    return cast("Context", {"dag": SimpleNamespace(dag_id="backfill"), "run_id": run_id})


def send(title: str = "backfill failed", kind: NoticeKind = NoticeKind.FAILED) -> bool:
    return send_notice(kind, context(), title, happened="Tasks failed.", to_do="read their logs.")


# Services


def test_a_webhook_receives_the_text_with_the_run_and_a_link_to_it(hook: Webhook) -> None:
    assert send()

    assert hook.titles == ["backfill failed"]
    assert hook.messages == [
        "Tasks failed.\n"
        "To do: read their logs.\n\n"
        "DAG: backfill\n"
        "Run: manual__2026-01-01T00:00:00+00:00\n"
        f"{AIRFLOW}/dags/backfill/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00"
    ]


def test_without_the_url_of_airflow_a_notice_has_no_link(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW__API__BASE_URL")

    assert send()

    assert hook.messages[0].endswith("Run: manual__2026-01-01T00:00:00+00:00")


def test_slack_receives_the_text(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the protocol of Slack's webhooks, at another host."""
    monkeypatch.setattr(NotifySlack, "webhook_url", f"{hook.url}/services")
    set_services(monkeypatch, "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts")

    assert send()

    assert hook.paths == ["/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"]
    assert "Tasks failed." in str(hook.received[0])
    assert hook.received[0]["channel"] == "#alerts"


def test_an_e_mail_has_the_title_as_its_subject(mails: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    set_services(
        monkeypatch,
        f"mailto://{HOST}:{mails.port}?from=airflow@example.com&to=oncall@example.com&format=text",
    )

    assert send()

    assert mails.recipients == ["oncall@example.com"]
    assert mails.subjects == ["backfill failed"]
    assert "To do: read their logs." in mails.texts[0]


def test_every_service_receives_a_notice(
    hook: Webhook, mails: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = f"mailto://{HOST}:{mails.port}?from=airflow@example.com&to=oncall@example.com"
    set_services(monkeypatch, json_url(hook), mail)

    assert send()

    assert len(hook.received) == len(mails.subjects) == 1


def test_the_connection_may_hold_the_list_as_a_text_as_its_form_stores_it(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = f'[{{"path": "{json_url(hook)}"}}]'
    set_connection(monkeypatch, "datasets_server_notices", conn_type="apprise", extra={"config": config})

    assert send()


# Which are sent


def test_without_the_connection_nothing_is_sent_or_logged(
    airflow_database: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert not send()

    assert caplog.records == []


@pytest.mark.parametrize(
    ("kinds", "sent"), [("failed", True), ("overdue, failed", True), ("overdue", False), ("", False)]
)
def test_only_the_kinds_of_the_variable_are_sent(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch, kinds: str, sent: bool
) -> None:
    set_variable(monkeypatch, "datasets_server_notices", kinds)

    assert send() is sent

    assert len(hook.received) == int(sent)


# Failures


def test_a_wrong_variable_is_a_warning(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_variable(monkeypatch, "datasets_server_notices", "failed,everything")

    assert not send()

    assert "It may hold some of failed, approval, removals, waiting, overdue." in caplog.text


def test_a_service_that_is_down_is_a_warning_and_the_others_receive_the_notice(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_services(monkeypatch, f"json://{HOST}:{free_port()}/hook", json_url(hook))

    assert send()

    assert len(hook.received) == 1
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "1 of 2 services received the notice 'backfill failed'." in record.message


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_service_that_refuses_a_notice_is_a_warning(
    hook: Webhook, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    hook.status = status

    assert not send()

    assert "0 of 1 services received the notice" in caplog.text
    assert str(status) in caplog.text


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"extra": {"config": "secret-of-someone"}},
        {"extra": {"config": []}},
        {"extra": {"config": ["json://secret-of-someone"]}},
        {"extra": {"config": {"path": "nonsense://secret-of-someone"}}},
        {"extra": {"config": {"path": "secret-of-someone"}}},
        {"extra": {"config": {"path": "slack://secret-of-someone"}}},
        {"extra": {"config": {"path": "mailto://user:secret-of-someone@host"}}},
    ],
    ids=str,
)
def test_a_wrong_connection_is_a_warning_without_secrets(
    airflow_database: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fields: dict[str, Any],
) -> None:
    caplog.set_level(logging.DEBUG)
    set_connection(monkeypatch, "datasets_server_notices", conn_type="apprise", **fields)

    assert not send()

    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    assert "secret" not in caplog.text


@pytest.mark.parametrize("status", [200, 403])
def test_no_secret_is_logged_on_any_level(
    hook: Webhook,
    mails: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    caplog.set_level(logging.NOTSET)
    hook.status = status
    monkeypatch.setattr(NotifySlack, "webhook_url", f"{hook.url}/services")
    with_secret = json_url(hook, "/secret-path?+X-Token=secret-header").replace("://", "://me:secret-word@")
    set_services(
        monkeypatch,
        with_secret,
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazksecretdevi7Q/#alerts",
        f"mailto://me:secret-mail@{HOST}:{mails.port}?from=airflow@example.com&to=oncall@example.com",
        f"json://{HOST}:{free_port()}/secret-of-a-service-that-is-down",
    )

    assert send() is (status == 200)

    assert "services received the notice" in caplog.text
    assert "secret" not in caplog.text
    assert "T1JJ3T3L2" not in caplog.text


# Kinds


def test_a_run_that_fails_sends_a_notice_with_its_failed_tasks(
    connections: None, hook: Webhook, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variable(monkeypatch, "datasets_server_release", "2025")

    assert run_dag("backfill").state == "failed"

    assert hook.titles == ["backfill failed"]
    assert "Tasks of the run failed" in hook.messages[0]
    assert f"{AIRFLOW}/dags/backfill/runs/manual__" in hook.messages[0]


def test_a_run_that_fails_does_so_too_if_no_service_can_be_reached(
    connections: None, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_services(monkeypatch, f"json://{HOST}:{free_port()}/hook")
    set_variable(monkeypatch, "datasets_server_release", "2025")

    assert run_dag("check-connections").state == "failed"


def test_removals_that_wait_for_an_approval_send_a_notice(
    sample: None, hook: Webhook, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.standard.operators import hitl

    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **_: None)
    # A run in this process cannot wait for a person.
    monkeypatch.setattr(hitl, "TaskAwaitingInput", NobodyAnswersError)

    finished = run_dag("backfill", removal_limit=2)

    assert finished.tasks["approve_removals"] == "failed"
    approval, failure = hook.messages
    assert hook.titles == ["backfill waits for an approval", "backfill failed"]
    assert approval.startswith("Remove ")
    assert " datasets that the Hub no longer supports?\n" in approval
    assert approval.endswith("/tasks/approve_removals/required_actions")
    assert "Tasks of the run failed" in failure


class NobodyAnswersError(Exception):
    def __init__(self, **_: object) -> None:
        super().__init__()


@pytest.mark.parametrize("half", [True, False])
def test_more_than_half_of_the_limit_of_removals_sends_a_notice(
    sample: None, hook: Webhook, run_dag: RunDag, half: bool
) -> None:
    removed = run_dag("backfill", dry_run=True).report["datasets"]["unsupported"]
    assert removed > 0

    finished = run_dag("backfill", removal_limit=2 * removed if half else 2 * removed - 1)

    assert finished.report["datasets"]["removed"] == removed
    expected = [] if half else [f"backfill removed {removed:,} datasets"]
    assert hook.titles == expected


def test_three_runs_in_a_row_that_are_skipped_send_one_notice(
    sample: None,
    hook: Webhook,
    run_dag: RunDag,
    make_runs_as: MakeRunsAs,
    maintenance: Database[dict[str, Any]],
) -> None:
    Lease(maintenance, WRITING, "token", run_name="backfill monday").acquire(timedelta(hours=1))
    for number in range(4):
        minutes = timedelta(minutes=10 * number)
        make_runs_as("scheduled", INTERVAL[0] + minutes, INTERVAL[1] + minutes)
        assert len(hook.received) == (1 if number > 2 else 0)
        run_dag("backfill-retryable-errors")

    assert hook.titles == ["backfill-retryable-errors does not get its turn"]
    assert "3 runs in a row had to wait or were skipped." in hook.messages[0]
    assert "the run 'backfill monday' is at work" in hook.messages[0]


def test_a_run_that_waits_counts_once(
    sample: None, hook: Webhook, run_dag: RunDag, maintenance: Database[dict[str, Any]], dying_run: DyingRun
) -> None:
    assert run_dag("backfill", datasets=["nothing"]).state == "success"

    assert dying_run.awaited
    record = maintenance[COLLECTION].find_one({"_id": "backfill"})
    assert record is not None
    assert record["waiting_in_a_row"] == 1
    assert hook.received == []


def test_a_run_of_a_date_range_that_waits_does_not_count(
    sample: None,
    run_dag: RunDag,
    make_runs_as: MakeRunsAs,
    maintenance: Database[dict[str, Any]],
    dying_run: DyingRun,
) -> None:
    make_runs_as("backfill", *INTERVAL)

    run_dag("backfill")

    assert dying_run.awaited
    assert maintenance[COLLECTION].find_one({"waiting_in_a_row": {"$exists": True}}) is None


def let_good_run_be_past(maintenance: Database[dict[str, Any]], hours: int) -> None:
    past = datetime.now(UTC) - timedelta(hours=hours)
    maintenance[COLLECTION].update_one({"_id": "backfill"}, {"$set": {"last_good_run": past}}, upsert=True)


def test_an_overdue_backfill_sends_one_notice(
    connections: None, hook: Webhook, run_dag: RunDag, maintenance: Database[dict[str, Any]]
) -> None:
    assert run_dag("watch-backfill").report == {"last_good_run": None, "overdue": False}
    let_good_run_be_past(maintenance, 25)
    assert not run_dag("watch-backfill").report["overdue"]
    let_good_run_be_past(maintenance, 27)

    runs = [run_dag("watch-backfill") for _ in range(2)]

    assert [(run.state, run.report["overdue"]) for run in runs] == [("success", True)] * 2
    assert hook.titles == ["backfill is overdue"]
    assert (
        "no good run of backfill over the whole cache for 26 hours. The last one ended at" in hook.messages[0]
    )


def test_an_overdue_backfill_is_told_later_if_no_service_can_be_reached(
    connections: None,
    hook: Webhook,
    run_dag: RunDag,
    maintenance: Database[dict[str, Any]],
) -> None:
    let_good_run_be_past(maintenance, 27)
    hook.status = 500
    assert run_dag("watch-backfill").state == "success"
    hook.status = 200

    run_dag("watch-backfill")
    run_dag("watch-backfill")

    assert hook.titles == ["backfill is overdue"] * 2, "one was refused"


@pytest.mark.parametrize(
    ("params", "counts"),
    [({}, True), ({"dry_run": True}, False), ({"datasets": ["*"]}, False), ({"error_limit": 0}, False)],
    ids=["whole cache", "dry run", "some datasets", "failed"],
)
def test_a_good_run_is_one_over_the_whole_cache_that_succeeds(
    sample: None,
    run_dag: RunDag,
    maintenance: Database[dict[str, Any]],
    params: dict[str, Any],
    counts: bool,
) -> None:
    run_dag("backfill", **params)

    good = maintenance[COLLECTION].count_documents({"_id": "backfill", "last_good_run": {"$exists": True}})
    assert good == int(counts)


def test_a_service_that_is_down_fails_no_run(
    sample: None, run_dag: RunDag, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_services(monkeypatch, f"json://{HOST}:{free_port()}/hook")

    finished = run_dag("backfill", removal_limit=19)

    assert finished.state == "success"
    assert finished.report["datasets"]["removed"] > 19 / 2
