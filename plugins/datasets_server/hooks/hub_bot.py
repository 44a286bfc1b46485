"""The bot that opens discussions on the Hub, from its Connection."""

from __future__ import annotations

import logging

from airflow.sdk import BaseHook

from datasets_server import settings
from datasets_server.hooks.connections import required_connection
from datasets_server.hooks.hub import HUB_CONNECTION, endpoint
from include.errors import ConfigurationError
from include.hub.bot import HubBot

BOT_CONNECTION = settings.HUB_BOT.id


class HubBotHook(BaseHook):
    """The bot.

    :param conn_id: a Connection of type generic. Its login is the bot's user name, its password the bot's
        access token. The endpoint is that of the Connection ``huggingface_hub``.
    :raises ConfigurationError: if a Connection, the user name or the token is missing.
    """

    def __init__(self, conn_id: str = BOT_CONNECTION) -> None:
        super().__init__()
        # The client logs every request: several lines for each dataset.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        self._endpoint = endpoint(required_connection(HUB_CONNECTION, conn_type="generic"))
        connection = required_connection(conn_id, conn_type="generic")
        self._name = _required(connection.login, f"{conn_id} has no login: set it to the bot's user name")
        self._token = _required(
            connection.password, f"{conn_id} has no password: set it to the bot's access token"
        )

    def bot(self) -> HubBot:
        """Return the bot, after a check of its token at the Hub.

        :raises ConfigurationError: if the token is not valid, belongs to another user, or is read-only.
        :raises ServiceError: if the Hub cannot be reached.
        """
        bot = HubBot(self._endpoint, self._name, self._token)
        bot.check_token()
        return bot


def _required(value: str | None, what_to_do: str) -> str:
    if not value:
        raise ConfigurationError(f"The Connection {what_to_do}.")
    return value
