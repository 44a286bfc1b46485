"""The Hub as the console asks it: by one client for all pages, which leaves the rate limit to the DAGs."""

from __future__ import annotations

from threading import Lock
from typing import Any

from cachetools import TTLCache

from datasets_server import settings
from datasets_server.hooks.hub import HubHook
from include.console.dataset import HubView, ask_hub, no_waiting
from include.errors import ConfigurationError
from include.hub.client import Hub

#: For so long, a client is used, with what it has learned of the authors, and of a Hub that fails: as long as
#: a window in which the Hub counts requests.
_WINDOW_SECONDS = 300
#: In a window, in each process of the API server. Each page of a dataset takes one or two.
MOST_REQUESTS = 200

_clients: TTLCache[Any, Hub] = TTLCache(1, _WINDOW_SECONDS)
_choosing = Lock()


def ask_shared_hub(name: str) -> HubView:
    """Ask the Hub of the Connection about a dataset. No answer is an answer, too."""
    try:
        hub = _client()
    except ConfigurationError as error:
        return HubView(None, str(error))
    if hub.requests >= MOST_REQUESTS:
        return HubView(None, "the console asks it no more than 200 times in five minutes: try again later")
    return ask_hub(hub, name)


def _client() -> Hub:
    hook, release, blocked = HubHook(), settings.RELEASE.read(), settings.BLOCKED_DATASETS.read()
    key = (*hook.address_and_token, release.name, blocked)
    with _choosing:
        client = _clients.get(key)
        if client is None:
            client = _clients[key] = hook.hub(release, blocked, no_waiting)
        return client
