"""How many errors a task may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from include.errors import ServiceError

if TYPE_CHECKING:
    from airflow.sdk import Context


def within_error_limit(
    summary: dict[str, Any], error_limit: int, context: Context, what: str = "datasets"
) -> dict[str, Any]:
    """Give the summary of a task, with the fields ``failed`` and ``error_sample``, if it is within the limit.

    :param what: the things, in the plural, of which ``failed`` is a count.
    :raises ServiceError: if it tells of more errors. The summary is then in XCom all the same.
    """
    if summary["failed"] > error_limit:
        context["ti"].xcom_push("return_value", summary)
        raise ServiceError(
            f"{summary['failed']:,} {what} could not be handled, more than error_limit ({error_limit})."
            f" The first: {'; '.join(summary['error_sample'][:3])}"
        )
    return summary
