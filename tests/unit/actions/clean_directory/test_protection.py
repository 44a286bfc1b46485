"""Which directories are cleaned, and which never."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from include.actions.clean_directory.rule import DirectoryCleaning
from include.errors import ConfigurationError
from tests.unit.actions.clean_directory.files import NEW, cleaned, cleaning, link


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
