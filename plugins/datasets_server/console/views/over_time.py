"""The page *Over time*."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from datasets_server.console.pages import render

router = APIRouter()


@router.get("/over-time")
def show(request: Request) -> HTMLResponse:
    """Show the page."""
    return render(request, "over_time.html", current="over-time")
