"""What a person may ask of a refresh."""

from __future__ import annotations

import pytest

from include.actions.refresh_datasets import check_request
from include.errors import ConfigurationError

A = '["org/a", "dataset-info"]'


@pytest.mark.parametrize(
    ("datasets", "error_codes", "steps", "artifacts", "recreate"),
    [
        (["org/a"], [], ["config-size"], [], False),
        (["org/*"], [], ["config-size"], [], False),
        ([], ["SomeError"], [], [], False),
        (["org/*"], ["SomeError"], ["config-size"], [], False),
        ([], [], [], [A], False),
        ([], ["SomeError"], [], [A], False),
        (["org/a"], [], [], [], True),
    ],
)
def test_a_request_says_which_datasets_and_what_of_them(
    datasets: list[str], error_codes: list[str], steps: list[str], artifacts: list[str], *, recreate: bool
) -> None:
    check_request(datasets, error_codes, steps, artifacts, recreate=recreate)


@pytest.mark.parametrize(
    ("datasets", "error_codes", "steps", "artifacts", "recreate", "error"),
    [
        ([], [], ["config-size"], [], False, "Name the datasets, the artifacts, or the error codes"),
        ([], [], [], [], True, "Name the datasets, the artifacts, or the error codes"),
        (["org/a"], [], [], [], False, "Name the steps to compute again"),
        (["org/a"], [], [], [A], False, "leave datasets and steps empty"),
        ([], [], ["config-size"], [A], False, "leave datasets and steps empty"),
        (["org/a"], [], ["config-size"], [], True, "leave steps, error_codes and artifacts empty"),
        (["org/a"], ["SomeError"], [], [], True, "leave steps, error_codes and artifacts empty"),
        ([], ["SomeError"], [], [], True, "leave steps, error_codes and artifacts empty"),
        ([], [], [], [A], True, "leave steps, error_codes and artifacts empty"),
        (["org/a"], [], [], [A], True, "leave steps, error_codes and artifacts empty"),
        (["org/a", "org/*"], [], [], [], True, r"name each of them, instead of org/\*\."),
    ],
)
def test_an_unclear_or_dangerous_request_is_one_error(
    datasets: list[str],
    error_codes: list[str],
    steps: list[str],
    artifacts: list[str],
    *,
    recreate: bool,
    error: str,
) -> None:
    with pytest.raises(ConfigurationError, match=error):
        check_request(datasets, error_codes, steps, artifacts, recreate=recreate)
