"""The gate that holds requests to the Hub back while the rate limit is reached."""

from __future__ import annotations

import pytest
from httpx2 import Request, Response
from huggingface_hub.errors import HfHubHTTPError

from include.databases.lease import STUCK_AFTER
from include.hub.rate_limit import MAX_WAIT_SECONDS, RateLimitGate
from include.hub.requests import REQUEST_DEADLINE_SECONDS


def refusal(headers: dict[str, str], status: int = 429) -> HfHubHTTPError:
    request = Request("GET", "http://hub")
    return HfHubHTTPError("refused", response=Response(status, headers=headers, request=request))


class Requests:
    """A request that fails with these errors, one each time, and is then answered."""

    def __init__(self, *errors: HfHubHTTPError) -> None:
        self.errors = list(errors)
        self.made = 0

    def __call__(self) -> str:
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"RateLimit": '"api";r=0;t=55'}, 55),
        ({"RateLimit": '"api";r=0;t=55', "Retry-After": "7"}, 55),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 10),
        ({}, 10),
    ],
)
def test_the_gate_waits_a_little_longer_than_the_hub_says(headers: dict[str, str], seconds: float) -> None:
    slept: list[float] = []
    request = Requests(refusal(headers))

    assert RateLimitGate(slept.append).ask(request) == "answer"

    [waited] = slept
    assert seconds + 0.9 < waited < seconds + 2
    assert request.made == 2


def test_the_gate_gives_up_at_once_if_the_hub_asks_it_to_wait_for_too_long() -> None:
    slept: list[float] = []
    request = Requests(refusal({"Retry-After": "86400"}))

    with pytest.raises(HfHubHTTPError):
        RateLimitGate(slept.append).ask(request)

    assert slept == []


def test_the_gate_gives_up_when_the_waits_add_up_to_eleven_minutes() -> None:
    slept: list[float] = []
    request = Requests(*[refusal({"Retry-After": "299"})] * 3)

    with pytest.raises(HfHubHTTPError):
        RateLimitGate(slept.append).ask(request)

    assert slept == [pytest.approx(300.5, abs=1)] * 2


def test_a_task_that_waits_for_the_rate_limit_keeps_its_lease() -> None:
    window = 300  # seconds, of the Hub's limit

    assert 2 * window < MAX_WAIT_SECONDS < STUCK_AFTER.total_seconds() - REQUEST_DEADLINE_SECONDS


def test_other_requests_wait_too() -> None:
    slept: list[float] = []
    gate = RateLimitGate(slept.append)
    gate.ask(Requests(refusal({"Retry-After": "60"})))
    other = Requests()

    assert gate.ask(other) == "answer"

    assert len(slept) == 2
    assert other.made == 1


def test_the_gate_does_not_wait_after_other_errors() -> None:
    request = Requests(refusal({"Retry-After": "60"}, status=503))

    with pytest.raises(HfHubHTTPError):
        RateLimitGate(lambda _: pytest.fail("slept")).ask(request)

    assert request.made == 1
