"""What the tasks that ask a person have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from datasets_server import settings
from datasets_server.console_link import ApprovalLink
from datasets_server.notifiers import ApprovalNotifier

if TYPE_CHECKING:
    from airflow.sdk import Context


#: How many names a question lists.
NAMES_SHOWN = 200


class LastingApprovalOperator(ApprovalOperator):
    """Base class of the operators that ask a person to approve what a run is about to do.

    If the person rejects it, or nobody decides in time, the next tasks are skipped. What was decided is in
    XCom, for the task that reports: :meth:`decisions`.
    """

    operator_extra_links = (ApprovalLink(),)

    _ASKED, _DECIDED = "asked", "decided"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(defaults=self.REJECT, notifiers=ApprovalNotifier(), **kwargs)

    def ask(
        self,
        context: Context,
        question: str,
        explanation: str,
        *,
        about: str,
        otherwise: str,
        datasets: Sequence[str] = (),
    ) -> None:
        """Ask, and wait for the answer.

        :param explanation: in Markdown.
        :param about: what is to be approved, as a part of a sentence.
        :param otherwise: what happens if nobody approves, as a part of a sentence.
        :param datasets: those that the explanation names. The console links them.
        """
        hours = self.hours_to_decide()
        self.response_timeout = timedelta(hours=hours)
        asked = {"about": about, "otherwise": otherwise, "hours": hours, "datasets": list(datasets)}
        context["ti"].xcom_push(self._ASKED, asked)
        self.subject = question
        self.body = explanation
        super().execute(context)

    @staticmethod
    def hours_to_decide() -> int:
        """Return the number of hours for which a run waits for a person."""
        return settings.APPROVAL_TIMEOUT_HOURS.read() // timedelta(hours=1)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:  # noqa: ANN401 - as there
        """Go on, or skip the next tasks."""
        decided = {"option": event.get("chosen_options"), "by": event.get("responded_by_user")}
        context["ti"].xcom_push(self._DECIDED, decided)
        return super().execute_complete(context, event)

    @classmethod
    def approver(cls, context: Context, task_id: str) -> str | None:
        """Return who approved in a task of this operator, if it had to ask."""
        decided = context["ti"].xcom_pull(task_ids=task_id, key=cls._DECIDED)
        if not decided or not decided["by"] or decided["option"] != [cls.APPROVE]:
            return None
        return str(decided["by"]["name"])

    @classmethod
    def decisions(cls, context: Context, task_id: str) -> list[str]:
        """Return a line about what was decided in a task of this operator, if it had to ask."""
        asked, decided = (
            context["ti"].xcom_pull(task_ids=task_id, key=key) for key in (cls._ASKED, cls._DECIDED)
        )
        if not asked or not decided:
            return []
        about, otherwise = asked["about"], asked["otherwise"]
        if not decided["by"]:
            return [f"nobody decided within {asked['hours']} hours about {about}: {otherwise}"]
        if decided["option"] == [cls.APPROVE]:
            return [f"{decided['by']['name']} approved {about}"]
        return [f"{decided['by']['name']} rejected {about}: {otherwise}"]


def listed(lines: Iterable[str], number: int) -> str:
    """Return the first of so many lines, in Markdown, as a list that says how many more there are."""
    shown = [f"- {line}" for line in islice(lines, NAMES_SHOWN)]
    more = f"\n\n... and {number - len(shown):,} more." if number > len(shown) else ""
    return "\n".join(shown) + more
