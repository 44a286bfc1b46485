"""What a person may ask of a refresh."""

from __future__ import annotations

import pytest

from include.actions.refresh_datasets import check_request
from include.errors import ConfigurationError


@pytest.mark.parametrize(
    ("datasets", "error_codes", "steps", "recreate"),
    [
        (["org/a"], [], ["config-size"], False),
        (["org/*"], [], ["config-size"], False),
        ([], ["SomeError"], [], False),
        (["org/*"], ["SomeError"], ["config-size"], False),
        (["org/a"], [], [], True),
    ],
)
def test_a_request_says_which_datasets_and_what_of_them(
    datasets: list[str], error_codes: list[str], steps: list[str], *, recreate: bool
) -> None:
    check_request(datasets, error_codes, steps, recreate=recreate)


@pytest.mark.parametrize(
    ("datasets", "error_codes", "steps", "recreate", "error"),
    [
        ([], [], ["config-size"], False, "Name the datasets, or the error codes"),
        ([], [], [], True, "Name the datasets, or the error codes"),
        (["org/a"], [], [], False, "Name the steps to compute again"),
        (["org/a"], [], ["config-size"], True, "leave steps and error_codes empty"),
        (["org/a"], ["SomeError"], [], True, "leave steps and error_codes empty"),
        ([], ["SomeError"], [], True, "leave steps and error_codes empty"),
        (["org/a", "org/*"], [], [], True, r"name each of them, instead of org/\*\."),
    ],
)
def test_an_unclear_or_dangerous_request_is_one_error(
    datasets: list[str], error_codes: list[str], steps: list[str], *, recreate: bool, error: str
) -> None:
    with pytest.raises(ConfigurationError, match=error):
        check_request(datasets, error_codes, steps, recreate=recreate)
