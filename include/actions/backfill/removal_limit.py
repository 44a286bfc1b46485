"""How many datasets may be removed in a day."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from include.databases.cache_store import CacheStore

#: By default, 1 % of the cached datasets, but at least ten.
LEAST = 10
PERCENT = 1


@dataclass(frozen=True, slots=True)
class RemovalLimit:
    """The maximum number of datasets that are removed or rebuilt in 24 hours, over all runs and DAGs.

    :param configured: by whoever runs this Airflow; None for the default.
    :param lowered_to: by whoever started the run, who can only lower it; None for no change.
    """

    configured: int | None = None
    lowered_to: int | None = None

    def of(self, cache: CacheStore) -> int:
        """Return the number."""
        limit = _default(cache) if self.configured is None else self.configured
        return limit if self.lowered_to is None else min(limit, self.lowered_to)


# It takes some seconds for hundreds of thousands of datasets, so a task counts them once.
@lru_cache(maxsize=1)
def _default(cache: CacheStore) -> int:
    return default_limit(cache.dataset_count())


def default_limit(datasets: int) -> int:
    """Return the limit unless somebody has configured another one, for so many cached datasets."""
    return max(LEAST, datasets * PERCENT // 100)
