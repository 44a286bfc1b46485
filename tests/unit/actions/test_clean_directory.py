"""What a cleaning deletes, what it leaves, and that nothing leads it out of its directory."""

from __future__ import annotations

import glob
import json
import os
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.actions import clean_directory
from include.actions.clean_directory import (
    ATTEMPTS_TO_EMPTY,
    MAX_DEPTH,
    CleaningSummary,
    DirectoryCleaning,
    clean,
    cleaning_report,
    parse_cleanings,
)
from include.errors import ConfigurationError
from include.summaries import as_text

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
EXPIRY = timedelta(hours=3)
OLD = NOW - timedelta(hours=4)
NEW = NOW - timedelta(hours=1)


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


def touch(path: Path, accessed: datetime | int) -> Path:
    """Set when a path, itself, was last accessed: a time, or nanoseconds since 1970."""
    nanoseconds = accessed if isinstance(accessed, int) else int(accessed.timestamp() * 10**6) * 1000
    os.utime(path, ns=(nanoseconds, nanoseconds), follow_symlinks=False)
    return path


def put(path: Path, accessed: datetime | int, content: str = "1234567890") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return touch(path, accessed)


def folder(path: Path, accessed: datetime) -> Path:
    path.mkdir(parents=True)
    return touch(path, accessed)


def link(path: Path, target: Path, accessed: datetime) -> Path:
    path.symlink_to(target)
    return touch(path, accessed)


def paths(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def cleaning(directory: Path, pattern: str = "*", **fields: Any) -> DirectoryCleaning:
    return DirectoryCleaning("test", str(directory), pattern, **fields)


def cleaned(directory: Path, pattern: str = "*", judge_by: str = "path", **options: Any) -> CleaningSummary:
    return clean(cleaning(directory, pattern, judge_by=judge_by), **{"now": NOW} | options)


# What is deleted


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
    assert summary == CleaningSummary(matched=4, files=3, folders=2, bytes_freed=30)


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
def test_what_was_last_accessed_at_least_the_expiry_ago_is_expired(
    storage: Path, age: timedelta, deleted: bool
) -> None:
    path = put(storage / "file", NOW - age)

    cleaned(storage)

    assert path.exists() is not deleted


def test_the_time_is_now_unless_it_is_given(storage: Path) -> None:
    put(storage / "old", datetime.now(UTC) - timedelta(minutes=2))
    put(storage / "new", datetime.now(UTC))

    clean(cleaning(storage, expired_time_interval_seconds=60))

    assert paths(storage) == {"new"}


def test_writing_does_not_count_as_access(storage: Path) -> None:
    path = put(storage / "file", OLD)
    os.utime(path, (OLD.timestamp(), NOW.timestamp()))

    cleaned(storage)

    assert not path.exists()


def test_folders_above_the_matches_stay(storage: Path) -> None:
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
def test_a_folder_is_judged_by_itself_or_by_what_it_holds(
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


def test_by_contents_an_empty_folder_below_counts_by_itself(storage: Path) -> None:
    folder(storage / "old/empty", OLD)
    folder(storage / "new/empty", NEW)
    put(storage / "new/file", OLD)

    cleaned(storage, judge_by="contents")

    assert paths(storage) == {"new", "new/empty", "new/file"}


def test_by_contents_a_file_is_judged_as_ever(storage: Path) -> None:
    put(storage / "old", OLD)
    put(storage / "new", NEW)

    cleaned(storage, judge_by="contents")

    assert paths(storage) == {"new"}


def test_looking_into_a_folder_is_no_access(storage: Path) -> None:
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


def test_a_file_with_another_name_frees_nothing_yet(storage: Path) -> None:
    os.link(put(storage / "old", OLD), storage.parent / "other-name")
    put(storage / "single", OLD)

    assert cleaned(storage).bytes_freed == 10


def test_names_that_are_no_text_are_deleted_and_can_be_reported(storage: Path) -> None:
    name = os.fsdecode(b"\xff\n")
    put(storage / name, OLD)

    summary = cleaned(storage)

    assert paths(storage) == set()
    assert summary.deleted_sample[0].startswith(rf"'{storage}/\udcff\n': last accessed ")
    json.dumps(summary.as_json(), ensure_ascii=False).encode()


# Dry run


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
    assert (dry.matched, dry.files, dry.folders) == (4, 32, 5)
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


@pytest.mark.parametrize(
    "pattern",
    ["", " ", "/", "/etc/*", "//*", "..", "../*", "a/../*", "*/..", "a//b", "*/", ".", "./*", "a/./b", "a\0"],
)
def test_a_pattern_that_could_lead_out_is_refused(storage: Path, pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="pattern must be "):
        cleaning(storage, pattern)


# Directories


@pytest.mark.parametrize(
    "directory",
    [
        *(
            "/storage/hf-datasets-cache",
            "/storage/a/b",
            "/tmp/x",
            "/data/x",
            "/mnt/x",
            "/srv/x",
            "/var/tmp/x",
        ),
        *("/home/user/cache", "/opt/service/cache", "/storage//x/", "//storage/x", "/storage/y/../x"),
        *("/library/x", "/etcetera/x"),
    ],
)
def test_a_directory_of_temporary_files_is_cleaned(directory: str) -> None:
    assert DirectoryCleaning("test", directory).directory == directory


@pytest.mark.parametrize(
    "directory",
    [
        *("", " ", ".", "..", "storage", "storage/x", "./storage/x", "~/cache/x", "/storage/x\0"),
        *("/", "//", "///", "/.", "/..", "/storage", "/storage/", "//storage", "/storage/x/..", "/tmp"),
        *("/root", "/home", "/home/user", "/home/user/", "/home/user/x/..", "/opt/service", "/var/cache"),
        *(
            "/etc",
            "/etc/ssl",
            "/usr/local/share/x",
            "/bin/x",
            "/lib/x",
            "/proc/1/cwd",
            "/sys/fs/cgroup",
            "/dev/shm",
        ),
        *(
            "/run/lock/x",
            "/var/lib/postgresql",
            "/var/log/airflow",
            "/tmp/../etc/ssl",
            "//etc/ssl",
            "/boot/x",
        ),
    ],
)
def test_a_directory_that_is_needed_is_refused(directory: str) -> None:
    with pytest.raises(ConfigurationError, match="directory ") as refused:
        DirectoryCleaning("test", directory)

    assert repr(directory) in str(refused.value)


@pytest.mark.parametrize("of_the_home", [".", ".."])
def test_a_home_and_what_holds_one_is_refused(
    storage: Path, monkeypatch: pytest.MonkeyPatch, of_the_home: str
) -> None:
    users = [SimpleNamespace(pw_dir=f"{storage}/service/home/")]
    monkeypatch.setattr("pwd.getpwall", lambda: users)

    with pytest.raises(ConfigurationError, match="is not cleaned: it is, or holds, the home of a user"):
        cleaning(storage / "service/home" / of_the_home)
    assert cleaning(storage / "service/home/cache").name == "test"


def test_a_file_in_place_of_the_directory_is_one_clear_error(storage: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"cannot be opened: .* It must be a folder that the workers"
    ):
        cleaned(put(storage / "file", OLD))
    with pytest.raises(ConfigurationError, match="cannot be opened: Not a directory"):
        cleaned(storage / "file/below")


def test_a_name_that_is_too_long_is_one_clear_error(storage: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be opened: File name too long"):
        cleaned(storage / ("x" * 300))


# Symbolic links


def test_a_link_to_the_directory_is_resolved(storage: Path) -> None:
    put(storage / "old", OLD)
    alias = link(storage.parent / "alias", storage, NEW)

    cleaned(alias)

    assert paths(storage) == set()
    assert alias.is_symlink()


@pytest.mark.parametrize("target", ["/", "/etc", "/usr/share", "/tmp"])
def test_a_link_to_a_directory_that_is_needed_is_refused(storage: Path, target: str) -> None:
    link(storage / "alias", Path(target), NEW)

    with pytest.raises(ConfigurationError, match=f"which is '{target}', is not cleaned: "):
        cleaned(storage / "alias", dry_run=True)


def test_a_link_on_the_way_to_a_directory_that_is_needed_is_refused(storage: Path) -> None:
    link(storage / "alias", Path("/"), NEW)

    with pytest.raises(ConfigurationError, match="which is '/usr/share', is not cleaned: it belongs to the"):
        cleaned(storage / "alias/usr/share", dry_run=True)


def test_a_loop_of_links_is_one_clear_error(storage: Path) -> None:
    link(storage / "alias", storage / "alias", NEW)

    with pytest.raises(ConfigurationError, match="cannot be opened"):
        cleaned(storage / "alias")


@pytest.mark.parametrize("judge_by", ["path", "contents"])
def test_a_link_that_matches_is_deleted_itself_by_its_own_age(
    storage: Path, elsewhere: Path, judge_by: str
) -> None:
    new = put(storage.parent / "new", NEW)
    for age, accessed in (("old", OLD), ("new", NEW)):
        link(storage / f"{age}-to-folder", elsewhere, accessed)
        link(storage / f"{age}-to-old", elsewhere / "precious", accessed)
        link(storage / f"{age}-to-new", new, accessed)
        link(storage / f"{age}-to-nothing", storage / "nothing", accessed)

    summary = cleaned(storage, judge_by=judge_by)

    assert paths(storage) == {"new-to-folder", "new-to-old", "new-to-new", "new-to-nothing"}
    assert summary.failed == 0
    assert (elsewhere / "precious").exists()
    assert new.exists()


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


# Races


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let something happen just before a function of os is called for a name, as many times as is said."""

    def arrange(function: str, name: str, happen: Callable[[], object], times: int = 1) -> None:
        original, left = getattr(os, function), [happen] * times

        def called(path: Any, *args: Any, **kwargs: Any) -> Any:
            if path == name and left:
                left.pop()()
            return original(path, *args, **kwargs)

        monkeypatch.setattr(os, function, called)

    return arrange


@pytest.mark.parametrize(
    ("function", "name"), [("stat", "file"), ("unlink", "file"), ("open", "folder"), ("rmdir", "folder")]
)
@pytest.mark.parametrize("judge_by", ["path", "contents"])
def test_a_path_that_vanishes_meanwhile_is_fine(
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
def test_a_path_below_a_match_that_vanishes_meanwhile_is_fine(
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
def test_a_link_that_takes_the_place_of_a_folder_is_not_followed(
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
def test_a_folder_that_is_filled_meanwhile_is_emptied_again_but_not_for_ever(
    storage: Path, before: Callable[..., None], times: int, left: set[str], failed: int
) -> None:
    folder(storage / "folder", OLD)
    before("rmdir", "folder", lambda: put(storage / "folder/late", NEW), times)

    summary = cleaned(storage)

    assert paths(storage) == left
    assert summary.failed == failed
    assert ["others go on to fill the folder" in error for error in summary.error_sample] == [True] * failed


# What cannot be deleted


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


@pytest.mark.parametrize("judge_by", ["path", "contents"])
def test_what_cannot_be_deleted_is_named_with_the_reason_and_the_rest_is_deleted(
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
    assert (summary.files, summary.folders, summary.failed) == (2, 2, 1)
    assert summary.error_sample == [f"'{public_storage}/folder/locked/file': Permission denied"]
    assert [line.split("'")[1] for line in summary.deleted_sample] == [f"{public_storage}/other"]


def test_a_folder_that_cannot_be_looked_into_is_left(public_storage: Path) -> None:
    for name in ("hidden", "middle"):
        put(public_storage / name / "file", OLD)
        (public_storage / name).chmod(0)

    by_contents = cleaned(public_storage, "hidden", judge_by="contents")
    on_the_way = cleaned(public_storage, "middle/*")

    assert by_contents.error_sample == [f"'{public_storage}/hidden': Permission denied"]
    assert on_the_way.error_sample == [f"'{public_storage}/middle': Permission denied"]


def test_a_directory_that_may_not_be_opened_is_one_clear_error(public_storage: Path) -> None:
    folder(public_storage / "closed", OLD).chmod(0)

    with pytest.raises(ConfigurationError, match="closed' cannot be opened: Permission denied"):
        cleaned(public_storage / "closed")
    with pytest.raises(ConfigurationError, match="cannot be opened: Permission denied"):
        cleaned(public_storage / "closed/below")


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


def test_folders_may_be_nested_deeply(storage: Path) -> None:
    nested(storage / "deep", MAX_DEPTH)

    summary = cleaned(storage)

    assert paths(storage) == set()
    assert (summary.files, summary.folders) == (1, MAX_DEPTH + 1)


@pytest.mark.parametrize("judge_by", ["path", "contents"])
def test_folders_that_are_nested_too_deeply_are_left(storage: Path, judge_by: str) -> None:
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
def test_what_is_mounted_below_the_directory_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_directory, "_SYSTEM_TREES", ())

    summary = cleaned(Path("/sys/fs"), "cgroup", now=datetime.now(UTC) + timedelta(days=1), dry_run=True)

    assert summary.error_sample == ["'/sys/fs/cgroup': another file system is mounted there"]
    assert (summary.files, summary.folders, summary.failed) == (0, 0, 1)


# Intervals


def test_neighbouring_intervals_share_no_path_and_lose_none(storage: Path) -> None:
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


def test_in_an_interval_only_what_is_expired_is_deleted(storage: Path) -> None:
    put(storage / "old", OLD)
    put(storage / "new", NEW)

    summary = cleaned(storage, accessed_from=OLD, accessed_to=NOW)

    assert paths(storage) == {"new"}
    assert summary.matched == 2


@pytest.mark.parametrize("newest", [OLD, OLD - timedelta(hours=1)])
def test_by_contents_the_newest_below_has_to_be_in_the_interval(storage: Path, newest: datetime) -> None:
    put(storage / "folder/a", OLD - timedelta(days=1))
    put(storage / "folder/b", newest)

    cleaned(storage, judge_by="contents", accessed_from=OLD, accessed_to=OLD + timedelta(seconds=1))

    assert (paths(storage) == set()) is (newest == OLD)


# Size


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


# The Variable


def test_a_list_of_cleanings_is_read() -> None:
    text = """[
        {"name": "duckdb-cache", "directory": "/storage/duckdb-index", "pattern": "cache/*",
         "expired_time_interval_seconds": 259200, "judge_by": "contents"},
        {"name": "defaults", "directory": "/storage/hf-datasets-cache"}
    ]"""

    assert parse_cleanings(text) == (
        DirectoryCleaning("duckdb-cache", "/storage/duckdb-index", "cache/*", 259_200, "contents"),
        DirectoryCleaning("defaults", "/storage/hf-datasets-cache", "*/datasets/*", 10_800, "path"),
    )
    assert parse_cleanings("[]") == ()


ENTRY: dict[str, Any] = {"name": "a", "directory": "/storage/a"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, r"It may hold a JSON list, such as \[\{"),
        (None, r"It may hold a JSON list, such as \[\{"),
        ([ENTRY, "a"], "Entry 2 must be an object, not 'a'."),
        ([{"name": "a"}], "Entry 1 lacks directory."),
        ([{}], "Entry 1 lacks directory, name."),
        ([ENTRY | {"expiry": 1}], "Entry 1 has no use for expiry. Its fields are directory, expired_time"),
        ([ENTRY, ENTRY], "Each name may occur once; a occurs more often."),
        ([ENTRY | {"name": ""}], "Entry 1: name must be a text that is not empty, not ''."),
        ([ENTRY | {"name": 1}], "Entry 1: name must be a text that is not empty, not 1."),
        ([ENTRY | {"directory": None}], "Entry 1: directory must be a text that is not empty, not None."),
        ([ENTRY | {"directory": "/etc/ssl"}], "Entry 1: directory '/etc/ssl' is not cleaned: it belongs to"),
        ([ENTRY | {"pattern": "../*"}], "Entry 1: pattern must be relative to the directory"),
        ([ENTRY | {"judge_by": "age"}], "Entry 1: judge_by must be path or contents, not 'age'."),
        ([ENTRY | {"judge_by": ["path"]}], "Entry 1: judge_by must be path or contents, not "),
        *(
            (
                [ENTRY | {"expired_time_interval_seconds": seconds}],
                "must be a whole number of 0 or more, not ",
            )
            for seconds in (-1, 1.5, "60", True, None)
        ),
    ],
)
def test_what_is_no_list_of_cleanings_is_one_clear_error(value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_cleanings(json.dumps(value))


def test_what_is_no_json_is_one_clear_error() -> None:
    with pytest.raises(
        ConfigurationError, match=r"It may hold a JSON list, such as \[.*, but: Expecting value"
    ):
        parse_cleanings("/storage/a")


# The report


def test_a_report_can_be_read() -> None:
    report = cleaning_report(
        {"one": CleaningSummary(files=1_234)}, 1.23, dry_run=False, not_cleaned=["third"]
    )

    lines = as_text(report).splitlines()

    assert lines[:4] == [
        "The run did this:",
        "  duration seconds: 1.2",
        "  directories, one, matched: 0",
        "  directories, one, files: 1,234",
    ]
    assert lines[-1] == "  not cleaned: third"


def test_a_report_sums_up_the_directories() -> None:
    one = CleaningSummary(5, 4, 3, 2, 1, ["'/a/b': last accessed 2024"], ["'/a/c': Permission denied"])
    other = CleaningSummary(matched=1, files=1, bytes_freed=1)

    report = cleaning_report({"one": one, "other": other}, 1.23, dry_run=False, not_cleaned=["third"])

    assert json.loads(json.dumps(report)) == {
        "dry_run": False,
        "duration_seconds": 1.2,
        "directories": {
            "one": {"matched": 5, "files": 4, "folders": 3, "bytes_freed": 2, "failed": 1},
            "other": {"matched": 1, "files": 1, "folders": 0, "bytes_freed": 1, "failed": 0},
        },
        "total": {"matched": 6, "files": 5, "folders": 3, "bytes_freed": 3, "failed": 1},
        "not_cleaned": ["third"],
        "deleted_sample": ["'/a/b': last accessed 2024"],
        "error_sample": ["'/a/c': Permission denied"],
    }
