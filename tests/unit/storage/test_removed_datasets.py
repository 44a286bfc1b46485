"""The archives of removed datasets: their format, how they are found, and how long they are kept."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument

from include.errors import DatasetError
from include.storage.folder_archive import FolderArchive
from include.storage.removed_datasets import Header, Record, RemovedDatasets

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
DATABASES = {"cache": "the_cache", "queue": "the_queue"}


@pytest.fixture
def archives(tmp_path: Path) -> RemovedDatasets:
    return opened(tmp_path)


def opened(tmp_path: Path, max_bytes: int = 10**9) -> RemovedDatasets:
    return RemovedDatasets(FolderArchive(tmp_path / "archive"), timedelta(days=30), max_bytes, lambda: NOW)


def header(dataset: str = "user/data", at: datetime = NOW) -> Header:
    return Header(dataset, at, "2024-03", "backfill manual", "it is gone", "404", "Ada", DATABASES)


def raw(document: dict[str, Any]) -> RawBSONDocument:
    return RawBSONDocument(bson.encode(document))


def records(number: int = 2) -> Iterator[Record]:
    for index in range(number):
        yield "entry", raw({"_id": index, "content": {"rows": ["é" * 100] * 10, "at": NOW, "long": 2**40}})
    yield "job", raw({"_id": "job"})


def read(archives: RemovedDatasets, dataset: str = "user/data") -> tuple[Header, list[Record]]:
    [archive] = archives.removals(lambda name: name == dataset)[dataset]
    with archives.opened(archive) as (found, documents):
        return found, list(documents)


def as_bytes(found: list[Record]) -> list[tuple[str, bytes]]:
    return [(kind, bytes(document.raw)) for kind, document in found]


def test_an_archive_has_the_header_and_the_documents_byte_by_byte(archives: RemovedDatasets) -> None:
    archives.write(header(), records())

    found, documents = read(archives)

    assert found == header()
    assert as_bytes(documents) == as_bytes(list(records()))


def test_an_archive_can_be_read_without_this_program(archives: RemovedDatasets, tmp_path: Path) -> None:
    path = archives.write(header(), records())

    documents = bson.decode_all(gzip.decompress((tmp_path / "archive" / path).read_bytes()))

    assert path.startswith("2026-03-31/user/data/--/20260331T120000.000000Z-")
    assert [list(document) for document in documents] == [["header"], ["entry"], ["entry"], ["job"], ["end"]]
    assert documents[0]["header"]["reason"] == "it is gone"
    assert documents[-1]["end"] == {"entries": 2, "jobs": 1}


@pytest.mark.parametrize("name", ["squad", "user/data.v2", "user/é b", "a%2Fb/c"])
def test_a_dataset_of_any_name_is_found(archives: RemovedDatasets, name: str) -> None:
    archives.write(header(name), records())
    archives.write(header(f"{name}2"), records())

    assert read(archives, name)[0].dataset == name


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99, 1.0])
def test_an_archive_that_is_cut_off_or_changed_is_an_error(
    archives: RemovedDatasets, tmp_path: Path, share: float
) -> None:
    file = tmp_path / "archive" / archives.write(header(), records(100))
    data = file.read_bytes()
    position = min(int(len(data) * share), len(data) - 1)

    file.write_bytes(data[:position])
    with pytest.raises(DatasetError, match="damaged"):
        read(archives)

    file.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
    if position not in range(4, 10):  # the time, flags and system of gzip, which mean nothing
        with pytest.raises(DatasetError, match="damaged"):
            read(archives)


def test_an_archive_without_its_end_is_an_error(archives: RemovedDatasets, tmp_path: Path) -> None:
    file = tmp_path / "archive" / archives.write(header(), records())
    documents = list(bson.decode_iter(gzip.decompress(file.read_bytes())))
    file.write_bytes(gzip.compress(b"".join(map(bson.encode, documents[:-1]))))

    with pytest.raises(DatasetError, match="some of its documents are missing"):
        read(archives)


def test_an_archive_of_another_format_is_an_error(archives: RemovedDatasets, tmp_path: Path) -> None:
    file = tmp_path / "archive" / archives.write(header(), records())
    file.write_bytes(gzip.compress(bson.encode({"header": {"format": 2}})))

    with pytest.raises(DatasetError, match="of another version"):
        read(archives)


# Which archives


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def written(archives: RemovedDatasets, *archived: tuple[float, bool]) -> None:
    """Write archives of so many days ago, each noted as removed or not."""
    for days, removed in archived:
        path = archives.write(header(at=days_ago(days)), records())
        if removed:
            archives.note_removed(path)


@pytest.mark.parametrize(
    ("archived", "found"),
    [
        ([(3, True)], [3]),
        ([(3, False)], [3]),
        ([(3, True), (2, True)], [2]),
        ([(3, False), (2, True)], [2, 3]),
        ([(5, True), (4, False), (3, False), (2, True)], [2, 3, 4]),
        ([(3, True), (2, False)], [2]),
        ([(3, True), (0.2, False), (0.1, True)], [0.1, 0.2]),
    ],
)
def test_the_last_removal_has_also_the_archives_of_when_it_was_cut_short(
    archives: RemovedDatasets, archived: list[tuple[float, bool]], found: list[float]
) -> None:
    written(archives, *archived)

    [removal] = archives.removals(lambda _: True).values()

    assert [archive.archived_at for archive in removal] == [days_ago(days) for days in found]


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [(None, None, 1), (None, 1, 2), (2.5, 2, None), (3, 2, 3), (3, None, 1), (None, 3, None)],
)
def test_removals_are_found_by_their_time(
    archives: RemovedDatasets, since: float | None, until: float | None, found: float | None
) -> None:
    written(archives, (3, True), (2, True), (1, True))

    removals = archives.removals(
        lambda _: True,
        None if since is None else days_ago(since),
        None if until is None else days_ago(until),
    )

    assert [each.archived_at for each in removals.get("user/data", [])] == (
        [] if found is None else [days_ago(found)]
    )


# Room


def test_archives_are_kept_for_their_days_and_forgotten_before_the_next_is_written(
    archives: RemovedDatasets, tmp_path: Path
) -> None:
    for days in (29, 30, 31, 400):
        archives.write(header(f"user/{days}", days_ago(days)), records())
    (tmp_path / "archive" / "not-ours").mkdir()
    assert len(archives.storage.folders()) == 5

    opened(tmp_path).write(header(), records())

    assert sorted(archives.removals(lambda _: True)) == ["user/29", "user/30", "user/data"]
    assert "not-ours" in archives.storage.folders()


def test_an_archive_that_would_make_all_of_them_too_large_is_not_written(
    archives: RemovedDatasets, tmp_path: Path
) -> None:
    archives.write(header("user/first"), records())
    [size] = [file.size for file in archives.storage.files("2026-03-31")]

    full = opened(tmp_path, max_bytes=int(2.5 * size))
    full.write(header("user/second"), records())
    with pytest.raises(DatasetError, match=r"raise the Variable datasets_server_archive_max_bytes"):
        full.write(header("user/third"), records())

    assert sorted(full.removals(lambda _: True)) == ["user/first", "user/second"]
    assert len(list(full.storage.files("2026-03-31"))) == 2
    opened(tmp_path, max_bytes=int(3.5 * size)).write(header("user/third"), records())


def test_of_an_archive_whose_documents_cannot_be_read_nothing_is_left(archives: RemovedDatasets) -> None:
    def failing() -> Iterator[Record]:
        yield from records()
        raise RuntimeError("MongoDB is gone")

    with pytest.raises(RuntimeError, match="MongoDB is gone"):
        archives.write(header(), failing())

    assert list(archives.storage.files("2026-03-31")) == []


def test_a_dataset_with_an_unsafe_name_is_not_archived(archives: RemovedDatasets, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not safe"):
        archives.write(header("user/.."), records())

    assert not (tmp_path / "archive").exists()
