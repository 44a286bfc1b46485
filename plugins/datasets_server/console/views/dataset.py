"""The page *One dataset*."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from datasets_server import settings
from datasets_server.console.answers import kept
from datasets_server.console.databases import Databases, open_databases
from datasets_server.console.hub import ask_shared_hub
from datasets_server.console.pages import ago, render, utc
from include.console.dataset import DatasetView, read_dataset
from include.console.matrix import MAX_ROWS, Artifact, Artifacts, Matrix, Row, State
from include.databases.dataset_reader import DatasetReader
from include.databases.error_messages import ErrorMessage
from include.planning.dataset_state import Entry, Job
from include.planning.processing_graph import Level

router = APIRouter()

#: The sign and the kind of badge of each state: no state is told by its colour alone.
SIGNS = {
    State.UP_TO_DATE: ("✓", "ok"),
    State.EMPTY: ("○", "neutral"),
    State.ERROR_TO_RETRY: ("↻", "bad"),
    State.ERROR: ("✕", "bad"),
    State.OUTDATED_BY_PARENT: ("▲", "warn"),
    State.OBSOLETE: ("◆", "warn"),
    State.OTHER_REVISION: ("≠", "warn"),
}

#: What is wrong with the artifacts of a step (or outdated by it), but for errors, which have a code.
_REASONS = {
    State.EMPTY: "%s has never been computed",
    State.OUTDATED_BY_PARENT: "its parent %s is newer",
    State.OBSOLETE: "%s was computed by an older version of its job runner",
    State.OTHER_REVISION: "%s was computed for another revision",
}

#: No name is longer, neither of a dataset nor of a config; an address may be.
_Name = Annotated[str, Query(max_length=1_000)]
#: The Hub answers between two reads, in five seconds at most, and a large dataset takes some to be judged.
_SECONDS = 20.0
_LEVELS = {level.name.lower(): level for level in Level}


@router.get("/dataset")
def show(request: Request, name: _Name = "") -> HTMLResponse:
    """Show the page: of a dataset, or with a field for its name."""
    name = name.strip()
    if not name:
        with open_databases():
            pass  # Say what is missing before a name is typed.
        return render(request, "dataset.html", current="dataset", view=None)
    view = _view(name)
    return render(
        request,
        "dataset.html",
        current="dataset",
        view=view,
        signs=SIGNS,
        reasons=_REASONS,
        levels=_LEVELS,
    )


@router.get("/dataset/names")
def names(prefix: _Name = "") -> list[str]:
    """Return the first cached datasets whose names begin with a text."""
    with open_databases() as databases:
        return _reader(databases).names(prefix)


@router.get("/dataset/rows")
def rows(
    name: _Name,
    level: str,
    first: Annotated[int, Query(ge=0)] = 0,
    count: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 100,
    state: Annotated[list[State] | None, Query()] = None,
    text: _Name = "",
) -> dict[str, Any]:
    """Return some rows of a matrix."""
    window = _matrix(name, level).window(first, count, state or (), text)
    return {"first": window.first, "total": window.total, "rows": [_row_fields(row) for row in window.rows]}


@router.get("/dataset/artifact")
def artifact(
    name: _Name, kind: _Name, config: _Name | None = None, split: _Name | None = None
) -> dict[str, Any]:
    """Return all about an artifact."""
    key = (kind, config, split)
    found = _artifacts(name).artifact(key)
    if found is None:
        raise HTTPException(404, "There is no such artifact.")
    with open_databases() as databases:
        message = _reader(databases).message(name, key) if found.entry else None
    return _artifact_fields(found, message)


@kept
def _view(name: str) -> DatasetView:
    with open_databases(_SECONDS) as databases:
        return read_dataset(
            _reader(databases), ask_shared_hub, databases.release, name, settings.CLOCK_TOLERANCE.read()
        )


def _reader(databases: Databases) -> DatasetReader:
    return DatasetReader(databases.cache, databases.queue, databases.own, databases.release)


def _artifacts(name: str) -> Artifacts:
    view = _view(name.strip())
    if view.artifacts is None:
        raise HTTPException(404, view.problem)
    return view.artifacts


def _matrix(name: str, level: str) -> Matrix:
    if level not in _LEVELS:
        raise HTTPException(404, "There is no such level.")
    return _artifacts(name).matrices[_LEVELS[level]]


def _row_fields(row: Row) -> dict[str, Any]:
    return {
        "config": row.config,
        "split": row.split,
        "states": [state.value for state in row.states],
        "has_job": list(row.has_job),
    }


def _artifact_fields(found: Artifact, message: ErrorMessage | None) -> dict[str, Any]:
    sign, badge = SIGNS[found.state]
    return {
        "kind": found.step.name,
        "config": found.config,
        "split": found.split,
        "state": found.state.value,
        "sign": sign,
        "badge": badge,
        "why": list(found.why),
        "message": message and asdict(message),
        "facts": dict(_facts(found.entry, found)) if found.entry else {},
        "jobs": [_job_text(job) for job in found.jobs],
    }


def _facts(entry: Entry, found: Artifact) -> list[tuple[str, str]]:
    version = "none" if entry.job_runner_version is None else str(entry.job_runner_version)
    return [
        ("Updated", f"{utc(entry.updated_at)} ({ago(entry.updated_at)})"),
        ("HTTP status", str(entry.http_status)),
        *([("Error code", entry.error_code)] if entry.error_code else []),
        ("Failed runs", str(entry.failed_runs)),
        ("Version", f"{version} (the step has {found.step.job_runner_version})"),
        ("Revision", entry.revision),
    ]


def _job_text(job: Job) -> str:
    return (
        f"A job is {job.status.value}, created {ago(job.created_at)}, with priority {job.priority.value}"
        f" and difficulty {job.difficulty}, for revision {job.revision}."
    )
