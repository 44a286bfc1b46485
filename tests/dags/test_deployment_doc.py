"""docs/deployment.md names options that exist in Airflow, with their actual defaults."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.dags.conftest import PROJECT

TEXT = (PROJECT / "docs" / "deployment.md").read_text()


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: options of a section, and their values."""

    section: str
    options: list[str]
    values: list[str]
    is_default: bool


def rows() -> list[Row]:
    found = re.findall(r"^\| `\[(\w+)\] (.+?) \| (.*?) \|", TEXT, re.MULTILINE)
    return [
        Row(
            section,
            re.findall(r"\w+", options),
            [value.strip(" `") for value in re.sub(r"\(defaults?\)", "", values).split(",")],
            "(default" in values,
        )
        for section, options, values in found
        if section != "kubernetes_executor"  # its provider is not installed
    ]


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{'.'.join(row.options)}={row.values[0]}")
def test_an_option_exists_with_this_default(row: Row) -> None:
    from airflow.configuration import retrieve_configuration_description

    described: dict[str, Any] = retrieve_configuration_description(include_providers=True)
    options = described[row.section]["options"]

    assert set(row.options) <= options.keys()
    if row.is_default:
        defaults = [float(options[name]["default"].replace("True", "1")) for name in row.options]
        assert [float(value.replace("True", "1")) for value in row.values] == defaults


def test_the_pod_template_has_the_container_that_the_executor_uses() -> None:
    found = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)

    assert found is not None
    pod = yaml.safe_load(found[1])
    assert (pod["kind"], pod["spec"]["containers"][0]["name"]) == ("Pod", "base")
