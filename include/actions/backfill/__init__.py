"""The actions ``backfill`` and ``backfill-retryable-errors``."""
