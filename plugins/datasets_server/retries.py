"""Which failures are worth another attempt."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

#: Arguments of every task: if a service fails, Airflow retries the task for half an hour; if the
#: configuration is wrong, the task fails at once.
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
                reason="Fix the configuration first.",
            ),
            RetryRule(
                exception=[AttributeError, KeyError, NameError, TypeError],
                action=RetryAction.FAIL,
                reason="This is a bug in the program: another attempt would fail in the same way.",
            ),
        ]
    ),
}
