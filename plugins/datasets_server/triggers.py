"""What Airflow's triggerer does for tasks that wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from datasets_server.services import Services, open_services
from include.errors import ConfigurationError, ServiceError

SECONDS_BETWEEN_LOOKS = 5.0


class TurnTrigger(BaseTrigger):
    """Waits until no other run has the right to do some work. The task then tries to take it.

    An error also ends the wait, because the task meets it too, and says what to do.

    :param work: the name of the work.
    :param run: the token of the run that waits.
    """

    def __init__(self, work: str, run: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work = work
        self.run_token = run

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return how Airflow makes this trigger again."""
        return f"{__name__}.{type(self).__name__}", {"work": self.work, "run": self.run_token}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look again and again."""
        with suppress(ConfigurationError, ServiceError), open_services() as services:
            while await asyncio.to_thread(self._is_taken, services):
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        yield TriggerEvent(None)  # type: ignore[no-untyped-call]

    def _is_taken(self, services: Services) -> bool:
        lease = services.maintenance.lease(self.work, self.run_token, run_name="", task="")
        return lease.is_held_by_another()
