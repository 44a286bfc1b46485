"""What cannot be cleaned is left and reported, and the rest is cleaned."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.actions.clean_directory import protection
from include.actions.clean_directory.folders import MAX_DEPTH
from include.errors import ConfigurationError
from tests.unit.actions.clean_directory.files import OLD, cleaned, folder, paths, put, touch

# A directory


def test_a_file_in_place_of_the_directory_is_a_configuration_error(storage: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"cannot be opened: .* It must be a folder that the workers"
    ):
        cleaned(put(storage / "file", OLD))
    with pytest.raises(ConfigurationError, match="cannot be opened: Not a directory"):
        cleaned(storage / "file/below")


def test_a_directory_whose_name_is_too_long_is_a_configuration_error(storage: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be opened: File name too long"):
        cleaned(storage / ("x" * 300))


def test_the_folders_above_the_directory_need_not_be_readable(public_storage: Path) -> None:
    put(public_storage / "above/directory/old", OLD)
    (public_storage / "above").chmod(0o111)

    cleaned(public_storage / "above/directory")

    assert not (public_storage / "above/directory/old").exists()


def test_a_directory_that_cannot_be_opened_is_a_configuration_error(public_storage: Path) -> None:
    folder(public_storage / "closed", OLD).chmod(0)

    with pytest.raises(ConfigurationError, match="closed' cannot be opened: Permission denied"):
        cleaned(public_storage / "closed")
    with pytest.raises(ConfigurationError, match="cannot be opened: Permission denied"):
        cleaned(public_storage / "closed/below")


# A path in it


@pytest.mark.parametrize("judge_by", ["path", "contents"])
def test_a_path_that_cannot_be_deleted_is_reported_and_the_rest_is_deleted(
    public_storage: Path, judge_by: str
) -> None:
    put(public_storage / "folder/locked/file", OLD)
    put(public_storage / "folder/open/file", OLD)
    put(public_storage / "other/file", OLD)
    (public_storage / "folder/locked").chmod(0o555)
    for name in ("folder", "other"):
        touch(public_storage / name, OLD)

    summary = cleaned(public_storage, judge_by=judge_by)

    assert paths(public_storage) == {"folder", "folder/locked", "folder/locked/file"}
    assert (summary.due_paths, summary.files, summary.folders, summary.failed) == (2, 2, 2, 1)
    assert summary.error_sample == [f"'{public_storage}/folder/locked/file': Permission denied"]
    assert [line.split("'")[1] for line in summary.deleted_sample] == [f"{public_storage}/other"]


def test_a_folder_that_cannot_be_opened_is_left_and_reported(public_storage: Path) -> None:
    for name in ("hidden", "middle"):
        put(public_storage / name / "file", OLD)
        (public_storage / name).chmod(0)

    by_contents = cleaned(public_storage, "hidden", judge_by="contents")
    on_the_way = cleaned(public_storage, "middle/*")

    assert by_contents.error_sample == [f"'{public_storage}/hidden': Permission denied"]
    assert on_the_way.error_sample == [f"'{public_storage}/middle': Permission denied"]


def nested(path: Path, depth: int) -> None:
    """Make folders in one another, from within, because their path may be too long to be used."""
    here = Path.cwd()
    path.mkdir()
    os.chdir(path)
    for _ in range(depth):
        Path("folder").mkdir()
        os.chdir("folder")
    Path("file").touch()
    os.chdir(here)
    touch(path, OLD)


def test_folders_nested_as_deeply_as_allowed_are_deleted(storage: Path) -> None:
    nested(storage / "deep", MAX_DEPTH)

    summary = cleaned(storage)

    assert paths(storage) == set()
    assert (summary.files, summary.folders) == (1, MAX_DEPTH + 1)


@pytest.mark.parametrize("judge_by", ["path", "contents"])
def test_folders_nested_too_deeply_are_left_and_reported(storage: Path, judge_by: str) -> None:
    nested(storage / "deep", MAX_DEPTH + 1)
    put(storage / "deep/file", OLD)
    put(storage / "other", OLD)
    touch(storage / "deep", OLD)

    summary = cleaned(storage, judge_by=judge_by)

    assert (storage / "deep").is_dir()
    assert not (storage / "other").exists()
    assert summary.failed == 1
    assert summary.error_sample[0].endswith(f"folders are nested more than {MAX_DEPTH} deep")


@pytest.mark.skipif(not os.path.ismount("/sys/fs/cgroup"), reason="a mount point is needed")
def test_a_file_system_mounted_below_the_directory_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protection, "_SYSTEM_TREES", ())

    summary = cleaned(Path("/sys/fs"), "cgroup", now=datetime.now(UTC) + timedelta(days=1), dry_run=True)

    assert summary.error_sample == ["'/sys/fs/cgroup': another file system is mounted there"]
    assert (summary.files, summary.folders, summary.failed) == (0, 0, 1)
