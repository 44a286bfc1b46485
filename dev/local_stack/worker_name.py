"""The hostname of a worker: without this, two workers on one machine would have the same name."""

from __future__ import annotations

import os

WORKER_NAME = "WORKER_NAME"


def worker_name() -> str:
    """Return the name of this worker, for Airflow's ``[core] hostname_callable``."""
    return os.environ[WORKER_NAME]
