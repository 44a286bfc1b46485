"""``make bench``: measure the time and the memory of a backfill of a large cache."""
