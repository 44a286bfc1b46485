"""Requests to a Hub that fails: each failure is an error of its own, until there are too many in a row."""

from __future__ import annotations

import pytest
from httpx2 import ConnectError, HTTPError, Request, Response
from huggingface_hub.errors import HfHubHTTPError

from include.hub.requests import FAILURES_IN_A_ROW, HubRequests, HubUnavailableError


def status(code: int) -> HfHubHTTPError:
    response = Response(code, request=Request("GET", "http://hub"))
    return HfHubHTTPError(f"{code} for the url http://hub", response=response)


def failing(error: Exception) -> str:
    raise error


def fail(requests: HubRequests, error: HTTPError, times: int) -> None:
    for _ in range(times):
        with pytest.raises(type(error)):
            requests.make(lambda: failing(error))


@pytest.fixture
def requests() -> HubRequests:
    return HubRequests("http://hub", sleep=lambda _: None)


def test_a_request_returns_its_answer(requests: HubRequests) -> None:
    assert requests.make(lambda: "answer") == "answer"


@pytest.mark.parametrize("error", [status(500), status(503), ConnectError("refused")], ids=repr)
def test_many_failures_in_a_row_mean_that_the_hub_is_unavailable(
    requests: HubRequests, error: HTTPError
) -> None:
    fail(requests, error, FAILURES_IN_A_ROW - 1)

    with pytest.raises(HubUnavailableError) as unavailable:
        requests.make(lambda: failing(error))

    assert str(unavailable.value) == (
        f"The Hub at http://hub has failed {FAILURES_IN_A_ROW} times in a row, the last time with: {error}"
    )


def test_an_unavailable_hub_gets_no_more_requests(requests: HubRequests) -> None:
    fail(requests, status(503), FAILURES_IN_A_ROW - 1)
    with pytest.raises(HubUnavailableError):
        requests.make(lambda: failing(status(503)))

    with pytest.raises(HubUnavailableError, match="times in a row"):
        requests.make(lambda: pytest.fail("requested"))


@pytest.mark.parametrize("code", [None, 401, 403, 404])
def test_an_answer_ends_the_row_of_failures(requests: HubRequests, code: int | None) -> None:
    for _ in range(3):
        fail(requests, status(503), FAILURES_IN_A_ROW - 1)
        if code is None:
            requests.make(lambda: "answer")
        else:
            fail(requests, status(code), 1)


def test_a_rate_limit_that_does_not_end_means_that_the_hub_is_unavailable(requests: HubRequests) -> None:
    with pytest.raises(
        HubUnavailableError, match=r"^The rate limit of the Hub at http://hub does not end: 429"
    ):
        requests.make(lambda: failing(status(429)))

    with pytest.raises(HubUnavailableError, match="does not end"):
        requests.make(lambda: pytest.fail("requested"))
