"""The Hub's rate limit: all threads of a client wait as long as the Hub says."""

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

#: The Hub counts requests in windows of 5 minutes. If many tasks share a token, the others may have used up
#: the next window too. Longer than 15 minutes would let the task lose its lease.
MAX_WAIT_SECONDS = 660.0
_DEFAULT_WAIT_SECONDS = 10.0
_TOO_MANY_REQUESTS = 429

logger = logging.getLogger(__name__)


class RateLimitGate:
    """Makes the requests of a client, and holds all of them back when the rate limit refuses one.

    Several threads may use it: if the Hub refuses one, it would refuse the others too.

    :param sleep: waits for a number of seconds.
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._opens_at = 0.0
        self._lock = Lock()

    def ask(self, request: Callable[[], Answer]) -> Answer:
        """Make a request. If the rate limit refuses it, wait as long as the Hub says, and try again.

        :raises HfHubHTTPError: with status 429, if it would have to wait longer than ``MAX_WAIT_SECONDS``;
            any other error of the request at once.
        """
        waited = 0.0
        while True:
            waited += self._wait_until_open()
            try:
                return request()
            except HfHubHTTPError as error:
                if error.response.status_code != _TOO_MANY_REQUESTS:
                    raise
                seconds = _seconds_to_wait(error.response)
                if waited + seconds > MAX_WAIT_SECONDS:
                    raise
                self._close(seconds)

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
            logger.info("The Hub's rate limit is reached: waiting %.0f s.", seconds)


def _seconds_to_wait(response: Response) -> float:
    limit = parse_ratelimit_headers(response.headers)
    retry_after = response.headers.get("Retry-After", "")
    if limit is not None:
        seconds = float(limit.reset_in_seconds)
    else:
        seconds = float(retry_after) if retry_after.isdigit() else _DEFAULT_WAIT_SECONDS
    # Add a random part of a second: otherwise the same task would always wake last.
    return seconds + 1.0 + random.random()  # noqa: S311 (no secret)
