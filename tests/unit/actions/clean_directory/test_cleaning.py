"""What a cleaning deletes and what it leaves."""

from __future__ import annotations

import glob
import json
import os
import socket
import stat
import tempfile
import tracemalloc
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.actions.clean_directory.cleaning import clean
from include.actions.clean_directory.report import CleaningSummary
from include.actions.clean_directory.rule import DirectoryCleaning
from tests.unit.actions.clean_directory.files import (
    EXPIRY,
    NEW,
    NOW,
    OLD,
    cleaned,
    cleaning,
    folder,
    link,
    paths,
    put,
    touch,
)

# Ages


def test_expired_files_and_folders_are_deleted_and_reported(storage: Path) -> None:
    put(storage / "old-file", OLD)
    put(storage / "new-file", NEW)
    put(storage / "old-folder/a", OLD)
    put(storage / "old-folder/b/c", NEW)
    touch(storage / "old-folder", OLD)
    put(storage / "new-folder/d", OLD)
    touch(storage / "new-folder", NEW)

    summary = cleaned(storage)

    assert paths(storage) == {"new-file", "new-folder", "new-folder/d"}
    sample = [f"'{storage}/{name}': last accessed 2024-03-01 08:00:00" for name in ("old-file", "old-folder")]
    assert sorted(summary.deleted_sample) == sample
    summary.deleted_sample.clear()
    assert summary == CleaningSummary(matched=4, due_paths=2, files=3, folders=2, bytes_freed=30)


@pytest.mark.parametrize(
    ("age", "deleted"),
    [
        (EXPIRY - timedelta(microseconds=1), False),
        (EXPIRY, True),
        (EXPIRY + timedelta(microseconds=1), True),
        (timedelta(0), False),
        (-timedelta(days=1), False),
        (timedelta(days=20_000), True),
    ],
)
def test_a_path_expires_when_its_last_access_is_at_least_the_expiry_ago(
    storage: Path, age: timedelta, deleted: bool
) -> None:
    path = put(storage / "file", NOW - age)

    cleaned(storage)

    assert path.exists() is not deleted


def test_without_a_given_time_ages_are_measured_from_now(storage: Path) -> None:
    put(storage / "old", datetime.now(UTC) - timedelta(minutes=2))
    put(storage / "new", datetime.now(UTC))

    clean(cleaning(storage, expired_time_interval_seconds=60))

    assert paths(storage) == {"new"}


def test_writing_does_not_count_as_access(storage: Path) -> None:
    path = put(storage / "file", OLD)
    os.utime(path, (OLD.timestamp(), NOW.timestamp()))

    cleaned(storage)

    assert not path.exists()


def test_the_folders_above_a_match_are_left(storage: Path) -> None:
    put(storage / "user/datasets/squad/data", OLD)
    put(storage / "user/other/squad/data", OLD)
    for path in sorted(storage.rglob("*")):
        touch(path, OLD)

    summary = clean(DirectoryCleaning("test", str(storage)), now=NOW)

    assert paths(storage) == {
        "user",
        "user/datasets",
        *("user/other", "user/other/squad", "user/other/squad/data"),
    }
    assert (summary.matched, summary.files, summary.folders) == (1, 1, 1)


@pytest.mark.parametrize(
    ("itself", "below", "by_path", "by_contents"),
    [
        (OLD, {"file": OLD}, True, True),
        (NEW, {"file": OLD}, False, True),
        (OLD, {"file": NEW}, True, False),
        (NEW, {"a": OLD, "b/c": OLD, "b/d": NEW}, False, False),
        (NEW, {"a": OLD, "b/c": OLD, "b/d/e": OLD}, False, True),
        (OLD, {}, True, True),
        (NEW, {}, False, False),
    ],
)
def test_a_folder_is_judged_by_its_own_last_access_or_by_that_of_its_contents(
    storage: Path, itself: datetime, below: dict[str, datetime], by_path: bool, by_contents: bool
) -> None:
    def deleted(judge_by: str) -> bool:
        path = storage / "folder"
        path.mkdir(exist_ok=True)
        for name, accessed in below.items():
            put(path / name, accessed)
        touch(path, itself)
        cleaned(storage, judge_by=judge_by)
        return not path.exists()

    assert deleted("path") is by_path
    assert deleted("contents") is by_contents


def test_by_contents_an_empty_folder_below_counts_with_its_own_last_access(storage: Path) -> None:
    folder(storage / "old/empty", OLD)
    folder(storage / "new/empty", NEW)
    put(storage / "new/file", OLD)

    cleaned(storage, judge_by="contents")

    assert paths(storage) == {"new", "new/empty", "new/file"}


def test_by_contents_a_file_is_judged_by_its_own_last_access(storage: Path) -> None:
    put(storage / "old", OLD)
    put(storage / "new", NEW)

    cleaned(storage, judge_by="contents")

    assert paths(storage) == {"new"}


def test_looking_into_a_folder_does_not_renew_it(storage: Path) -> None:
    put(storage / "folder/below/new", NEW)
    put(storage / "folder/below/old", OLD)
    looked_at = sorted(storage.rglob("*"))
    for path in looked_at:
        touch(path, NEW)

    cleaned(storage, judge_by="contents")

    assert {path.lstat().st_atime for path in looked_at} == {NEW.timestamp()}


def test_a_missing_directory_is_created(storage: Path) -> None:
    assert cleaned(storage / "not/there") == CleaningSummary()

    assert paths(storage) == {"not", "not/there"}


def test_a_deleted_file_with_another_name_frees_no_bytes(storage: Path) -> None:
    os.link(put(storage / "old", OLD), storage.parent / "other-name")
    put(storage / "single", OLD)

    assert cleaned(storage).bytes_freed == 10


def test_a_path_whose_name_is_not_valid_text_is_deleted_and_reported(storage: Path) -> None:
    name = os.fsdecode(b"\xff\n")
    put(storage / name, OLD)

    summary = cleaned(storage)

    assert paths(storage) == set()
    assert summary.deleted_sample[0].startswith(rf"'{storage}/\udcff\n': last accessed ")
    json.dumps(summary.as_json(), ensure_ascii=False).encode()


# Special files


def special_file(path: Path, kind: str) -> None:
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(path))  # an absolute path may be too long
    elif kind == "device":
        os.mknod(path, stat.S_IFCHR, os.makedev(1, 3))
    else:
        os.mkfifo(path)
    touch(path, OLD)


special_files = pytest.mark.parametrize(
    "kind",
    [
        "FIFO",
        "socket",
        pytest.param(
            "device", marks=pytest.mark.skipif(os.geteuid() != 0, reason="root alone makes devices")
        ),
    ],
)


@special_files
@pytest.mark.parametrize("judge_by", ["path", "contents"])
def test_a_special_file_that_matches_and_a_link_to_it_are_left(
    storage: Path, monkeypatch: pytest.MonkeyPatch, kind: str, judge_by: str
) -> None:
    monkeypatch.chdir(storage)
    special_file(storage / "special", kind)
    link(storage / "link", storage / "special", OLD)

    summary = cleaned(storage, judge_by=judge_by)

    assert paths(storage) == {"special", "link"}
    assert (summary.matched, summary.files, summary.failed) == (2, 0, 0)


@special_files
@pytest.mark.parametrize("judge_by", ["path", "contents"])
def test_a_special_file_below_a_folder_is_deleted_with_the_folder(
    storage: Path, monkeypatch: pytest.MonkeyPatch, kind: str, judge_by: str
) -> None:
    put(storage / "folder/file", OLD)
    monkeypatch.chdir(storage / "folder")
    special_file(storage / "folder/special", kind)
    touch(storage / "folder", OLD)

    summary = cleaned(storage, judge_by=judge_by)

    assert paths(storage) == set()
    assert (summary.files, summary.folders, summary.failed) == (2, 1, 0)


# A dry run


def test_a_dry_run_counts_what_a_run_deletes_and_changes_nothing(storage: Path, elsewhere: Path) -> None:
    put(storage / "file", OLD)
    put(storage / "new", NEW)
    for number in range(30):
        put(storage / f"folder/{number % 3}/{number}", OLD)
    link(storage / "folder/link", elsewhere, OLD)
    folder(storage / "empty", OLD)
    before = sorted(storage.rglob("*"))
    for path in before:
        if path.name != "new":
            touch(path, OLD)

    dry = cleaned(storage, dry_run=True)

    assert {path.lstat().st_atime for path in before if path.name != "new"} == {OLD.timestamp()}
    assert dry == cleaned(storage)
    assert paths(storage) == {"new"}
    assert (dry.matched, dry.due_paths, dry.files, dry.folders) == (4, 3, 32, 5)
    assert dry.bytes_freed == 31 * 10 + len(str(elsewhere))


def test_a_dry_run_creates_no_directory(storage: Path) -> None:
    assert cleaned(storage / "not/there", dry_run=True) == CleaningSummary()

    assert paths(storage) == set()


# Patterns


NAMES = st.text("ab.[]!*-\n", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
PATTERN_PARTS = st.one_of(
    NAMES,
    st.text("ab.[]!*?-\n", min_size=1, max_size=5).filter(lambda part: part not in (".", "..")),
    st.sampled_from(["*", "**", "?", "[ab]", "[!a]*", ".*", "[.]*", "[", "[]]", "[a-b]?", "*.*"]),
)


@settings(deadline=None)  # a busy machine is no failure
@given(
    names=st.lists(st.tuples(NAMES, NAMES), max_size=6),
    pattern=st.lists(PATTERN_PARTS, min_size=1, max_size=3).map("/".join).filter(str.strip),
)
def test_a_pattern_matches_what_glob_matches(names: list[tuple[str, str]], pattern: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        storage = Path(temporary) / "storage"
        storage.mkdir()
        for parent, name in names:
            put(storage / parent / name, OLD)
        before = paths(storage)
        matched = set(glob.glob(pattern, root_dir=storage))  # noqa: PTH207 - pathlib's differs

        summary = clean(cleaning(storage, pattern, expired_time_interval_seconds=0))

        assert summary.matched == len(matched)
        assert paths(storage) == {
            path for path in before if path not in matched and path.split("/")[0] not in matched
        }


# Intervals


def test_adjacent_intervals_share_no_path_and_miss_none(storage: Path) -> None:
    noon = int((NOW - timedelta(days=2)).timestamp()) * 10**9
    hour = 3600 * 10**9
    times = [noon + hours * hour + more for hours in range(4) for more in (-1001, -1, 0, 1, 999, 1000)]
    for number, accessed in enumerate(times):
        put(storage / str(number), accessed)
    edges = [NOW - timedelta(days=2, hours=1 - hours) for hours in range(6)]

    found: list[str] = []
    for start, end in pairwise(edges):
        here = paths(storage)
        summary = cleaned(storage, accessed_from=start, accessed_to=end)
        gone = here - paths(storage)
        assert summary.files == len(gone)
        assert {
            int(start.timestamp()) * 10**9 <= times[int(name)] < int(end.timestamp()) * 10**9 for name in gone
        } == {True}
        found += gone

    assert sorted(found, key=int) == [str(number) for number in range(len(times))]


def test_a_path_in_the_interval_that_has_not_expired_is_left(storage: Path) -> None:
    put(storage / "old", OLD)
    put(storage / "new", NEW)

    summary = cleaned(storage, accessed_from=OLD, accessed_to=NOW)

    assert paths(storage) == {"new"}
    assert summary.matched == 2


@pytest.mark.parametrize("newest", [OLD, OLD - timedelta(hours=1)])
def test_by_contents_the_newest_last_access_below_must_be_in_the_interval(
    storage: Path, newest: datetime
) -> None:
    put(storage / "folder/a", OLD - timedelta(days=1))
    put(storage / "folder/b", newest)

    cleaned(storage, judge_by="contents", accessed_from=OLD, accessed_to=OLD + timedelta(seconds=1))

    assert (paths(storage) == set()) is (newest == OLD)


# Memory


@pytest.mark.parametrize("pattern", ["*", "*/*"])
def test_the_memory_does_not_grow_with_the_number_of_files(storage: Path, pattern: str) -> None:
    def peak(files: int) -> int:
        (storage / "folder").mkdir()
        for number in range(files):
            os.close(os.open(storage / f"folder/{number:0100}", os.O_CREAT))
        tracemalloc.start()
        summary = clean(cleaning(storage, pattern, expired_time_interval_seconds=0))
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert summary.files == files
        (storage / "folder").mkdir(exist_ok=True)
        (storage / "folder").rmdir()
        return memory

    assert peak(10_000) < peak(100) + 50_000
