"""The client of the Hugging Face Hub: which datasets are supported, and at which revision."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from httpx2 import HTTPError, Response
from huggingface_hub.errors import DisabledRepoError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import (
    build_hf_headers,
    get_session,
    hf_raise_for_status,
    http_backoff,
    validate_repo_id,
)

from include.errors import ConfigurationError, DatasetError, ServiceError
from include.hub.answers import ListedDataset, ListingPage, LostPlaceError, Support, Unsupported
from include.hub.block_list import BlockList
from include.hub.deadline import within
from include.hub.requests import (
    REQUEST_DEADLINE_SECONDS,
    REQUEST_TIMEOUT_SECONDS,
    HubRequests,
    first_line,
)
from include.hub.support import PROPERTIES, DatasetInfo, HubAnswer, SupportRules, has_paid_plan
from include.planning.processing_graph import Release

Answer = TypeVar("Answer")

#: The Hub's maximum.
DATASETS_PER_PAGE = 1_000

_FIRST_PAGE = urlencode({"expand": PROPERTIES, "limit": DATASETS_PER_PAGE}, doseq=True)
#: A page may be empty; this many in a row mean that the listing does not end.
MAX_EMPTY_PAGES = 10
#: The errors after which ``http_backoff`` requests a page again. It gives up on a rate limit (429) too soon.
_PASSING_ERRORS = (408, 500, 502, 503, 504)
#: So much of an answer is kept.
_ANSWER_CHARACTERS = 5_000
_PLACE_REFUSED = (400, 404, 410, 422)
#: A failed request, or an answer that is no JSON.
_NO_ANSWER = (HTTPError, ValueError, RecursionError)


class Hub:
    """Asks the Hub about datasets. Several threads may use it at the same time.

    :param endpoint: the Hub's address, for example ``https://huggingface.co``.
    :param token: an access token; without one, private datasets cannot be seen.
    :param release: the release of datasets-server whose rules decide which datasets are supported.
    :param blocked: the datasets that are not supported, whatever the Hub says.
    :param sleep: waits for a number of seconds.

    ``requests`` is the number of requests so far, refused ones included. A page of the listing that is
    requested again after an error of the Hub counts once.
    """

    def __init__(
        self,
        endpoint: str,
        token: str | None,
        release: Release,
        blocked: BlockList,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.endpoint = endpoint
        self.release = release
        self.blocked = blocked
        self.has_token = bool(token)
        self.requests = 0
        self._headers = build_hf_headers(token=token or False)
        self._rules = SupportRules(release, blocked)
        self._requests = HubRequests(endpoint, sleep)
        self._requests_lock = Lock()
        self._may_have_private_datasets = cache(self._ask_for_paid_plan)

    def check_token(self) -> None:
        """Check that the Hub accepts the token: with a revoked one, no answer about a dataset is right.

        :raises ConfigurationError: if the Hub refuses the token.
        :raises ServiceError: if the Hub cannot be reached, or fails.
        """
        if not self.has_token:
            return
        try:
            self._get("/api/whoami-v2").json()
        except _NO_ANSWER as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
                raise ConfigurationError(
                    f"The Hub at {self.endpoint} refuses the token: set a valid one as the password of the"
                    " Connection huggingface_hub."
                ) from error
            raise ServiceError(f"The Hub at {self.endpoint} does not answer: {first_line(error)}") from error

    def support(self, dataset: str) -> Support:
        """Ask the Hub whether a dataset is supported.

        :raises DatasetError: if the Hub does not answer clearly.
        :raises HubUnavailableError: if the Hub fails all the time.
        """
        return self.look_up(dataset).support

    def look_up(self, dataset: str) -> HubAnswer:
        """Ask as :meth:`support`, and return what the Hub says about the dataset too.

        :raises DatasetError: if the Hub does not answer clearly.
        :raises HubUnavailableError: if the Hub fails all the time.
        """
        try:
            answer = self._ask_about(dataset)
            if isinstance(answer, Unsupported):
                return HubAnswer(answer, None)
            info = DatasetInfo.read(answer.json())
            support = self._rules.judge(dataset, info, self._may_have_private_datasets)
            if isinstance(support, Unsupported):
                support = replace(support, answer=_as_text(answer))
            return HubAnswer(support, info)
        except _NO_ANSWER as error:
            raise DatasetError(f"the Hub did not answer: {first_line(error)}") from error

    def _ask_about(self, dataset: str) -> Response | Unsupported:
        validate_repo_id(dataset)
        try:
            return self._get(f"/api/datasets/{dataset}", {"expand": PROPERTIES})
        except HfHubHTTPError as error:
            if unsupported := self._meaning_of_refusal(error):
                return replace(unsupported, answer=_as_text(error.response))
            raise

    def _meaning_of_refusal(self, error: HfHubHTTPError) -> Unsupported | None:
        """Return that a dataset is unsupported, if the Hub says so by refusing the request.

        ``huggingface_hub`` also treats a 401, as with an expired token or a proxy, as an unknown dataset.
        """
        status = error.response.status_code
        if isinstance(error, DisabledRepoError) and status == 403:
            return Unsupported("it is disabled on the Hub")
        if isinstance(error, RepositoryNotFoundError) and status in (401, 404) and not self.has_token:
            raise DatasetError(
                "the Hub does not find it, but without a token a private dataset looks the same: set a token"
                " as the password of the Connection huggingface_hub"
            ) from error
        if isinstance(error, RepositoryNotFoundError) and status == 404:
            return Unsupported("it is not found on the Hub", not_found=True)
        return None

    def _ask_for_paid_plan(self, author: str) -> bool:
        return has_paid_plan(self._get("/api/whoisthis", {"name": author}).json(), self.release)

    def listing(self, place: str | None = None) -> Iterator[ListingPage]:
        """List all datasets of the Hub that the token can see, page by page.

        :param place: the ``next_place`` of an earlier page, to continue after it; None for the first page.
        :raises LostPlaceError: if the Hub no longer knows the place.
        :raises ServiceError: if the Hub fails on the way, or its listing does not end.
        """
        next_place: str | None = place or _FIRST_PAGE
        seen = set()
        empty_pages = 0
        while next_place is not None:
            if next_place in seen:
                raise ServiceError(f"The listing of the Hub at {self.endpoint} goes in circles.")
            if empty_pages == MAX_EMPTY_PAGES:
                raise ServiceError(f"The listing of the Hub at {self.endpoint} has only empty pages.")
            page = self._listing_page(next_place)
            yield page
            seen.add(next_place)
            empty_pages = 0 if page.datasets else empty_pages + 1
            next_place = page.next_place

    def _listing_page(self, place: str) -> ListingPage:
        try:
            response = self._ask(lambda: self._request_page(place))
            return ListingPage([self._listed(item) for item in _items(response)], _next_place(response))
        except (*_NO_ANSWER, TypeError, KeyError) as error:
            refused = isinstance(error, HfHubHTTPError) and error.response.status_code in _PLACE_REFUSED
            if refused and place != _FIRST_PAGE:
                raise LostPlaceError(
                    f"The Hub at {self.endpoint} no longer knows a place in its listing"
                ) from error
            raise ServiceError(
                f"The Hub at {self.endpoint} does not list its datasets: {first_line(error)}"
            ) from error

    def _request_page(self, place: str) -> Response:
        response = http_backoff(
            "GET",
            f"{self.endpoint}/api/datasets?{place}",
            headers=self._headers,
            timeout=REQUEST_TIMEOUT_SECONDS,
            retry_on_status_codes=_PASSING_ERRORS,
        )
        hf_raise_for_status(response)
        return response

    def _listed(self, item: Mapping[str, object]) -> ListedDataset:
        try:
            info = DatasetInfo.read(item)
        except DatasetError:
            # One malformed item must not end the listing: the Hub is asked about this dataset.
            return ListedDataset(str(item["id"]), None)
        return ListedDataset(info.name, self._rules.proven_revision(info))

    def _get(self, path: str, parameters: Mapping[str, str | Sequence[str]] | None = None) -> Response:
        def request() -> Response:
            response = get_session().get(
                f"{self.endpoint}{path}",
                params=parameters,
                headers=self._headers,
                timeout=REQUEST_TIMEOUT_SECONDS,
            )
            self._count_requests(len(response.history))  # The redirects from an old name.
            hf_raise_for_status(response)
            return response

        return self._ask(request)

    def _ask(self, request: Callable[[], Answer]) -> Answer:
        def counted() -> Answer:
            self._count_requests(1)
            return within(REQUEST_DEADLINE_SECONDS, request)

        return self._requests.make(counted)

    def _count_requests(self, number: int) -> None:
        with self._requests_lock:
            self.requests += number


def _items(page: Response) -> list[Any]:
    items = page.json()
    if not isinstance(items, list):
        raise TypeError(f"the type of a page is {type(items).__name__}, not list")
    return items


def _next_place(response: Response) -> str | None:
    """Return the query of the next page's address, without the host: only the endpoint may get the token."""
    address = response.links.get("next", {}).get("url")
    return urlsplit(address).query or _FIRST_PAGE if address else None


def _as_text(response: Response) -> str:
    """Return the status and the text of an answer, and the Hub's own words about an error."""
    parts = (str(response.status_code), response.headers.get("X-Error-Message"), response.text)
    return " ".join(part for part in parts if part)[:_ANSWER_CHARACTERS]
