"""The Hub's rate limit: a client waits as the Hub asks, with all of its threads."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from httpx2 import Response
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import parse_ratelimit_headers

Answer = TypeVar("Answer")

#: The Hub counts requests in windows of 5 minutes. Where many tasks share a token, some find a window used up
#: by the others when they wake; in twelve windows, each has its turn.
MAX_WAIT_SECONDS = 3_600.0
_DEFAULT_WAIT_SECONDS = 10.0
_TOO_MANY_REQUESTS = 429

logger = logging.getLogger(__name__)


class RateLimitGate:
    """Where the requests of a client pass, one by one or several at once, unless the limit is reached.

    When one of its threads is refused, all wait, so that the others are not refused in their turn.

    :param sleep: waits for a number of seconds.
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._opens_at = 0.0
        self._lock = Lock()

    def ask(self, request: Callable[[], Answer]) -> Answer:
        """Make a request, and where the rate limit is in the way, wait as the Hub says, and make it again.

        :raises HfHubHTTPError: with status 429 if it is refused even after ``MAX_WAIT_SECONDS``; with any
            other error of the request at once.
        """
        waited = 0.0
        while True:
            waited += self._wait_until_open()
            try:
                return request()
            except HfHubHTTPError as error:
                if error.response.status_code != _TOO_MANY_REQUESTS or waited >= MAX_WAIT_SECONDS:
                    raise
                self._close(_seconds_to_wait(error.response))

    def _wait_until_open(self) -> float:
        seconds = max(0.0, self._opens_at - time.monotonic())
        if seconds:
            self._sleep(seconds)
        return seconds

    def _close(self, seconds: float) -> None:
        now = time.monotonic()
        with self._lock:
            was_open = self._opens_at <= now
            self._opens_at = max(self._opens_at, now + seconds)
        if was_open:
            logger.info("The Hub's rate limit is reached: waiting for %.0f s, as it asks.", seconds)


def _seconds_to_wait(response: Response) -> float:
    # Up to a second more than a full one, by chance: else the same task would always be the last to wake.
    margin = 1.0 + random.random()  # noqa: S311 (no secret)
    limit = parse_ratelimit_headers(response.headers)
    if limit is not None:
        return limit.reset_in_seconds + margin
    retry_after = response.headers.get("Retry-After", "")
    return (float(retry_after) if retry_after.isdigit() else _DEFAULT_WAIT_SECONDS) + margin
