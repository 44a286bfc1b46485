"""``make bench``: how fast, and in how little memory, a backfill goes through a large cache."""
