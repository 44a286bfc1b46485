"""The page *One dataset*."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from datasets_server.console.pages import render

router = APIRouter()


@router.get("/dataset")
def show(request: Request) -> HTMLResponse:
    """Show the page."""
    return render(request, "dataset.html", current="dataset")
