"""A backfill on two Celery workers, of which one is killed in the middle."""
