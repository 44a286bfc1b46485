"""What the package imports: of ``huggingface_hub`` its public names alone, and that only where it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def imports_of_huggingface_hub() -> Iterator[tuple[str, str]]:
    """Each module of ``huggingface_hub`` that ``include`` imports, with each name from it."""
    for path in (ROOT / "include").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("huggingface_hub"):
                yield from ((str(node.module), alias.name) for alias in node.names)


@pytest.mark.parametrize(("module", "name"), sorted(set(imports_of_huggingface_hub())))
def test_an_imported_name_of_huggingface_hub_exists_and_is_public(module: str, name: str) -> None:
    found = import_module(module)

    assert not any(part.startswith("_") for part in (*module.split("."), name))
    assert hasattr(found, name), f"this version of huggingface_hub has no {module}.{name}"
    assert name in getattr(found, "__all__", [name])


@pytest.mark.parametrize(
    "module",
    [
        "include.hub.answers",
        "include.hub.block_list",
        "include.hub.support",
        "include.databases.listing_store",
    ],
)
def test_a_light_module_does_not_import_huggingface_hub(module: str) -> None:
    code = f"import sys, {module}; sys.exit('huggingface_hub' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
