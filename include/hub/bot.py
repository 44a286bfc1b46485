"""The bot that opens discussions on the Hub, at most one on each dataset."""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from enum import StrEnum
from functools import partial
from operator import attrgetter
from typing import TypeVar

from httpx2 import Client, HTTPError
from huggingface_hub import Discussion, HfApi
from huggingface_hub.errors import DisabledRepoError, HfHubHTTPError
from huggingface_hub.utils import set_client_factory

from include.errors import ConfigurationError, DatasetError, ServiceError
from include.hub.deadline import within
from include.hub.requests import (
    REQUEST_DEADLINE_SECONDS,
    REQUEST_TIMEOUT_SECONDS,
    HubRequests,
    first_line,
)

Answer = TypeVar("Answer")

# A failed request, a name that the Hub cannot have, or a malformed answer.
_NO_CLEAR_ANSWER = (HTTPError, ValueError, TypeError, KeyError, AttributeError)


class Opening(StrEnum):
    """The result of opening a discussion; from ``NO_DISCUSSIONS`` on, why none could be opened."""

    OPENED = "opened"
    OPENED_BEFORE = "opened before"
    NO_DISCUSSIONS = "discussions disabled"
    DISABLED = "disabled"
    GONE = "gone"
    FORBIDDEN = "forbidden"
    RENAMED = "renamed"


class HubBot:
    """Opens discussions as a bot. Several threads may use it at the same time.

    The Hub is the record of what the bot has done. The bot asks the Hub before each attempt, and again if an
    answer is lost. So it can be killed at any point, and simply start again.

    :param endpoint: the Hub's address, for example ``https://huggingface.co``.
    :param name: the bot's user name.
    :param token: the bot's access token, with the right to write.
    :param sleep: waits for a number of seconds.
    :param timeout: for each request, in seconds. It applies to all requests of this process to the Hub that
        set no other, because ``huggingface_hub`` has one client for a process.
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
        self._requests = HubRequests(endpoint, sleep)
        set_client_factory(partial(Client, follow_redirects=True, timeout=timeout))

    def check_token(self) -> None:
        """Check that the token is the bot's, and has the right to write.

        :raises ConfigurationError: if not: the bot would not find the discussions of another user again.
        :raises ServiceError: if the Hub cannot be reached, or fails.
        """
        try:
            user = self._requests.make(lambda: _in_time(self._api.whoami))
            name = user["name"]
            role = user.get("auth", {}).get("accessToken", {}).get("role")
        except _NO_CLEAR_ANSWER as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
                raise ConfigurationError(
                    f"The Hub at {self.endpoint} refuses the bot's token: set a valid one as the password of"
                    " the Connection huggingface_hub_bot."
                ) from error
            raise ServiceError(f"The Hub at {self.endpoint} does not answer: {first_line(error)}") from error
        if name != self.name:
            raise ConfigurationError(
                f"The token in the Connection huggingface_hub_bot belongs to {name!r}, but the login"
                f" is {self.name!r}: set the name and the token of the same user."
            )
        if role == "read":
            raise ConfigurationError(
                "The token in the Connection huggingface_hub_bot is read-only: set one that can write."
            )

    def open_discussion(
        self,
        dataset: str,
        title: str,
        text: str,
        *,
        dry_run: bool = False,
        check_right: Callable[[], None] = lambda: None,
    ) -> Opening:
        """Open a discussion on a dataset, unless the bot has opened one, or a pull request, there before.

        A dry run asks the Hub the same questions, and opens nothing. If another process opens one for the bot
        at the same time, both close all but the first of them.

        :param check_right: called last of all before the discussion is opened; raises an error to prevent it.
        :raises DatasetError: if the Hub does not answer clearly. The discussion may be open or not: the next
            call asks first.
        :raises HubUnavailableError: if the Hub fails all the time, or its rate limit does not end.
        """
        try:
            return self._open(dataset, title, text, None if dry_run else check_right)
        except _NO_CLEAR_ANSWER as error:
            if isinstance(error, HfHubHTTPError) and (reason := _reason_to_pass_over(error)):
                return reason
            raise DatasetError(f"the Hub did not answer: {first_line(error)}") from error

    def _open(self, dataset: str, title: str, text: str, check_right: Callable[[], None] | None) -> Opening:
        """Open a discussion; without ``check_right``, only ask."""
        tried = False
        created: set[int] = set()

        def attempt() -> Opening:
            # The rate limit may refuse the second of the two requests that create a discussion, so each
            # attempt first asks whether it is there.
            nonlocal tried
            if self._opened(dataset):
                return self._settled(dataset, title, created) if tried else Opening.OPENED_BEFORE
            if reason := self._reason_against(dataset):
                return reason
            if check_right is None:
                return Opening.OPENED
            check_right()
            tried = True
            created.add(self._create(dataset, title, text))
            return self._settled(dataset, title, created)

        try:
            return self._requests.make(attempt)
        except _NO_CLEAR_ANSWER:
            # The discussion may be there although the answer is lost.
            if tried and self._requests.make(lambda: self._opened(dataset)):
                return self._requests.make(lambda: self._settled(dataset, title, created))
            raise

    def _create(self, dataset: str, title: str, text: str) -> int:
        created = _in_time(
            lambda: self._api.create_discussion(dataset, title, description=text, repo_type="dataset")
        )
        return created.num

    def _settled(self, dataset: str, title: str, created: Set[int]) -> Opening:
        """Close the bot's discussions with this title but for the first, which may not be in ``created``."""
        same = [each for each in self._opened(dataset) if each.title == title and not each.is_pull_request]
        later = sorted(same, key=attrgetter("num"))[1:]
        for each in later:
            if each.status == "open":
                self._close(dataset, each.num)
        return Opening.OPENED_BEFORE if created & {each.num for each in later} else Opening.OPENED

    def _close(self, dataset: str, number: int) -> None:
        _in_time(lambda: self._api.change_discussion_status(dataset, number, "closed", repo_type="dataset"))

    def _opened(self, dataset: str) -> list[Discussion]:
        """Return what the bot has written to the owner of a dataset: discussions, and pull requests."""
        discussions = self._api.get_repo_discussions(
            dataset, author=self.name, discussion_status="all", repo_type="dataset"
        )
        return _in_time(lambda: [found for found in discussions if found.author == self.name])

    def _reason_against(self, dataset: str) -> Opening | None:
        info = _in_time(lambda: self._api.dataset_info(dataset, expand=["disabled"]))
        if info.disabled:
            return Opening.DISABLED
        # The Hub redirects from an old name: a dataset with two names would get two discussions.
        return Opening.RENAMED if info.id != dataset else None


def _in_time(request: Callable[[], Answer]) -> Answer:
    # Each request has a deadline, not the attempt: an attempt left behind could still open a discussion.
    return within(REQUEST_DEADLINE_SECONDS, request)


def _reason_to_pass_over(error: HfHubHTTPError) -> Opening | None:
    if isinstance(error, DisabledRepoError):
        return Opening.DISABLED
    message = error.response.headers.get("X-Error-Message", "").lower()
    if "discussions" in message and "disabled" in message:
        return Opening.NO_DISCUSSIONS
    # Only by the status: huggingface_hub treats a 401, as with a revoked token, as an unknown dataset.
    return {403: Opening.FORBIDDEN, 404: Opening.GONE, 410: Opening.GONE}.get(error.response.status_code)
