"""The client of the Hugging Face Hub: which datasets are supported, and at which revision.

The README's section "Is a dataset supported?" has the rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache
from threading import Lock
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode, urlsplit

from httpx2 import HTTPError, Response
from huggingface_hub import DatasetInfo, HfApi
from huggingface_hub.errors import DisabledRepoError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import ExpandDatasetProperty_T
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status, http_backoff

from include.errors import ConfigurationError, DatasetError, ServiceError
from include.hub.answers import ListedDataset, ListingPage, Support, Supported, Unsupported
from include.hub.block_list import BlockList
from include.hub.rate_limit import RateLimitGate
from include.planning.processing_graph import Release

Answer = TypeVar("Answer")

REQUEST_TIMEOUT_SECONDS = 30.0
#: The Hub's maximum.
DATASETS_PER_PAGE = 1_000

_PROPERTIES: list[ExpandDatasetProperty_T] = ["author", "cardData", "disabled", "private", "sha", "tags"]
_FIRST_PAGE = urlencode({"expand": _PROPERTIES, "limit": DATASETS_PER_PAGE}, doseq=True)
#: A page may be empty; this many in a row mean that the listing does not end.
MAX_EMPTY_PAGES = 10
#: The errors after which ``http_backoff`` requests a page again. It gives up on a rate limit (429) too soon.
_PASSING_ERRORS = (408, 500, 502, 503, 504)
_PLACE_REFUSED = (400, 404, 410, 422)


class LostPlaceError(ServiceError):
    """The Hub no longer knows a place in its listing: list it from the beginning."""


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
        self._token: str | Literal[False] = token or False
        self._api = HfApi(endpoint=endpoint, token=self._token)
        self.release = release
        self.blocked = blocked
        self._gate = RateLimitGate(sleep)
        self.requests = 0
        self._requests_lock = Lock()
        self._may_have_private_datasets = cache(self._ask_for_paid_plan)

    @property
    def has_token(self) -> bool:
        """Whether its requests have a token."""
        return bool(self._token)

    def check_token(self) -> None:
        """Check that the Hub accepts the token: with a revoked one, datasets would look deleted.

        :raises ConfigurationError: if the Hub refuses the token.
        :raises ServiceError: if the Hub cannot be reached, or fails.
        """
        if not self._token:
            return
        try:
            self._ask(self._api.whoami)
        except HfHubHTTPError as error:
            if error.response.status_code in (401, 403):
                raise ConfigurationError(
                    f"The Hub at {self.endpoint} refuses the token: set a valid one as the password of the"
                    " connection huggingface_hub."
                ) from error
            raise ServiceError(f"The Hub at {self.endpoint} does not answer: {error}") from error
        except HTTPError as error:
            raise ServiceError(f"The Hub at {self.endpoint} cannot be reached: {error}") from error

    def support(self, dataset: str) -> Support:
        """Ask the Hub whether a dataset is supported.

        :raises DatasetError: if the Hub gives no clear answer.
        """
        try:
            info = self._ask(
                lambda: self._api.dataset_info(dataset, timeout=REQUEST_TIMEOUT_SECONDS, expand=_PROPERTIES)
            )
            if info.id != dataset:
                self._count_request()  # the client has followed a redirect from an old name
            return self._judge(dataset, info)
        except (HTTPError, ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, HfHubHTTPError) and (reason := self._reason_of_refusal(error)):
                return Unsupported(reason)
            # Besides a failed request: a name that the Hub cannot have, or a malformed answer.
            raise DatasetError(f"the Hub gives no answer: {first_line(error)}") from error

    def _reason_of_refusal(self, error: HfHubHTTPError) -> str | None:
        """Return why a dataset is unsupported, if the Hub refuses it for a reason and not by mistake.

        ``huggingface_hub`` takes a 401, which an expired token or a proxy may cause, for an unknown dataset.
        """
        status = error.response.status_code
        if isinstance(error, DisabledRepoError) and status == 403:
            return "it is disabled on the Hub"
        if isinstance(error, RepositoryNotFoundError) and status in (401, 404) and not self._token:
            raise DatasetError(
                "the Hub does not find it, but without a token a private dataset looks the same: set a token"
                " as the password of the Connection huggingface_hub"
            ) from error
        if isinstance(error, RepositoryNotFoundError) and status == 404:
            return "it is not found on the Hub"
        return None

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
            response = self._ask(lambda: self._get_listing(place))
            return ListingPage([self._listed(item) for item in response.json()], _next_place(response))
        except (HTTPError, ValueError, TypeError, KeyError) as error:
            refused = isinstance(error, HfHubHTTPError) and error.response.status_code in _PLACE_REFUSED
            if refused and place != _FIRST_PAGE:
                raise LostPlaceError(
                    f"The Hub at {self.endpoint} no longer knows a place in its listing"
                ) from error
            raise ServiceError(
                f"The Hub at {self.endpoint} does not list its datasets: {first_line(error)}"
            ) from error

    def _get_listing(self, query: str) -> Response:
        response = http_backoff(
            "GET",
            f"{self.endpoint}/api/datasets?{query}",
            headers=build_hf_headers(token=self._token),
            timeout=REQUEST_TIMEOUT_SECONDS,
            retry_on_status_codes=_PASSING_ERRORS,
        )
        hf_raise_for_status(response)
        return response

    def _listed(self, item: dict[str, Any]) -> ListedDataset:
        try:
            info = DatasetInfo(**item)  # type: ignore[no-untyped-call]
            is_proven = self._is_proven_supported(info)
        except (TypeError, ValueError, AttributeError):
            # One malformed card must not end the listing: the Hub is asked about this dataset.
            return ListedDataset(item["id"], None)
        return ListedDataset(info.id, info.sha or None if is_proven else None)

    def _judge(self, dataset: str, info: DatasetInfo) -> Support:
        if info.disabled:
            return Unsupported("it is disabled on the Hub")
        if not info.sha:
            raise DatasetError("the Hub gives no revision")
        if info.private and not self._may_have_private_datasets(info.author or dataset.split("/")[0]):
            return Unsupported("it is private, and its author is neither PRO nor Enterprise")
        if reason := self._reason_against(dataset, info):
            return Unsupported(reason)
        return Supported(info.sha)

    def _reason_against(self, dataset: str, info: DatasetInfo) -> str | None:
        if not info.private and (tags := self.release.unsupported_tags.intersection(info.tags or ())):
            return f"it is tagged {', '.join(sorted(tags))}"
        if getattr(info.card_data, "viewer", None) is False:
            return "its card turns the viewer off"
        if self.blocked.blocks(dataset):
            return "it is on the block list"
        return None

    def _is_proven_supported(self, info: DatasetInfo) -> bool:
        return not info.private and not info.disabled and self._reason_against(info.id, info) is None

    def _ask_for_paid_plan(self, author: str) -> bool:
        answer = self._ask(lambda: self._who_is(author))
        if self.release.tells_enterprise_by_plan:
            return bool(answer.get("isPro")) or answer.get("plan") is not None
        return bool(answer.get("isPro")) or bool(answer.get("isEnterprise"))

    def _who_is(self, name: str) -> dict[str, object]:
        response = get_session().get(
            f"{self.endpoint}/api/whoisthis",
            params={"name": name},
            headers=build_hf_headers(token=self._token),
            timeout=REQUEST_TIMEOUT_SECONDS,
        )
        hf_raise_for_status(response)
        answer = response.json()
        return answer if isinstance(answer, dict) else {}

    def _ask(self, request: Callable[[], Answer]) -> Answer:
        def counted() -> Answer:
            self._count_request()
            return request()

        return self._gate.ask(counted)

    def _count_request(self) -> None:
        with self._requests_lock:
            self.requests += 1


def _next_place(response: Response) -> str | None:
    """Return the query of the next page's address, without the host: only the endpoint may get the token."""
    address = response.links.get("next", {}).get("url")
    return urlsplit(address).query if address else None


def first_line(error: Exception) -> str:
    """Return the first line of an error's message: those of ``huggingface_hub`` have several."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
