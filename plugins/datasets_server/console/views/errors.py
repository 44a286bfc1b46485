"""The page *Errors*."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from datasets_server.console.pages import render

router = APIRouter()


@router.get("/errors")
def show(request: Request) -> HTMLResponse:
    """Show the page."""
    return render(request, "errors.html", current="errors")
