"""The page *Runs*. The browser asks Airflow's REST API for the runs, with the user's own rights."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from datasets_server.actions import (
    BACKFILL,
    BACKFILL_RETRYABLE_ERRORS,
    CLEAN_DIRECTORY,
    DAGS,
    POST_MESSAGES,
)
from datasets_server.console.pages import render

Outcome = Literal["success", "failed", "running", "queued"]

#: The others can only count, watch or restore what there is now.
BY_DATE_RANGE = (BACKFILL, BACKFILL_RETRYABLE_ERRORS, CLEAN_DIRECTORY, POST_MESSAGES)

_ALL = "all"
_LAST_PAGE = 1_000

router = APIRouter()


@router.get("/runs")
def show(
    request: Request,
    action: str = "",
    outcome: Outcome | Literal[""] = "",
    page: Annotated[int, Query(ge=1, le=_LAST_PAGE)] = 1,
) -> HTMLResponse:
    """Show the last runs of each DAG, or a list.

    :param action: the id of a DAG, ``all``, or nothing.
    :param outcome: list only the runs in this state.
    :param page: which page of the list.
    """
    chosen = [dag for dag in DAGS if action in (dag.id, _ALL, "")]
    if not chosen:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return render(
        request,
        "runs.html",
        current="runs",
        dags=DAGS,
        chosen=chosen,
        by_date_range=BY_DATE_RANGE,
        is_list=bool(action or outcome),
        action=action,
        outcome=outcome,
        outcomes=get_args(Outcome),
        page=page,
    )
