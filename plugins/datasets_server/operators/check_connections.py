"""The task of ``check-connections``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from airflow.sdk import Context


class CheckConnectionsOperator(BaseOperator):
    """Checks every Connection and Variable, logs a line for each, and fails if there is something to fix.

    Returns ``{"checked": the number of lines, "to_fix": the lines that say what to fix}``.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Run all checks, even if some fail."""
        from datasets_server.checks import check_all

        findings = []
        for finding in check_all():
            self.log.info("%s", finding)
            findings.append(finding)
        to_fix = [str(finding) for finding in findings if finding.fix is not None]
        result = {"checked": len(findings), "to_fix": to_fix}
        if to_fix:
            context["ti"].xcom_push("return_value", result)
            raise AirflowFailException(f"{len(to_fix)} of {len(findings)} to fix:\n" + "\n".join(to_fix))
        return result
