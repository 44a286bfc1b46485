"""Where the files of a dataset lie, and their removal from a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.errors import DatasetError
from include.storage.asset_storage import FolderStorage, dataset_folder


@pytest.mark.parametrize(
    ("dataset", "folder"),
    [
        ("squad", "squad/--"),
        ("user/data", "user/data/--"),
        ("user/My_data.v2-0", "user/My_data.v2-0/--"),
        ("user/a b", "user/a%20b/--"),
        ("user/été", "user/%C3%A9t%C3%A9/--"),
        ("user/\U0001f917", "user/%F0%9F%A4%97/--"),
        ("user/a\\b", "user/a%5Cb/--"),
        ("user/%2E%2E", "user/%252E%252E/--"),
        ("user/a--b", "user/a--b/--"),
        ("user/...", "user/.../--"),
    ],
)
def test_a_dataset_has_a_folder_of_its_own(dataset: str, folder: str) -> None:
    assert dataset_folder(dataset) == folder


UNSAFE_NAMES = [
    "",
    "/",
    ".",
    "..",
    "../user",
    "user/..",
    "user/.",
    "user/../other",
    "/etc",
    "//etc",
    "user/",
    "user//data",
    "--",
    "user/--",
    "--/data",
    "squad/--/revision",
    "user/da\0ta",
]


@pytest.mark.parametrize("dataset", UNSAFE_NAMES)
def test_a_name_that_leads_elsewhere_is_refused(dataset: str) -> None:
    with pytest.raises(DatasetError) as refused:
        dataset_folder(dataset)

    assert str(refused.value) == f"the name {dataset!r} is not safe as a folder of a storage"


class TestFolderStorage:
    def files(self, root: Path) -> list[str]:
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())

    def put(self, root: Path, *names: str) -> None:
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("a row")

    def test_removes_all_the_files_of_a_dataset(self, tmp_path: Path) -> None:
        self.put(
            tmp_path,
            "user/data/--/revision/--/config/train/0/image/image.jpg",
            "user/data/--/other/--/config/train/0/image/image.jpg",
        )

        assert FolderStorage(tmp_path).remove("user/data") is True

        assert self.files(tmp_path) == []

    def test_tells_that_there_was_nothing(self, tmp_path: Path) -> None:
        assert FolderStorage(tmp_path).remove("user/data") is False

    def test_tells_that_there_is_no_storage_yet(self, tmp_path: Path) -> None:
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
    def test_leaves_other_datasets_alone(self, tmp_path: Path, dataset: str, kept: list[str]) -> None:
        self.put(tmp_path, f"{dataset_folder(dataset)}/r/a", *kept)

        assert FolderStorage(tmp_path).remove(dataset) is True

        assert self.files(tmp_path) == sorted(kept)

    @pytest.mark.parametrize("dataset", UNSAFE_NAMES)
    def test_an_unsafe_name_removes_nothing(self, tmp_path: Path, dataset: str) -> None:
        files = ["assets/--/r/a", "assets/user/--/r/a", "assets/squad/--/revision/--/a", "other/--/a", "--/a"]
        self.put(tmp_path, *files)

        with pytest.raises(DatasetError, match="not safe"):
            FolderStorage(tmp_path / "assets").remove(dataset)

        assert self.files(tmp_path) == sorted(files)

    def test_a_symbolic_link_among_the_files_is_removed_and_not_followed(self, tmp_path: Path) -> None:
        self.put(tmp_path, "elsewhere/precious", "assets/squad/--/r/a")
        (tmp_path / "assets/squad/--/link").symlink_to(tmp_path / "elsewhere")

        assert FolderStorage(tmp_path / "assets").remove("squad") is True

        assert self.files(tmp_path) == ["elsewhere/precious"]

    def test_a_symbolic_link_in_place_of_the_folder_is_not_followed(self, tmp_path: Path) -> None:
        self.put(tmp_path, "elsewhere/precious")
        (tmp_path / "assets/squad").mkdir(parents=True)
        (tmp_path / "assets/squad/--").symlink_to(tmp_path / "elsewhere")

        with pytest.raises(DatasetError, match=r"its files could not be removed: .*symbolic link"):
            FolderStorage(tmp_path / "assets").remove("squad")

        assert (tmp_path / "elsewhere/precious").exists()

    @pytest.mark.parametrize("dataset", ["squad", "user/" + 300 * "x"], ids=["a file", "too long"])
    def test_a_failure_is_an_error_of_this_dataset(self, tmp_path: Path, dataset: str) -> None:
        self.put(tmp_path, "squad/--", "user/data/--/r/a")

        with pytest.raises(DatasetError, match="its files could not be removed: "):
            FolderStorage(tmp_path).remove(dataset)
