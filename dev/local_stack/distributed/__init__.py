"""A backfill on two Celery workers, one of which is killed in the middle."""
