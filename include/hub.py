"""The Hugging Face Hub: which datasets are supported, and at which revision.

The only place that knows ``huggingface_hub``. The README's section "Is a dataset supported?" has the rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from threading import Lock
from typing import Literal, TypeVar

from httpx2 import HTTPError
from huggingface_hub import DatasetInfo, HfApi
from huggingface_hub.errors import DisabledRepoError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import ExpandDatasetProperty_T
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import get_session, hf_raise_for_status

from include.errors import ConfigurationError, DatasetError, ServiceError
from include.processing_graph import Release
from include.rate_limit import RateLimitGate

Answer = TypeVar("Answer")

REQUEST_TIMEOUT_SECONDS = 30.0

_PROPERTIES: list[ExpandDatasetProperty_T] = ["author", "cardData", "disabled", "private", "sha", "tags"]


@dataclass(frozen=True, slots=True)
class Supported:
    """The Hub has the dataset, at this revision (a git sha), and it is to be served."""

    revision: str


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The dataset is to be removed, because of this."""

    reason: str


Support = Supported | Unsupported


@dataclass(frozen=True, slots=True)
class ListedDataset:
    """A dataset in the Hub's listing.

    ``revision`` is None if the listing alone does not prove that the dataset is supported.
    """

    name: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class BlockList:
    """The datasets that are not to be served, by name or by ``namespace/pattern`` with shell wildcards."""

    patterns: tuple[str, ...] = ()

    @classmethod
    def parse(cls, patterns: Iterable[str]) -> BlockList:
        """Check the patterns.

        :raises ConfigurationError: for a wildcard before the slash, more slashes, or an empty part.
        """
        checked = tuple(pattern.strip() for pattern in patterns)
        for pattern in checked:
            namespace, *rest = pattern.split("/")
            if len(rest) > 1 or "" in (namespace, *rest) or any(sign in namespace for sign in "*?["):
                raise ConfigurationError(
                    f"The block list holds {pattern!r}: write a name, or namespace/pattern with"
                    " wildcards (*, ?, [...]) after the slash only."
                )
        return cls(checked)

    def blocks(self, dataset: str) -> bool:
        """Tell whether a dataset is on the list."""
        return any(fnmatchcase(dataset, pattern) for pattern in self.patterns)


class Hub:
    """Asks the Hub about datasets. May be used by several threads at once.

    :param endpoint: its address, for example ``https://huggingface.co``.
    :param token: an access token; None asks without one, and sees no private dataset.
    :param release: the release of datasets-server, whose rules hold.
    :param blocked: the datasets that are unsupported whatever the Hub says.
    :param sleep: waits for a number of seconds.

    ``requests`` counts the requests so far, those for the listing excepted.
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
        self._release = release
        self.blocked = blocked
        self._gate = RateLimitGate(sleep)
        self.requests = 0
        self._requests_lock = Lock()
        self._may_have_private_datasets = cache(self._ask_for_paid_plan)

    @property
    def has_token(self) -> bool:
        """Whether it asks with a token."""
        return bool(self._token)

    def check_token(self) -> None:
        """Make sure that the Hub knows the token: with a revoked one, datasets would look deleted.

        :raises ConfigurationError: if it does not.
        :raises ServiceError: if the Hub cannot be asked.
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
            return self._judge(dataset, info)
        except DisabledRepoError:
            return Unsupported("it is disabled on the Hub")
        except RepositoryNotFoundError:
            return Unsupported("it is not found on the Hub")
        except (HTTPError, ValueError, TypeError, KeyError, AttributeError) as error:
            # Not only a failed request: a name that the Hub cannot have, or an answer that makes no sense.
            raise DatasetError(f"the Hub gives no answer: {first_line(error)}") from error

    def listing(self) -> Iterator[ListedDataset]:
        """List all datasets of the Hub that the token can see.

        :raises ServiceError: if the Hub stops to answer on the way.
        """
        try:
            for info in self._api.list_datasets(expand=_PROPERTIES):
                yield ListedDataset(info.id, info.sha if self._is_proven_supported(info) else None)
        except HTTPError as error:
            raise ServiceError(
                f"The Hub at {self.endpoint} does not list its datasets: {first_line(error)}"
            ) from error

    def _judge(self, dataset: str, info: DatasetInfo) -> Support:
        if info.disabled:
            return Unsupported("it is disabled on the Hub")
        if not info.sha:
            raise DatasetError("the Hub tells no revision of it")
        if info.private and not self._may_have_private_datasets(info.author or dataset.split("/")[0]):
            return Unsupported("it is private, and its author is neither PRO nor Enterprise")
        if reason := self._reason_against(dataset, info):
            return Unsupported(reason)
        return Supported(info.sha)

    def _reason_against(self, dataset: str, info: DatasetInfo) -> str | None:
        if not info.private and (tags := self._release.unsupported_tags.intersection(info.tags or ())):
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
        if self._release.tells_enterprise_by_plan:
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
            with self._requests_lock:
                self.requests += 1
            return request()

        return self._gate.ask(counted)


def first_line(error: Exception) -> str:
    """Give the first line of what an error says: the client's messages have several."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
