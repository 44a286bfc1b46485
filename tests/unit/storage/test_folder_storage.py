"""The removal of a dataset's files from a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.errors import DatasetError
from include.storage.asset_storage import dataset_folder
from include.storage.folder_storage import FolderStorage
from tests.unit.storage.test_asset_storage import UNSAFE_NAMES


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("a row")


def test_all_files_of_a_dataset_are_removed(tmp_path: Path) -> None:
    put(
        tmp_path,
        "user/data/--/revision/--/config/train/0/image/image.jpg",
        "user/data/--/other/--/config/train/0/image/image.jpg",
    )

    assert FolderStorage(tmp_path).remove("user/data") is True

    assert files(tmp_path) == []


def test_a_dataset_without_files_is_reported_as_such(tmp_path: Path) -> None:
    assert FolderStorage(tmp_path).remove("user/data") is False


def test_in_a_storage_that_does_not_exist_yet_a_dataset_has_no_files(tmp_path: Path) -> None:
    assert FolderStorage(tmp_path / "assets").remove("user/data") is False


@pytest.mark.parametrize(
    ("dataset", "kept"),
    [
        ("squad", ["squad/other/--/r/a", "squad2/--/r/a", "user/squad/--/r/a"]),
        ("squad/other", ["squad/--/r/a", "squad/other2/--/r/a"]),
        ("user/data", ["user/data2/--/r/a", "user/dat/--/r/a", "user/--/r/a"]),
        ("user/a b", ["user/a b/--/r/a", "user/a/--/r/a"]),
    ],
)
def test_the_files_of_other_datasets_are_left(tmp_path: Path, dataset: str, kept: list[str]) -> None:
    put(tmp_path, f"{dataset_folder(dataset)}/r/a", *kept)

    assert FolderStorage(tmp_path).remove(dataset) is True

    assert files(tmp_path) == sorted(kept)


@pytest.mark.parametrize("dataset", UNSAFE_NAMES)
def test_a_dataset_with_an_unsafe_name_is_refused_and_nothing_is_removed(
    tmp_path: Path, dataset: str
) -> None:
    kept = ["assets/--/r/a", "assets/user/--/r/a", "assets/squad/--/revision/--/a", "other/--/a", "--/a"]
    put(tmp_path, *kept)

    with pytest.raises(DatasetError, match="not safe"):
        FolderStorage(tmp_path / "assets").remove(dataset)

    assert files(tmp_path) == sorted(kept)


def test_a_symbolic_link_among_the_files_is_removed_and_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/precious", "assets/squad/--/r/a")
    (tmp_path / "assets/squad/--/link").symlink_to(tmp_path / "elsewhere")

    assert FolderStorage(tmp_path / "assets").remove("squad") is True

    assert files(tmp_path) == ["elsewhere/precious"]


def test_a_symbolic_link_in_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/precious")
    (tmp_path / "assets/squad").mkdir(parents=True)
    (tmp_path / "assets/squad/--").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(DatasetError, match=r"its files could not be removed: .*symbolic link"):
        FolderStorage(tmp_path / "assets").remove("squad")

    assert (tmp_path / "elsewhere/precious").exists()


@pytest.mark.parametrize("dataset", ["squad", "user/" + 300 * "x"], ids=["a file", "too long"])
def test_files_that_cannot_be_removed_are_an_error_of_the_dataset(tmp_path: Path, dataset: str) -> None:
    put(tmp_path, "squad/--", "user/data/--/r/a")

    with pytest.raises(DatasetError, match="its files could not be removed: "):
        FolderStorage(tmp_path).remove(dataset)
