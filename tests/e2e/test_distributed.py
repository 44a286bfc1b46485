"""`make test-distributed`, the whole of it, on a machine that has Debian's PostgreSQL and Redis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dev.local_stack.distributed.stack import check_programs
from dev.local_stack.process import PROJECT_ROOT
from include.errors import ConfigurationError
from tests.e2e.test_run import processes_naming

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1000)]


def test_a_backfill_survives_the_kill_of_a_worker(tmp_path: Path) -> None:
    try:
        check_programs()
    except ConfigurationError as error:
        pytest.skip(str(error))

    command = [sys.executable, "-m", "dev.local_stack.distributed", "--data", str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=900)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "yes  both runs have the same result" in done.stdout
    assert processes_naming(tmp_path) == []
