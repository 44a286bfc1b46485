"""docker-compose.yaml uses commands, options, Connections and Variables that exist."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml

from datasets_server import settings
from tests.dags.conftest import PROJECT

VALUES = {
    "HF_BOT_USER_NAME": "parquet-bot",
    "HF_BOT_TOKEN": "hf_bot",
    "NOTICES_CONNECTION": '{"conn_type": "apprise", "extra": {"config": [{"path": "json://example.com"}]}}',
}


def interpolate(text: str, values: dict[str, str]) -> str:
    """Interpolate `${A}`, `${A:-default}`, `${A:?error}` and `${A:+instead}` as Compose does.

    A required variable without a value, which is an error in Compose, gets its name as its value.
    """

    def value(match: re.Match[str]) -> str:
        name, operator, rest = match[1], match[2], match[3]
        given = values.get(name, "")
        if operator == ":+":
            return rest if given else ""
        return given or (rest if operator == ":-" else name)

    before = ""
    while before != text:  # the innermost first
        before, text = text, re.sub(r"(?<!\$)\$\{(\w+)(:[-?+])?([^${}]*)\}", value, text)
    return text.replace("$$", "$")


def services(values: dict[str, str]) -> dict[str, Any]:
    text = (PROJECT / "docker-compose.yaml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    for service in found.values():
        environment = service.get("environment", {})
        service["environment"] = {name: interpolate(str(each), values) for name, each in environment.items()}
    return found


WORKER = services(VALUES)["airflow-worker"]["environment"]


@pytest.mark.parametrize("name", ["api-server", "scheduler", "dag-processor", "triggerer", "worker"])
def test_a_service_runs_a_command_of_airflow(name: str) -> None:
    from airflow.cli.cli_parser import get_parser

    command = services({})[f"airflow-{name}"]["command"]

    assert get_parser().parse_args(shlex.split(command)).func


def test_the_init_service_runs_commands_of_airflow() -> None:
    from airflow.cli.cli_parser import get_parser

    script = interpolate(services({})["airflow-init"]["command"][-1], {}).replace("\\\n", " ")
    commands = [shlex.split(line) for line in re.findall(r"\bairflow (.+?)(?:\|\|)?$", script, re.MULTILINE)]

    assert ["pools", "set", settings.POOL, str(settings.POOL_SLOTS), settings.POOL_DESCRIPTION] in commands
    assert all(get_parser().parse_args(command).func for command in commands)


def test_each_option_exists_in_airflow() -> None:
    from airflow.configuration import retrieve_configuration_description

    described = retrieve_configuration_description(include_providers=True)
    options = [
        (section.lower(), option.lower())
        for section, option in re.findall(r"^AIRFLOW__(\w+?)__(\w+)$", "\n".join(WORKER), re.MULTILINE)
    ]

    assert len(options) > 10
    assert [each for each in options if each[1] not in described[each[0]]["options"]] == []


@pytest.mark.parametrize("spec", settings.CONNECTIONS, ids=lambda spec: spec.id)
def test_each_connection_is_defined(spec: settings.ConnectionSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import Connection

    variable = f"AIRFLOW_CONN_{spec.id.upper()}"
    monkeypatch.setenv(variable, WORKER[variable])

    connection = Connection.get(spec.id)
    assert connection.conn_type == spec.conn_type
    assert connection.password or connection.extra_dejson["config"]


def test_without_a_token_the_bot_has_no_connection() -> None:
    assert services({})["airflow-worker"]["environment"]["AIRFLOW_CONN_HUGGINGFACE_HUB_BOT"] == ""


@pytest.mark.parametrize(
    "name", [name for name in WORKER if name.startswith("AIRFLOW_VAR_")], ids=lambda name: name.lower()
)
def test_each_variable_exists_and_is_valid(name: str) -> None:
    [setting] = [each for each in settings.SETTINGS if f"AIRFLOW_VAR_{each.name.upper()}" == name]

    setting.check(WORKER[name])
