"""The bot that opens discussions on the Hub: at most one on each dataset."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial

from httpx2 import Client, HTTPError
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import set_client_factory

from include.errors import ConfigurationError, DatasetError, ServiceError
from include.hub.client import REQUEST_TIMEOUT_SECONDS, first_line
from include.hub.rate_limit import RateLimitGate

# A failed request, a name that the Hub cannot have, or an answer that makes no sense.
_NO_CLEAR_ANSWER = (HTTPError, ValueError, TypeError, KeyError, AttributeError)


class Opening(StrEnum):
    """How it ended that a discussion was to be opened; from ``NO_DISCUSSIONS`` on, why it could not be."""

    OPENED = "opened"
    OPENED_BEFORE = "opened before"
    NO_DISCUSSIONS = "discussions disabled"
    DISABLED = "disabled"
    GONE = "gone"
    FORBIDDEN = "forbidden"
    RENAMED = "renamed"


class HubBot:
    """Opens discussions in the name of a bot. May be used by several threads at once.

    The Hub itself is the record of what the bot has done: it is asked before each attempt, and once more
    where an answer is lost. So a bot that was killed at any point may start over.

    :param endpoint: the Hub's address, for example ``https://huggingface.co``.
    :param name: the bot's user name.
    :param token: its access token, which may write.
    :param sleep: waits for a number of seconds.
    :param timeout: for each request, in seconds. It then holds for all of this process's requests to the Hub
        that set none of their own, because the client library has no other way.
    """

    def __init__(
        self,
        endpoint: str,
        name: str,
        token: str,
        sleep: Callable[[float], None] = time.sleep,
        timeout: float = REQUEST_TIMEOUT_SECONDS,
    ) -> None:
        self.endpoint = endpoint
        self.name = name
        self._api = HfApi(endpoint=endpoint, token=token)
        self._gate = RateLimitGate(sleep)
        set_client_factory(partial(Client, follow_redirects=True, timeout=timeout))

    def check_token(self) -> None:
        """Make sure that the token is the bot's, and may write.

        :raises ConfigurationError: if it is not: discussions by somebody else would not be found again.
        :raises ServiceError: if the Hub cannot be asked.
        """
        try:
            user = self._gate.ask(self._api.whoami)
        except HTTPError as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
                raise ConfigurationError(
                    f"The Hub at {self.endpoint} refuses the bot's token: set a valid one as the password of"
                    " the Connection huggingface_hub_bot."
                ) from error
            raise ServiceError(f"The Hub at {self.endpoint} does not answer: {first_line(error)}") from error
        if user["name"] != self.name:
            raise ConfigurationError(
                f"The token in the Connection huggingface_hub_bot is that of {user['name']!r}, but its login"
                f" is {self.name!r}: set the name and the token of the same user."
            )
        if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise ConfigurationError(
                "The token in the Connection huggingface_hub_bot may only read: set one that may write."
            )

    def open_discussion(self, dataset: str, title: str, text: str, *, dry_run: bool = False) -> Opening:
        """Open a discussion on a dataset, unless the bot has ever opened one there, open or closed.

        In a dry run everything is asked, and nothing is opened.

        :raises DatasetError: if the Hub gives no clear answer. Whether a discussion was opened may then be
            unknown, so that nothing more is tried: the next call asks first.
        :raises ServiceError: if the Hub's rate limit does not end.
        """
        try:
            return self._open(dataset, title, text, dry_run=dry_run)
        except _NO_CLEAR_ANSWER as error:
            if isinstance(error, HfHubHTTPError):
                if reason := _reason_to_pass_over(error):
                    return reason
                if error.response.status_code == 429:
                    raise ServiceError(
                        f"The rate limit of the Hub at {self.endpoint} does not end: {first_line(error)}"
                    ) from error
            raise DatasetError(f"the Hub gives no answer: {first_line(error)}") from error

    def _open(self, dataset: str, title: str, text: str, *, dry_run: bool) -> Opening:
        tried = False

        def attempt() -> Opening:
            # A rate limit may also cut off the second of the two requests that create a discussion, so each
            # attempt begins with the question.
            nonlocal tried
            if self._has_opened(dataset):
                return Opening.OPENED if tried else Opening.OPENED_BEFORE
            if reason := self._reason_against(dataset):
                return reason
            if not dry_run:
                tried = True
                self._api.create_discussion(dataset, title, description=text, repo_type="dataset")
            return Opening.OPENED

        try:
            return self._gate.ask(attempt)
        except _NO_CLEAR_ANSWER:
            # The answer may be lost while the discussion is there.
            if tried and self._gate.ask(lambda: self._has_opened(dataset)):
                return Opening.OPENED
            raise

    def _has_opened(self, dataset: str) -> bool:
        discussions = self._api.get_repo_discussions(
            dataset,
            author=self.name,
            discussion_type="discussion",
            discussion_status="all",
            repo_type="dataset",
        )
        return any(found.author == self.name and not found.is_pull_request for found in discussions)

    def _reason_against(self, dataset: str) -> Opening | None:
        info = self._api.dataset_info(dataset, expand=["disabled"])
        if info.disabled:
            return Opening.DISABLED
        # The Hub redirects from an old name, and two names at once would get two discussions.
        return Opening.RENAMED if info.id != dataset else None


def _reason_to_pass_over(error: HfHubHTTPError) -> Opening | None:
    message = error.response.headers.get("X-Error-Message", "").lower()
    match error:
        case DisabledRepoError():
            return Opening.DISABLED
        case GatedRepoError():
            return Opening.FORBIDDEN
        case RepositoryNotFoundError():
            return Opening.GONE
    if "discussions" in message and "disabled" in message:
        return Opening.NO_DISCUSSIONS
    return {403: Opening.FORBIDDEN, 404: Opening.GONE, 410: Opening.GONE}.get(error.response.status_code)
