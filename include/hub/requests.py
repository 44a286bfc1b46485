"""Requests to the Hub, and when to stop making them."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from httpx2 import HTTPError
from huggingface_hub.errors import HfHubHTTPError

from include.errors import ServiceError
from include.hub.rate_limit import RateLimitGate

Answer = TypeVar("Answer")

#: For each step of a request, such as connecting or reading some bytes.
REQUEST_TIMEOUT_SECONDS = 30.0
#: For a whole request. A page of the listing has megabytes, and may be requested several times.
REQUEST_DEADLINE_SECONDS = 120.0
#: After this many failures, the Hub fails, not a few of its datasets.
FAILURES_IN_A_ROW = 20

_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


class HubUnavailableError(ServiceError):
    """The Hub fails all the time: do not ask about more datasets now."""


class HubRequests:
    """Makes requests to a Hub until it turns out to be unavailable. Several threads may use it.

    :param endpoint: the Hub's address.
    :param sleep: waits for a number of seconds.
    """

    def __init__(self, endpoint: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._endpoint = endpoint
        self._gate = RateLimitGate(sleep)
        self._failures = 0
        self._unavailable: str | None = None
        self._lock = Lock()

    def make(self, request: Callable[[], Answer]) -> Answer:
        """Make a request, and return its answer. If the rate limit refuses it, wait and try again.

        :raises HTTPError: if the request fails.
        :raises HubUnavailableError: if ``FAILURES_IN_A_ROW`` requests have failed, or the rate limit does not
            end; from then on, for every request.
        """
        if self._unavailable is not None:
            raise HubUnavailableError(self._unavailable)
        try:
            answer = self._gate.ask(request)
        except HTTPError as error:
            self._count(error)
            if self._unavailable is not None:
                raise HubUnavailableError(self._unavailable) from error
            raise
        self._failures = 0
        return answer

    def _count(self, error: HTTPError) -> None:
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        with self._lock:
            failed = status is None or status >= _SERVER_ERROR
            self._failures = self._failures + 1 if failed else 0
            if status == _TOO_MANY_REQUESTS:
                self._unavailable = (
                    f"The rate limit of the Hub at {self._endpoint} does not end: {first_line(error)}"
                )
            elif self._failures >= FAILURES_IN_A_ROW:
                self._unavailable = (
                    f"The Hub at {self._endpoint} has failed {self._failures} times in a row, the last time"
                    f" with: {first_line(error)}"
                )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message: those of ``huggingface_hub`` have several."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
