"""Working through many datasets, a batch at a time."""

from __future__ import annotations

import gc
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")

SECONDS_BETWEEN_PROGRESS_LINES = 10.0
OBJECTS_BETWEEN_COLLECTIONS = 200_000

logger = logging.getLogger(__name__)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of ``size``; the last list may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def batched_by_weight(weights: Mapping[Item, int], most: int) -> Iterator[list[Item]]:
    """Yield the items in lists that weigh at most ``most``; a heavier item is alone in its list."""
    batch: list[Item] = []
    total = 0
    for item, weight in weights.items():
        if batch and total + weight > most:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += weight
    if batch:
        yield batch


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Read], readers: int = 1
) -> Iterator[tuple[Item, Read]]:
    """Yield each item with what ``read`` returns for it, and read the next items in the meantime.

    :param readers: the number of items to read at the same time.
    """
    with ThreadPoolExecutor(readers, thread_name_prefix="read-ahead") as pool:
        ahead: deque[tuple[Item, Future[Read]]] = deque()
        for item in items:
            ahead.append((item, pool.submit(read, item)))
            if len(ahead) > readers:
                first, reading = ahead.popleft()
                yield first, reading.result()
        for item, reading in ahead:
            yield item, reading.result()


@contextmanager
def rare_garbage_collection() -> Iterator[None]:
    """Collect garbage rarely, and only among objects created from now on.

    A batch creates tens of thousands of tuples that live until its end and form no cycle. Searching them and
    all objects of Airflow for cycles took a quarter of the reading time.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


class Progress:
    """Logs the progress every ten seconds: the number done, the total if known, and the rate."""

    def __init__(
        self, what: str, total: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._total = total
        self._clock = clock
        self._started = self._logged = clock()
        self._done = 0

    def advance(self, by: int) -> None:
        """Add the number done since the previous call."""
        self._done += by
        now = self._clock()
        if now - self._logged >= SECONDS_BETWEEN_PROGRESS_LINES:
            self._logged = now
            rate = self._done / (now - self._started)
            total = "" if self._total is None else f" of {self._total:,}"
            logger.info("%s%s %s done, %s a second", f"{self._done:,}", total, self._what, f"{rate:,.0f}")
