"""What the tasks that may have to wait for another run have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class WaitingOperator(BaseOperator):
    """Base class of the operators that wait in the triggerer until they have their turn.

    :func:`datasets_server.runs.turn` lets them wait.
    """

    def resume(self, context: Context, event: object = None) -> Any:  # noqa: ANN401 - as execute
        """Begin again, because the other run has ended."""
        return self.execute(context)
