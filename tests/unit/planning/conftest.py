"""The releases that the rules of planning are tested with."""

from __future__ import annotations

import pytest

from include.planning.processing_graph import Release, load_release, release_names


@pytest.fixture(params=release_names())
def release(request: pytest.FixtureRequest) -> Release:
    """Each release in turn."""
    return load_release(request.param)
