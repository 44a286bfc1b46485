"""The directories that tests clean."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.actions.clean_directory.files import OLD, put, touch


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """The directory that is cleaned."""
    (tmp_path / "storage").mkdir()
    return tmp_path / "storage"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder beside it, old, that nothing may touch."""
    put(tmp_path / "elsewhere/precious", OLD)
    return touch(tmp_path / "elsewhere", OLD)


@pytest.fixture
def public_storage() -> Iterator[Path]:
    """A directory that is cleaned by a user who is not root: by nobody, where the tests run as root."""
    with tempfile.TemporaryDirectory() as temporary:
        Path(temporary).chmod(0o755)
        storage = Path(temporary) / "storage"
        storage.mkdir(mode=0o777)
        root = os.geteuid() == 0
        if root:
            os.chown(storage, 65_534, 65_534)
            os.seteuid(65_534)
        try:
            yield storage
        finally:
            if root:
                os.seteuid(0)
            for path in storage.rglob("*"):
                path.chmod(0o755)
