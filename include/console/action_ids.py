"""The actions that the console knows by their ids, which are those of their DAGs."""

from __future__ import annotations

BACKFILL = "backfill"
RETRYABLE_ERRORS = "backfill-retryable-errors"
REFRESH_DATASETS = "refresh-datasets"
