"""The page *Errors*."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from datasets_server.console.answers import kept
from datasets_server.console.databases import open_databases
from datasets_server.console.pages import render
from include.console.errors import ErrorEntriesView, ErrorsView, read_error_entries, read_errors
from include.databases.error_reader import ErrorFilter, ErrorReader, Place

router = APIRouter()

_Text = Annotated[str, Query(max_length=1_000)]
_Version = Annotated[str, Query(pattern=r"^\d{0,9}$")]


@router.get("/errors")
def show(
    request: Request,
    code: _Text = "",
    step: _Text = "",
    version: _Version = "",
    after: _Text = "",
    before: _Text = "",
) -> HTMLResponse:
    """Show the page: all error codes, or the entries that have one."""
    if not code:
        return render(request, "errors.html", current="errors", errors=_errors(), entries=None)
    entries = _entries(code, step, version, after, before)
    values: dict[str, Any] = {"code": code, "step": step, "version": version, "is_first": not after + before}
    return render(request, "errors.html", current="errors", errors=None, entries=entries, **values)


@router.get("/errors/artifacts")
def artifacts(code: _Text, step: _Text = "", version: _Version = "") -> dict[str, Any]:
    """Return the artifacts of the newest entries that match, and whether these are all."""
    with open_databases() as databases:
        reader = ErrorReader(databases.cache)
        found = reader.matching(ErrorFilter(code, reader.totals(code), step or None, _number(version)))
    return {"artifacts": list(map(str, found.artifacts)), "are_all": found.are_all}


@kept
def _errors() -> ErrorsView:
    with open_databases() as databases:
        return read_errors(ErrorReader(databases.cache), databases.release)


@kept
def _entries(code: str, step: str, version: str, after: str, before: str) -> ErrorEntriesView:
    places = {name: _place(text) for name, text in (("after", after), ("before", before)) if text}
    with open_databases() as databases:
        return read_error_entries(
            ErrorReader(databases.cache),
            databases.release,
            code,
            kind=step or None,
            job_runner_version=_number(version),
            **places,
        )


def _number(version: str) -> int | None:
    return int(version) if version else None


def _place(text: str) -> Place:
    try:
        return Place.parse(text)
    except ValueError as error:
        raise HTTPException(422, f"The address of this page is wrong: {error}.") from error
