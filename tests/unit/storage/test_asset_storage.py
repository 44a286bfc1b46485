"""The folder of a dataset in a storage."""

from __future__ import annotations

import pytest

from include.errors import DatasetError
from include.storage.asset_storage import dataset_folder


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
def test_each_dataset_has_its_own_folder(dataset: str, folder: str) -> None:
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
def test_a_name_that_could_lead_to_other_files_is_refused(dataset: str) -> None:
    with pytest.raises(DatasetError) as refused:
        dataset_folder(dataset)

    assert str(refused.value) == f"the name {dataset!r} is not safe as a folder of a storage"
