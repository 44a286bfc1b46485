"""Which cleanings are valid, and how the Variable lists them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from include.actions.clean_directory.rule import DirectoryCleaning, parse_cleanings
from include.errors import ConfigurationError
from tests.unit.actions.clean_directory.files import cleaning


@pytest.mark.parametrize(
    "pattern",
    ["", " ", "/", "/etc/*", "//*", "..", "../*", "a/../*", "*/..", "a//b", "*/", ".", "./*", "a/./b", "a\0"],
)
def test_a_pattern_that_could_lead_out_of_the_directory_is_refused(storage: Path, pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="pattern must be "):
        cleaning(storage, pattern)


def test_the_rule_needs_the_standard_library_alone() -> None:
    without_packages = [sys.executable, "-I", "-S", "-c"]
    program = "import sys; sys.path.append('.'); import include.actions.clean_directory.rule"

    subprocess.run([*without_packages, program], cwd=Path(__file__).parents[4], check=True)


def test_a_list_of_cleanings_is_read() -> None:
    text = """[
        {"name": "duckdb-cache", "directory": "/storage/duckdb-index", "pattern": "cache/*",
         "expired_time_interval_seconds": 259200, "judge_by": "contents"},
        {"name": "defaults", "directory": "/storage/hf-datasets-cache"}
    ]"""

    assert parse_cleanings(text) == (
        DirectoryCleaning("duckdb-cache", "/storage/duckdb-index", "cache/*", 259_200, "contents"),
        DirectoryCleaning("defaults", "/storage/hf-datasets-cache", "*/datasets/*", 10_800, "path"),
    )
    assert parse_cleanings("[]") == ()


ENTRY: dict[str, Any] = {"name": "a", "directory": "/storage/a"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, r"It may hold a JSON list, such as \[\{"),
        (None, r"It may hold a JSON list, such as \[\{"),
        ([ENTRY, "a"], "Entry 2 must be an object, not 'a'."),
        ([{"name": "a"}], "Entry 1 lacks directory."),
        ([{}], "Entry 1 lacks directory, name."),
        (
            [ENTRY | {"expiry": 1}],
            "Entry 1 has an unknown field: expiry. Valid fields are directory, expired_time",
        ),
        ([ENTRY, ENTRY], "Each entry must have another name, but several have a."),
        ([ENTRY | {"name": ""}], "Entry 1: name must be a text that is not empty, not ''."),
        ([ENTRY | {"name": 1}], "Entry 1: name must be a text that is not empty, not 1."),
        ([ENTRY | {"directory": None}], "Entry 1: directory must be a text that is not empty, not None."),
        ([ENTRY | {"directory": "/etc/ssl"}], "Entry 1: directory '/etc/ssl' is not cleaned: it belongs to"),
        ([ENTRY | {"pattern": "../*"}], "Entry 1: pattern must be relative to the directory"),
        ([ENTRY | {"judge_by": "age"}], "Entry 1: judge_by must be path or contents, not 'age'."),
        ([ENTRY | {"judge_by": ["path"]}], "Entry 1: judge_by must be path or contents, not "),
        *(
            (
                [ENTRY | {"expired_time_interval_seconds": seconds}],
                "must be a whole number of 0 or more, not ",
            )
            for seconds in (-1, 1.5, "60", True, None)
        ),
    ],
)
def test_an_invalid_list_of_cleanings_is_an_error_that_names_the_entry(value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_cleanings(json.dumps(value))


def test_a_text_that_is_not_json_is_an_error_with_an_example() -> None:
    with pytest.raises(
        ConfigurationError, match=r"It may hold a JSON list, such as \[.*, but: Expecting value"
    ):
        parse_cleanings("/storage/a")
