"""The definitions of Connections and Variables: their values, and what the README says about them."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from datasets_server import settings
from include.errors import ConfigurationError
from include.hub.block_list import BlockList
from include.planning.processing_graph import DEFAULT_RELEASE, load_release, release_names
from tests.dags.conftest import PROJECT, set_variable


def test_a_variable_that_is_not_set_has_its_default(airflow_database: None) -> None:
    assert settings.RELEASE.read() is load_release(DEFAULT_RELEASE)
    assert settings.BLOCKED_DATASETS.read() == BlockList()
    assert settings.ASSETS_PROTOCOL.read() == "file"
    assert settings.MAX_REMOVALS_PER_DAY.read() is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("datasets_server_release", "2025", f"holds '2025'. It may hold {' or '.join(release_names())}."),
        ("datasets_server_assets_storage_protocol", "ftp", "holds 'ftp'. It may hold file or s3."),
        ("datasets_server_common_blocked_datasets", "a,*/b", "'*/b'"),
        ("datasets_server_max_removals_per_day", "-1", "It may hold a number of datasets"),
        ("datasets_server_max_removals_per_day", "1 %", "It may hold a number of datasets"),
        (
            "datasets_server_notices",
            "failed,all",
            "It may hold some of failed, approval, removals, waiting, over",
        ),
        ("datasets_server_notices_overdue_hours", "0", "It may hold a number of hours from 1 to 720."),
    ],
)
def test_an_invalid_variable_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    set_variable(monkeypatch, name, value)
    [setting] = [setting for setting in settings.SETTINGS if setting.name == name]

    with pytest.raises(ConfigurationError) as e:
        setting.read()

    assert f"The Variable {name} holds" in str(e.value)
    assert message in str(e.value)


@pytest.mark.parametrize("setting", settings.SETTINGS, ids=lambda setting: setting.name)
def test_every_default_is_valid(setting: settings.Setting[object]) -> None:
    setting.check(setting.default)


def readme_row(section: str, name: str) -> str:
    text = (PROJECT / "README.md").read_text()
    _, found, rest = text.partition(f"\n## {section}\n")
    assert found
    rows: list[str] = re.findall(rf"^\| `{name}` \|.*$", rest.partition("\n## ")[0], re.MULTILINE)
    assert len(rows) == 1, f"the README has {len(rows)} rows for {name} in {section}"
    return rows[0]


@pytest.mark.parametrize("spec", settings.CONNECTIONS, ids=lambda spec: spec.id)
def test_the_readme_documents_every_connection(spec: settings.ConnectionSpec) -> None:
    row = readme_row("Connections", spec.id)

    assert f"| {spec.conn_type} |" in row
    assert [name for name in spec.replaces if f"`{name}`" not in row] == []


@pytest.mark.parametrize("setting", settings.SETTINGS, ids=lambda setting: setting.name)
def test_the_readme_documents_every_variable(setting: settings.Setting[object]) -> None:
    row = readme_row("Variables", setting.name)

    assert f"`{setting.default}`" in row if setting.default else True
    assert [name for name in setting.replaces if f"`{name}`" not in row] == []
    assert row.endswith("| |") is (not setting.replaces)


def test_the_names_can_be_imported_without_airflow_and_other_large_packages() -> None:
    large = {"airflow", "huggingface_hub", "numpy", "pyarrow", "pymongo"}
    code = f"import sys, datasets_server.settings; print({large} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'plugins'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout == "set()\n"
