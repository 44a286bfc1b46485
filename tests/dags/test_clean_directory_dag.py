"""The DAG ``clean-directory``, run whole on a real Airflow and on real folders."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import AirflowSkipException

from datasets_server.operators.clean_directory import ListCleaningsOperator
from datasets_server.retries import RETRIES
from include.errors import ConfigurationError
from tests.dags.conftest import AIRFLOW_HOME, FinishedRun, MakeRunsAs, RunDag, set_variable

NOW = datetime.now(UTC).replace(microsecond=0)
OLD = NOW - timedelta(days=2)
#: The parameters of a run that cleans the directories of the Variable.
PARAMS: dict[str, Any] = {
    "names": [],
    "directory": None,
    "pattern": "*",
    "expired_time_interval_seconds": 60,
    "judge_by": "path",
}


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """Two directories, each with an old file of 10 bytes, an old folder and a new file."""
    for directory in ("hf-datasets-cache", "stats-cache"):
        put(tmp_path / directory / "old-file", OLD)
        put(tmp_path / directory / "old-folder/a", OLD)
        put(tmp_path / directory / "new", NOW)
        touch(tmp_path / directory / "old-folder", OLD)
    return tmp_path


def put(path: Path, accessed: datetime) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("1234567890")
    touch(path, accessed)


def touch(path: Path, accessed: datetime) -> None:
    os.utime(path, (accessed.timestamp(), accessed.timestamp()))


def left(storage: Path) -> set[str]:
    """Return the files that are left. Looking for them accesses the folders, so it comes last."""
    return {str(path.relative_to(storage)) for path in storage.rglob("*") if not path.is_dir()}


def set_entries(monkeypatch: pytest.MonkeyPatch, *entries: dict[str, Any]) -> None:
    set_variable(monkeypatch, "datasets_server_directory_cleaning", json.dumps(entries))


def set_roots(monkeypatch: pytest.MonkeyPatch, *roots: Path) -> None:
    set_variable(monkeypatch, "datasets_server_directory_cleaning_roots", json.dumps(list(map(str, roots))))


@pytest.fixture
def entries(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Variable with the two directories, one of which has a number as its name."""
    set_entries(
        monkeypatch,
        {"name": "hf-datasets-cache", "directory": f"{storage}/hf-datasets-cache", "pattern": "*"},
        {"name": "2024", "directory": f"{storage}/stats-cache", "pattern": "*-f*e"},
    )


def test_each_entry_of_the_variable_is_a_task_with_its_name(
    entries: None, storage: Path, run_dag: RunDag
) -> None:
    finished = run_dag("clean-directory")

    assert finished.state == "success"
    assert finished.mapped == {"hf-datasets-cache": "success", "2024": "success"}
    assert left(storage) == {"hf-datasets-cache/new", "stats-cache/new", "stats-cache/old-folder/a"}
    assert finished.report["directories"] == {
        "hf-datasets-cache": {
            "matched": 3,
            "due_paths": 2,
            "files": 2,
            "folders": 1,
            "bytes_freed": 20,
            "failed": 0,
        },
        "2024": {
            "matched": 1,
            "due_paths": 1,
            "files": 1,
            "folders": 0,
            "bytes_freed": 10,
            "failed": 0,
        },
    }
    assert finished.report["total"] == {
        "matched": 4,
        "due_paths": 3,
        "files": 3,
        "folders": 1,
        "bytes_freed": 30,
        "failed": 0,
    }
    assert not finished.report["dry_run"]


def test_a_dry_run_reports_and_deletes_nothing(entries: None, storage: Path, run_dag: RunDag) -> None:
    dry = run_dag("clean-directory", dry_run=True).report
    files = [storage / "hf-datasets-cache" / name for name in ("old-file", "old-folder/a")]
    kept = [file.exists() for file in files]
    real = run_dag("clean-directory").report

    assert dry["dry_run"]
    assert kept == [True, True]
    assert [file.exists() for file in files] == [False, False]
    assert dry["directories"] == real["directories"]


def test_names_select_entries(entries: None, storage: Path, run_dag: RunDag) -> None:
    finished = run_dag("clean-directory", names=["2024"])

    assert list(finished.report["directories"]) == ["2024"]
    assert "hf-datasets-cache/old-file" in left(storage)
    assert "stats-cache/old-file" not in left(storage)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"pattern": "[12]"}, {"1", "2"}),
        ({"pattern": "1"}, {"1"}),
        ({"pattern": "*", "expired_time_interval_seconds": 3 * 86_400}, set()),
        ({"pattern": "*", "expired_time_interval_seconds": 0}, {"1", "2", "3"}),
        ({"pattern": "3", "expired_time_interval_seconds": 60}, set()),
        ({"pattern": "3", "expired_time_interval_seconds": 60, "judge_by": "contents"}, {"3"}),
    ],
    ids=lambda value: repr(sorted(value) if isinstance(value, set) else value),  # the same in each process
)
def test_a_single_directory_is_cleaned_by_hand(
    entries: None,
    storage: Path,
    run_dag: RunDag,
    monkeypatch: pytest.MonkeyPatch,
    params: dict[str, Any],
    expected: set[str],
) -> None:
    directory = storage / "by hand"
    for name in ("1", "2"):
        put(directory / name, OLD)
    put(directory / "3/old", OLD)
    touch(directory / "3", NOW)
    others = left(storage)
    set_roots(monkeypatch, storage)

    finished = run_dag("clean-directory", directory=str(directory), **params)

    assert finished.mapped == {str(directory): "success"}
    assert {name for name in ("1", "2", "3") if not (directory / name).exists()} == expected
    assert {path for path in others if not path.startswith("by hand")} <= left(storage)


def test_a_run_without_a_directory_is_skipped(
    run_dag: RunDag, airflow_database: None, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = run_dag("clean-directory")

    assert finished.state == "success"
    assert set(finished.tasks.values()) == {"skipped"}
    assert "the Variable datasets_server_directory_cleaning lists no directory" in capsys.readouterr().out


def test_if_one_directory_fails_the_others_are_cleaned_and_the_run_fails(
    storage: Path, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_entries(
        monkeypatch,
        {"name": "file", "directory": f"{storage}/hf-datasets-cache/new"},
        {"name": "stats-cache", "directory": f"{storage}/stats-cache", "pattern": "*"},
    )

    finished = run_dag("clean-directory")

    assert finished.state == "failed"
    assert finished.mapped == {"file": "failed", "stats-cache": "success"}
    assert finished.report["not_cleaned"] == ["file"]
    assert finished.report["directories"]["stats-cache"]["files"] == 2


@pytest.mark.parametrize(("error_limit", "state"), [(0, "failed"), (1, "success")])
def test_paths_that_cannot_be_deleted_count_against_the_limit(
    storage: Path, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, error_limit: int, state: str
) -> None:
    deep = storage / "stats-cache/deep" / "/".join(["x"] * 202)
    deep.mkdir(parents=True)
    touch(storage / "stats-cache/deep", OLD)
    set_entries(monkeypatch, {"name": "stats-cache", "directory": f"{storage}/stats-cache", "pattern": "*"})

    finished = run_dag("clean-directory", error_limit=error_limit)

    assert finished.state == state
    assert finished.mapped == {"stats-cache": state}
    assert finished.report["total"]["failed"] == 1
    assert "folders are nested more than 200 deep" in finished.report["error_sample"][0]
    assert left(storage) >= {"stats-cache/new"}
    assert not (storage / "stats-cache/old-file").exists()


@pytest.mark.parametrize("allowed", [True, False])
def test_by_hand_only_what_is_below_a_directory_of_the_variable_is_cleaned(
    entries: None, storage: Path, run_dag: RunDag, allowed: bool
) -> None:
    directory = storage / ("hf-datasets-cache/old-folder" if allowed else "ssh")
    put(directory / "a", OLD)

    finished = run_dag("clean-directory", directory=str(directory), pattern="*")

    assert finished.state == ("success" if allowed else "failed")
    assert (directory / "a").exists() is not allowed


@pytest.mark.parametrize("folder", ["assets", "airflow"])
def test_a_folder_of_the_assets_or_of_airflow_is_never_cleaned(
    storage: Path, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    directory = storage / "assets" if folder == "assets" else Path(AIRFLOW_HOME.name) / "temporary"
    set_variable(monkeypatch, "datasets_server_assets_storage_root", str(storage / "assets"))
    put(directory / "a", OLD)
    set_entries(monkeypatch, {"name": "a", "directory": str(directory), "pattern": "*"})

    finished = run_dag("clean-directory")

    assert finished.mapped == {"a": "failed"}
    assert (directory / "a").exists()


def test_an_entry_outside_the_allowed_folders_is_not_cleaned_but_the_others_are(
    entries: None, storage: Path, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_roots(monkeypatch, storage / "stats-cache")

    finished = run_dag("clean-directory")

    assert finished.mapped == {"hf-datasets-cache": "failed", "2024": "success"}
    assert left(storage) >= {"hf-datasets-cache/old-file"}


def failure(**params: Any) -> ConfigurationError:
    """Return the error of the first task."""
    with pytest.raises(ConfigurationError) as failed:
        ListCleaningsOperator(task_id="list").execute({"params": PARAMS | params})
    return failed.value


@pytest.mark.parametrize("directory", ["/etc/ssl", "/home/user", "/tmp/.."])
def test_a_directory_of_the_system_is_refused_at_once(run_dag: RunDag, directory: str) -> None:
    finished = run_dag("clean-directory", directory=directory, pattern="no-such-path")

    assert finished.state == "failed"
    assert finished.tasks == {
        "list_cleanings": "failed",
        "approve_deletions": "upstream_failed",
        "clean_directory": "upstream_failed",
        "report": "failed",
    }
    error = failure(directory=directory)
    assert "is not cleaned: " in str(error)
    assert RETRIES["retry_policy"].evaluate(error, 1, 5).action is RetryAction.FAIL


@pytest.mark.parametrize(
    "params",
    [
        {"directory": "storage/x"},
        {"directory": "/"},
        {"directory": "/storage"},
        {"directory": "/storage//"},
        {"pattern": "/etc/*"},
        {"pattern": ""},
        {"expired_time_interval_seconds": -1},
        {"judge_by": "age"},
        {"names": [""]},
    ],
    ids=repr,
)
def test_the_form_refuses_a_value_that_is_not_valid(run_dag: RunDag, params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"Invalid input for param {next(iter(params))}"):
        run_dag("clean-directory", **params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"names": ["stats"]}, "has no entry stats. It has hf-datasets-cache, 2024."),
        ({"names": ["2024"], "directory": "/storage/x"}, "not both"),
        ({"directory": "/storage/x", "pattern": "*/.."}, "pattern must be relative"),
    ],
)
def test_parameters_that_name_nothing_to_clean_are_a_clear_error(
    entries: None, params: dict[str, Any], message: str
) -> None:
    assert message in str(failure(**params))


def test_a_bad_variable_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, run_dag: RunDag) -> None:
    set_entries(monkeypatch, {"name": "a", "directory": "/etc/ssl"})

    assert run_dag("clean-directory").state == "failed"
    assert "Variable datasets_server_directory_cleaning holds " in str(failure())
    assert "Entry 1: directory '/etc/ssl' is not cleaned: it belongs to the system." in str(failure())


@pytest.mark.parametrize("names", [[], None])
def test_an_empty_list_of_names_selects_every_entry(airflow_database: None, names: list[str] | None) -> None:
    with pytest.raises(AirflowSkipException):
        ListCleaningsOperator(task_id="list").execute({"params": PARAMS | {"names": names}})


def test_in_a_backfill_by_date_range_each_run_deletes_what_was_accessed_in_its_interval(
    storage: Path, run_dag: RunDag, make_runs_as: MakeRunsAs, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, hour = storage / "by date", timedelta(hours=1)
    for hours in range(-1, 5):
        put(directory / str(hours), OLD + hours * hour)
    set_entries(monkeypatch, {"name": "by date", "directory": str(directory), "pattern": "*"})

    def run(start: datetime, end: datetime) -> FinishedRun:
        make_runs_as("backfill", start, end)
        return run_dag("clean-directory")

    def names() -> set[str]:
        return {path.name for path in directory.iterdir()}

    assert run(OLD, OLD + 2 * hour).state == "success"
    assert names() == {"-1", "2", "3", "4"}
    assert run(OLD + 2 * hour, OLD + 4 * hour).report["total"]["files"] == 2
    assert names() == {"-1", "4"}
    put(directory / "new", NOW - hour)
    run(NOW - 2 * hour, NOW)
    assert names() == {"-1", "4", "new"}
