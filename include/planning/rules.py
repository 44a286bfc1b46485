"""Numbers of the rules that are the same in every release, each in one place.

The plan, the screening and the counts of the queue compare with them. What differs from one release to
another is in ``include/planning/releases/``.
"""

from __future__ import annotations

from datetime import timedelta

#: The HTTP statuses that a cache entry can have.
HTTP_STATUSES = range(100, 600)
#: An entry with this HTTP status or a higher one holds an error.
FIRST_ERROR_STATUS = 400

#: A config with more bytes than this is big: its jobs are more difficult.
BIG_CONFIG_BYTES = 3_000_000_000
DIFFICULTY_PER_FAILED_RUN = 20
MAX_DIFFICULTY = 100

#: Light workers take the jobs up to this difficulty, ...
MAX_LIGHT_DIFFICULTY = 40
#: ... medium workers those up to this one, and heavy workers all others.
MAX_MEDIUM_DIFFICULTY = 70

#: For so long a dataset that was rate-limited is blocked: then its blockage expires.
BLOCKED_FOR = timedelta(hours=6)
