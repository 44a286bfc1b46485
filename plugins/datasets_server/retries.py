"""Which failures are worth another attempt."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

#: For every task: a service that fails is tried again for half an hour, a wrong configuration not at all.
RETRIES: dict[str, Any] = {
    "retries": 5,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": ExceptionRetryPolicy(
        rules=[
            RetryRule(
                exception="include.errors.ConfigurationError",
                action=RetryAction.FAIL,
                reason="The configuration has to be mended first.",
            ),
            RetryRule(
                exception=[AttributeError, KeyError, NameError, TypeError],
                action=RetryAction.FAIL,
                reason="This is a defect of the program: another attempt would meet it again.",
            ),
        ]
    ),
}
