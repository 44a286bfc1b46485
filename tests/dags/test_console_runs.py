"""The page *Runs*: which runs it tells the browser to ask Airflow for."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from datasets_server.actions import DAGS
from datasets_server.console.views.runs import BY_DATE_RANGE

HTML = {"Accept": "text/html"}


@pytest.fixture
def lists(log_in: Callable[[str | None], TestClient]) -> Callable[[str], list[str]]:
    """Return the lists of runs in the page with a query, each as the tag that says which runs it has."""

    def lists(query: str) -> list[str]:
        answer = log_in("viewer").get(f"/datasets-server/runs{query}", headers=HTML)
        assert answer.status_code == 200
        return re.findall("<ol [^>]*data-runs[^>]*>", answer.text)

    return lists


def test_at_first_each_dag_has_a_list_of_its_last_runs(lists: Callable[[str], list[str]]) -> None:
    found = [re.search('data-runs="([^"]*)"', each) for each in lists("")]

    assert [each and each[1] for each in found] == [dag.id for dag in DAGS]


def test_a_filter_leaves_one_list_with_the_chosen_runs(lists: Callable[[str], list[str]]) -> None:
    [of_one] = lists("?action=backfill&outcome=failed&page=3")
    [of_all] = lists("?action=all")

    assert 'data-runs="backfill" data-limit="25" data-page="3" data-states="failed"' in of_one
    assert f'data-runs="{" ".join(dag.id for dag in DAGS)}"' in of_all
    assert "data-states" not in of_all


@pytest.mark.parametrize(
    ("query", "status"), [("?action=no-such-dag", 404), ("?outcome=lost", 422), ("?page=0", 422)]
)
def test_a_wrong_address_is_refused(
    log_in: Callable[[str | None], TestClient], query: str, status: int
) -> None:
    answer = log_in("viewer").get(f"/datasets-server/runs{query}", headers=HTML)

    assert answer.status_code == status
    assert "This page cannot be shown" in answer.text


def test_what_can_run_for_a_range_of_dates_has_a_schedule() -> None:
    assert all(action.schedule for action in BY_DATE_RANGE)
