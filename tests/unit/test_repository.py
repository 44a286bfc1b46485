"""The files around the code agree with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
LISTS = {
    REQUIREMENTS / "production.in": ROOT / "requirements.txt",
    REQUIREMENTS / "containers.in": REQUIREMENTS / "containers.txt",
    REQUIREMENTS / "development.in": REQUIREMENTS / "development.txt",
}
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|FERNET_KEY", re.IGNORECASE)
SECRET_VALUE = re.compile(
    r"\bhf_[A-Za-z0-9]{30,}"  # a token of the Hub
    r"|\bAKIA[A-Z0-9]{16}"  # a key of AWS
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|://[^/\s:]*:[^/\s:@${}'\"]+@(?!localhost)[\w.-]+\.\w"  # a password in an address
)
ONE_SHOT = "airflow-init"


def run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def pins(path: Path) -> dict[str, str]:
    """Package → version, of a list's lines `package[extra]==version ; marker  # comment`."""
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^\s;]+)", path.read_text(), re.MULTILINE))


@pytest.fixture(scope="module")
def compose_text() -> str:
    return (ROOT / "docker-compose.yaml").read_text()


@pytest.fixture(scope="module")
def services(compose_text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(compose_text)["services"]
    return found


def variables(text: str) -> dict[str, str]:
    """Variable → what follows its name where it comes first, of every `${NAME…}` of a Compose file."""
    return dict(reversed(re.findall(r"(?<!\$)\$\{(\w+)([^$}]*)", text)))


class TestCompose:
    def test_is_valid_by_the_compose_specification(self) -> None:
        check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
        result = subprocess.run(
            [*check, "docker-compose.yaml"], cwd=ROOT, check=False, capture_output=True, text=True
        )

        assert result.returncode == 0, result.stdout + result.stderr

    def test_names_the_secret_that_is_not_set(self, compose_text: str) -> None:
        secrets = {name: rest for name, rest in variables(compose_text).items() if SECRET_NAME.search(name)}

        # Nobody needs the bot but for one DAG; its connection exists where there is a token.
        assert secrets.pop("HF_BOT_TOKEN").startswith(":+")
        assert secrets
        assert set(secrets.values()) == {":?set it in .env"}

    def test_takes_its_variables_from_the_example(self, compose_text: str) -> None:
        example = (ROOT / ".env.example").read_text()
        required = {name for name, rest in variables(compose_text).items() if rest.startswith(":?")}
        optional = {
            name: rest.removeprefix(":-") if rest.startswith(":-") else ""
            for name, rest in variables(compose_text).items()
            if name not in required
        }

        assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == required
        assert dict(re.findall(r"^#(\w+)=(.*)$", example, re.MULTILINE)) == optional

    def test_watches_and_restarts_every_service(self, services: dict[str, Any]) -> None:
        for name, service in services.items():
            lasting = name != ONE_SHOT
            assert service["restart"] == ("unless-stopped" if lasting else "no"), name
            assert ("healthcheck" in service) == lasting, name

    def test_waits_for_services_by_their_health(self, services: dict[str, Any]) -> None:
        for name, service in services.items():
            for other, dependency in service.get("depends_on", {}).items():
                expected = "service_completed_successfully" if other == ONE_SHOT else "service_healthy"
                assert dependency["condition"] == expected, f"{name} waits for {other}"

    def test_can_run_many_workers(self, services: dict[str, Any]) -> None:
        worker = services["airflow-worker"]

        assert not {"container_name", "hostname", "ports"} & set(worker)
        assert services["airflow-scheduler"]["environment"]["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"

    def test_mounts_the_directories_to_clean_into_the_workers(self, services: dict[str, Any]) -> None:
        assert any(volume.endswith(":/storage") for volume in services["airflow-worker"]["volumes"])

    def test_declares_the_volumes_it_mounts(self, compose_text: str, services: dict[str, Any]) -> None:
        mounted = {volume.rsplit(":", 1)[0] for s in services.values() for volume in s.get("volumes", [])}
        named = {re.sub(r"^\$\{\w+:-(.+)\}$", r"\1", source) for source in mounted}

        assert named == set(yaml.safe_load(compose_text)["volumes"])

    def test_opens_ports_on_this_machine_alone(self, services: dict[str, Any]) -> None:
        ports = [port for service in services.values() for port in service.get("ports", [])]

        assert ports
        assert all(port.startswith("127.0.0.1:") for port in ports)

    def test_pins_the_version_of_every_image(self, services: dict[str, Any]) -> None:
        pulled = [service["image"] for service in services.values() if "build" not in service]

        assert [image for image in pulled if not re.search(r":v?\d+\.?[\w.-]*$", image)] == []


def test_the_image_has_the_pinned_airflow() -> None:
    image = re.search(
        r"^FROM apache/airflow:slim-([\d.]+)-python", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )

    assert image is not None
    assert image[1] == pins(ROOT / "requirements.txt")["apache-airflow"]


class TestRequirements:
    @pytest.mark.parametrize("source", LISTS, ids=lambda source: source.stem)
    def test_every_package_is_pinned_and_explained(self, source: Path) -> None:
        lines = [line for line in source.read_text().splitlines() if not line.startswith("#")]

        assert lines
        assert [line for line in lines if not re.fullmatch(r"[\w.-]+(\[[\w,]+\])?==\S+.*  *# .+", line)] == []
        assert [re.split(r"[\[=]", line)[0] for line in lines] == sorted(pins(source))

    def test_the_readme_says_what_each_package_of_production_is_for(self) -> None:
        packages = pins(REQUIREMENTS / "production.in")

        assert [name for name in packages if f"`{name}`" not in (ROOT / "README.md").read_text()] == []

    @pytest.mark.parametrize("source", LISTS, ids=lambda source: source.stem)
    def test_the_compiled_list_has_the_pinned_packages(self, source: Path) -> None:
        compiled = pins(LISTS[source])

        assert {package: compiled.get(package) for package in pins(source)} == pins(source)

    def test_the_compiled_lists_agree(self) -> None:
        production = pins(ROOT / "requirements.txt")
        development = pins(REQUIREMENTS / "development.txt")
        containers = pins(REQUIREMENTS / "containers.txt")

        assert production.items() <= development.items()
        assert all(production[name] == containers[name] for name in production.keys() & containers.keys())

    @pytest.mark.parametrize("compiled", LISTS.values(), ids=lambda compiled: compiled.stem)
    def test_the_compiled_lists_have_only_packages_of_the_registry(self, compiled: Path) -> None:
        assert re.findall(r"^.*(?:://|--\w|@ |file:).*$", compiled.read_text(), re.MULTILINE) == []


class TestMakefile:
    def test_help_lists_every_target(self) -> None:
        targets = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        listed = re.findall(r"^make ([\w-]+) +\S", run("make", "help"), re.MULTILINE)

        assert listed == targets

    def test_help_is_the_default(self) -> None:
        assert run("make") == run("make", "help")

    def test_format_formats_the_code_even_if_the_linter_cannot_fix_it(self, tmp_path: Path) -> None:
        (tmp_path / ".venv").symlink_to(sys.prefix)
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        code = tmp_path / "code.py"
        code.write_text("NUMBERS = [" + ", ".join(["1_000"] * 30) + "]\n")

        run("make", "--makefile", str(ROOT / "Makefile"), "--directory", str(tmp_path), "format", "READY=")

        assert len(code.read_text().splitlines()) > 1


class TestSecrets:
    def test_no_secret_has_a_default(self, compose_text: str) -> None:
        files = [compose_text, (ROOT / "Dockerfile").read_text(), (ROOT / ".env.example").read_text()]
        assigned = [
            (name, value)
            for text in files
            for name, value in re.findall(r"(?<![\w{])(\w+)\"?[=:][ \t]*\"?([^\s\",}]*)", text)
            if SECRET_NAME.search(name)
        ]

        assert assigned
        assert [(name, value) for name, value in assigned if value and not value.startswith("${")] == []

    def test_no_file_of_the_repository_holds_a_secret(self) -> None:
        if not (ROOT / ".git").exists() or shutil.which("git") is None:
            pytest.skip("not a git repository")
        names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        paths = [ROOT / name for name in names if name and (ROOT / name).is_file()]

        assert ".env" not in names
        assert [path for path in paths if SECRET_VALUE.search(path.read_text(errors="ignore"))] == []


class TestDocumentation:
    def test_the_tests_of_the_faults_exist(self) -> None:
        text = (ROOT / "docs" / "reliability.md").read_text()
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)

        assert len(named) > 30
        assert [
            f"{path}::{name}"
            for path, name in named
            if not re.search(rf"def {name}\b", (ROOT / path).read_text())
        ] == []
