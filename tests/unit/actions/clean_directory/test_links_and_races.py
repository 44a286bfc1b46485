"""No symbolic link and no other program leads a cleaning out of its directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from include.actions.clean_directory.deletion import ATTEMPTS_TO_EMPTY
from include.errors import ConfigurationError
from tests.unit.actions.clean_directory.files import NEW, OLD, cleaned, folder, link, paths, put, touch

# Symbolic links


def test_a_directory_that_is_a_link_is_cleaned_where_the_link_leads(storage: Path) -> None:
    put(storage / "old", OLD)
    alias = link(storage.parent / "alias", storage, NEW)

    cleaned(alias)

    assert paths(storage) == set()
    assert alias.is_symlink()


def test_a_loop_of_links_is_a_configuration_error(storage: Path) -> None:
    link(storage / "alias", storage / "alias", NEW)

    with pytest.raises(ConfigurationError, match="cannot be opened"):
        cleaned(storage / "alias")


@pytest.mark.parametrize("judge_by", ["path", "contents"])
def test_a_link_to_a_file_is_judged_by_the_file_and_deleted_alone(
    storage: Path, elsewhere: Path, judge_by: str
) -> None:
    new = put(storage.parent / "new", NEW)
    for age, accessed in (("old", OLD), ("new", NEW)):
        link(storage / f"{age}-to-old", elsewhere / "precious", accessed)
        link(storage / f"{age}-to-new", new, accessed)

    summary = cleaned(storage, judge_by=judge_by)

    assert paths(storage) == {"old-to-new", "new-to-new"}
    assert (summary.matched, summary.files, summary.failed) == (4, 2, 0)
    assert (elsewhere / "precious").exists()
    assert new.exists()


@pytest.mark.parametrize("judge_by", ["path", "contents"])
def test_a_link_to_a_folder_and_one_that_leads_nowhere_are_left(
    storage: Path, elsewhere: Path, judge_by: str
) -> None:
    link(storage / "to-folder", elsewhere, OLD)
    link(storage / "to-nothing", storage / "nothing", OLD)
    link(storage / "to-itself", storage / "to-itself", OLD)

    summary = cleaned(storage, judge_by=judge_by)

    assert paths(storage) == {"to-folder", "to-nothing", "to-itself"}
    assert paths(elsewhere) == {"precious"}
    assert (summary.matched, summary.files, summary.failed) == (3, 0, 0)


def test_a_link_in_the_middle_of_a_pattern_is_not_followed(storage: Path, elsewhere: Path) -> None:
    put(storage / "user/datasets/old", OLD)
    link(storage / "link", elsewhere, OLD)
    put(elsewhere / "datasets/old", OLD)
    (storage / "other").mkdir()
    link(storage / "other/datasets", elsewhere, OLD)

    summary = cleaned(storage, "*/datasets/*")

    assert paths(storage) == {"user", "user/datasets", "link", "other", "other/datasets"}
    assert paths(elsewhere) == {"precious", "datasets", "datasets/old"}
    assert (summary.matched, summary.failed) == (1, 0)


@pytest.mark.parametrize("judge_by", ["path", "contents"])
def test_a_link_below_a_match_is_deleted_and_not_followed(
    storage: Path, elsewhere: Path, judge_by: str
) -> None:
    put(elsewhere / "new", NEW)
    put(storage / "folder/below/file", OLD)
    link(storage / "folder/below/to-folder", elsewhere, OLD)
    link(storage / "folder/below/to-file", elsewhere / "precious", OLD)
    link(storage / "folder/up", storage.parent, OLD)
    touch(storage / "folder", OLD)

    summary = cleaned(storage, judge_by=judge_by)

    assert paths(storage) == set()
    assert (summary.files, summary.folders) == (4, 2)
    assert paths(elsewhere) == {"precious", "new"}


# Other programs at work in the directory


@contextmanager
def scandir_and_then(
    scandir: Callable[[int], Any], name: str, happen: Callable[[], object], folder: int
) -> Iterator[Iterator[os.DirEntry[str]]]:
    """List a folder, and let something happen once its entry of a name is listed."""

    def listed(entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
        for entry in entries:
            if entry.name == name:
                happen()
            yield entry

    with scandir(folder) as entries:
        yield listed(entries)


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let something happen just before a function of os is called for a name, the first ``times`` times.

    ``stat`` is that of an entry which a folder has just listed.
    """

    def arrange(function: str, name: str, happen: Callable[[], object], times: int = 1) -> None:
        if function == "stat":
            monkeypatch.setattr(os, "scandir", partial(scandir_and_then, os.scandir, name, happen))
            return
        original, left = getattr(os, function), [happen] * times

        def called(path: Any, *args: Any, **kwargs: Any) -> Any:
            if path == name and left:
                left.pop()()
            return original(path, *args, **kwargs)

        monkeypatch.setattr(os, function, called)

    return arrange


AfterResolving = Callable[[Callable[[], object]], None]


@pytest.fixture
def after_resolving(monkeypatch: pytest.MonkeyPatch) -> AfterResolving:
    """Let something happen once the links in the path of the directory are resolved."""
    realpath = os.path.realpath

    def arrange(happen: Callable[[], object]) -> None:
        def resolve(path: str) -> str:
            resolved = realpath(path)
            happen()
            return resolved

        monkeypatch.setattr(os.path, "realpath", resolve)

    return arrange


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("swapped", ["storage", "storage/below", "storage/below/directory"])
def test_a_link_that_takes_the_place_of_a_parent_before_the_directory_is_opened_is_not_followed(
    tmp_path: Path, after_resolving: AfterResolving, swapped: str, dry_run: bool
) -> None:
    directory = tmp_path / "storage/below/directory"
    put(directory / "old", OLD)
    elsewhere = tmp_path / "elsewhere"
    precious = put(elsewhere / directory.relative_to(tmp_path / swapped) / "precious", OLD)

    def swap() -> None:
        (tmp_path / swapped).rename(tmp_path / "moved")
        (tmp_path / swapped).symlink_to(elsewhere)

    after_resolving(swap)

    with pytest.raises(ConfigurationError, match="cannot be opened: Not a directory"):
        cleaned(directory, dry_run=dry_run)

    assert precious.exists()


def test_a_missing_directory_is_not_created_behind_a_link_that_takes_the_place_of_its_parent(
    tmp_path: Path, after_resolving: AfterResolving, elsewhere: Path
) -> None:
    (tmp_path / "storage").mkdir()

    def swap() -> None:
        (tmp_path / "storage").rmdir()
        (tmp_path / "storage").symlink_to(elsewhere)

    after_resolving(swap)

    with pytest.raises(ConfigurationError, match="cannot be opened: Not a directory"):
        cleaned(tmp_path / "storage/below/directory")

    assert paths(elsewhere) == {"precious"}


@pytest.mark.parametrize(
    ("function", "name"), [("stat", "file"), ("unlink", "file"), ("open", "folder"), ("rmdir", "folder")]
)
@pytest.mark.parametrize("judge_by", ["path", "contents"])
def test_a_match_that_vanishes_during_the_cleaning_is_no_error(
    storage: Path, before: Callable[..., None], function: str, name: str, judge_by: str
) -> None:
    put(storage / "file", OLD)
    folder(storage / "folder", OLD)
    put(storage / "other", OLD)
    path = storage / name
    before(function, name, path.unlink if name == "file" else path.rmdir)

    summary = cleaned(storage, judge_by=judge_by)

    assert paths(storage) == set()
    assert summary.error_sample == []


@pytest.mark.parametrize("function", ["unlink", "open"])
def test_a_path_below_a_match_that_vanishes_during_the_cleaning_is_no_error(
    storage: Path, before: Callable[..., None], function: str
) -> None:
    put(storage / "folder/file", OLD)
    folder(storage / "folder/below", OLD)
    touch(storage / "folder", OLD)
    path = storage / "folder" / ("file" if function == "unlink" else "below")
    before(function, path.name, path.unlink if function == "unlink" else path.rmdir)

    summary = cleaned(storage)

    assert paths(storage) == set()
    assert summary.error_sample == []


@pytest.mark.parametrize("judge_by", ["path", "contents"])
@pytest.mark.parametrize("name", ["folder", "below"])
def test_a_link_that_takes_the_place_of_a_folder_during_the_cleaning_is_not_followed(
    storage: Path, elsewhere: Path, before: Callable[..., None], name: str, judge_by: str
) -> None:
    below = folder(storage / "folder/below", OLD)
    replaced = touch(below.parent, OLD) if name == "folder" else below

    def replace() -> None:
        replaced.rename(storage.parent / "moved")
        replaced.symlink_to(elsewhere)

    before("open", name, replace)

    cleaned(storage, judge_by=judge_by)

    assert paths(elsewhere) == {"precious"}


def test_a_folder_that_takes_the_place_of_the_judged_one_is_left(
    storage: Path, before: Callable[..., None]
) -> None:
    path = folder(storage / "folder", OLD)
    other = put(storage.parent / "other/new", NEW).parent

    def replace() -> None:
        path.rmdir()
        other.rename(path)

    before("open", "folder", replace)

    summary = cleaned(storage)

    assert paths(storage) == {"folder", "folder/new"}
    assert (summary.files, summary.folders, summary.failed) == (0, 0, 0)


@pytest.mark.parametrize(
    ("times", "left", "failed"),
    [(1, set(), 0), (ATTEMPTS_TO_EMPTY - 1, set(), 0), (ATTEMPTS_TO_EMPTY, {"folder", "folder/late"}, 1)],
)
def test_a_folder_that_others_fill_is_emptied_again_but_not_for_ever(
    storage: Path, before: Callable[..., None], times: int, left: set[str], failed: int
) -> None:
    folder(storage / "folder", OLD)
    before("rmdir", "folder", lambda: put(storage / "folder/late", NEW), times)

    summary = cleaned(storage)

    assert paths(storage) == left
    assert summary.failed == failed
    assert ["other programs keep filling the folder" in error for error in summary.error_sample] == [
        True
    ] * failed
