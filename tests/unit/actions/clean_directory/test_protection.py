"""Which directories are cleaned, and which never."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from include.actions.clean_directory.protection import check_allowed
from include.actions.clean_directory.rule import DirectoryCleaning
from include.errors import ConfigurationError
from tests.unit.actions.clean_directory.files import NEW, OLD, cleaned, cleaning, link, put


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
def test_a_directory_that_may_hold_temporary_files_is_accepted(directory: str) -> None:
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
def test_a_directory_of_the_system_or_of_a_user_is_refused(directory: str) -> None:
    with pytest.raises(ConfigurationError, match="directory ") as refused:
        DirectoryCleaning("test", directory)

    assert repr(directory) in str(refused.value)


@pytest.mark.parametrize("of_the_home", [".", ".."])
def test_a_home_and_a_directory_that_contains_one_are_refused(
    storage: Path, monkeypatch: pytest.MonkeyPatch, of_the_home: str
) -> None:
    users = [SimpleNamespace(pw_dir=f"{storage}/service/home/")]
    monkeypatch.setattr("pwd.getpwall", lambda: users)

    with pytest.raises(ConfigurationError, match="is not cleaned: it is or contains the home of a user"):
        cleaning(storage / "service/home" / of_the_home)
    assert cleaning(storage / "service/home/cache").name == "test"


@pytest.mark.parametrize("target", ["/", "/etc", "/usr/share", "/tmp"])
def test_a_link_to_a_directory_of_the_system_is_refused(storage: Path, target: str) -> None:
    link(storage / "alias", Path(target), NEW)

    with pytest.raises(ConfigurationError, match=f"which is '{target}', is not cleaned: "):
        cleaned(storage / "alias", dry_run=True)


def test_a_path_through_a_link_to_a_directory_of_the_system_is_refused(storage: Path) -> None:
    link(storage / "alias", Path("/"), NEW)

    with pytest.raises(ConfigurationError, match="which is '/usr/share', is not cleaned: it belongs to the"):
        cleaned(storage / "alias/usr/share", dry_run=True)


# Allowed roots, protected paths and owners


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """Some folders and links, none of which resolves to anything outside."""
    root = Path(os.path.realpath(tmp_path))
    for name in ("cache/a/b", "cache2", "other"):
        (root / name).mkdir(parents=True)
    (root / "link-to-cache").symlink_to(root / "cache")
    (root / "cache/link-to-other").symlink_to(root / "other")
    return root


@pytest.mark.parametrize(
    ("directory", "roots"),
    [
        ("cache", ["cache"]),
        ("cache/a/b", ["cache"]),
        ("cache/a/b", ["other", "cache/a"]),
        ("cache/missing", ["cache"]),
        ("cache/../other", ["other/"]),
        ("link-to-cache/a", ["cache"]),
        ("cache/a", ["link-to-cache"]),
    ],
)
def test_a_directory_in_an_allowed_root_is_accepted(
    places: Path, directory: str, roots: Sequence[str]
) -> None:
    check_allowed(f"{places}/{directory}", [f"{places}/{root}" for root in roots], [])


@pytest.mark.parametrize(
    ("directory", "roots"),
    [
        ("cache", []),
        ("other", ["cache"]),
        ("cache2", ["cache"]),
        ("cache", ["cache/a"]),
        ("cache/../other", ["cache"]),
        ("cache/link-to-other", ["cache"]),
        ("link-to-cache", ["other"]),
    ],
)
def test_a_directory_outside_the_allowed_roots_is_refused(
    places: Path, directory: str, roots: Sequence[str]
) -> None:
    allowed = [f"{places}/{root}" for root in roots]

    with pytest.raises(ConfigurationError, match="is not cleaned: it is in none of the allowed") as refused:
        check_allowed(f"{places}/{directory}", allowed, [])

    assert f"directory '{places}/{directory}'" in str(refused.value)
    assert str(allowed)[1:-1] in str(refused.value)


@pytest.mark.parametrize(
    ("directory", "protected", "reason"),
    [
        ("cache", "cache", "lies in"),
        ("cache/a/b", "cache/a", "lies in"),
        ("cache", "cache/a/b", "contains"),
        ("cache/a", "link-to-cache", "lies in"),
        ("link-to-cache", "cache/a", "contains"),
    ],
)
def test_a_directory_that_lies_in_or_contains_a_protected_path_is_refused(
    places: Path, directory: str, protected: str, reason: str
) -> None:
    with pytest.raises(
        ConfigurationError, match=f"is not cleaned: it {reason} '{places}/{protected}', which is protected"
    ):
        check_allowed(f"{places}/{directory}", [str(places)], [f"{places}/other", f"{places}/{protected}"])


def test_a_directory_beside_a_protected_path_is_accepted(places: Path) -> None:
    check_allowed(f"{places}/cache", [str(places)], [f"{places}/cache2", f"{places}/other", f"{places}/cac"])


def test_the_root_of_the_file_system_allows_or_protects_everything(places: Path) -> None:
    check_allowed(f"{places}/cache", ["/"], [])

    with pytest.raises(ConfigurationError, match="it lies in '/', which is protected"):
        check_allowed(f"{places}/cache", ["/"], ["/"])


@pytest.mark.parametrize(("roots", "protected"), [([""], []), (["cache"], []), (["/"], [""]), (["/"], ["."])])
def test_roots_and_protected_paths_must_be_absolute(
    places: Path, monkeypatch: pytest.MonkeyPatch, roots: Sequence[str], protected: Sequence[str]
) -> None:
    monkeypatch.chdir(places)

    with pytest.raises(ConfigurationError, match="must be absolute, not '"):
        check_allowed(f"{places}/cache", roots, protected)


USER, GROUP, STRANGER = 1_001, 1_002, 1_003


@pytest.mark.parametrize(
    ("effective_user", "owner", "group", "mode", "accepted"),
    [
        (USER, USER, STRANGER, 0o755, True),
        (USER, STRANGER, STRANGER, 0o777, False),
        (USER, STRANGER, GROUP, 0o755, False),
        (USER, STRANGER, GROUP, 0o775, True),
        (USER, 0, STRANGER, 0o777, True),
        (0, STRANGER, STRANGER, 0o755, True),
    ],
    ids=[
        "its own",
        "a stranger's",
        "a stranger's that its group may read",
        "a stranger's that its group may write",
        "root's",
        "a stranger's, run by root",
    ],
)
def test_a_directory_of_another_user_is_refused_unless_it_is_shared(
    places: Path,
    monkeypatch: pytest.MonkeyPatch,
    effective_user: int,
    owner: int,
    group: int,
    mode: int,
    accepted: bool,
) -> None:
    directory = f"{places}/cache"
    status = SimpleNamespace(st_uid=owner, st_gid=group, st_mode=stat.S_IFDIR | mode)
    original = os.stat
    monkeypatch.setattr(
        os, "stat", lambda path, **options: status if path == directory else original(path, **options)
    )
    monkeypatch.setattr(os, "geteuid", lambda: effective_user)
    monkeypatch.setattr(os, "getegid", lambda: USER)
    monkeypatch.setattr(os, "getgroups", lambda: [GROUP])

    if accepted:
        check_allowed(directory, [str(places)], [])
    else:
        with pytest.raises(ConfigurationError, match="it belongs to the user 1003, who does not share it"):
            check_allowed(directory, [str(places)], [])


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_cleaning_checks_the_directory_that_it_opens(places: Path, dry_run: bool) -> None:
    put(places / "cache/old", OLD)
    put(places / "other/old", OLD)
    link(places / "cache/a/to-other", places / "other", NEW)

    with pytest.raises(ConfigurationError, match=f"'{places}/other' is not cleaned: it is in none of"):
        cleaned(places / "cache/a/to-other", roots=[f"{places}/cache"], dry_run=dry_run)
    with pytest.raises(ConfigurationError, match="which is protected"):
        cleaned(places / "other", roots=[str(places)], protected=[f"{places}/other"], dry_run=dry_run)
    summary = cleaned(
        places / "cache", roots=[f"{places}/cache"], protected=[f"{places}/other"], dry_run=dry_run
    )

    assert summary.files == 1
    assert (places / "other/old").exists()
