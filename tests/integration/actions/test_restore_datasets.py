"""Archiving datasets and putting them back, on a real MongoDB, in a folder and on a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bson.datetime_ms import DatetimeMS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dev.local_stack.documents import CACHE, CACHE_TOTALS, JOBS, new_job, write_totals
from dev.local_stack.s3_server import S3Server
from include.actions.backfill.archiving import Archived, Archiver, Cause
from include.actions.restore_datasets import Restorer, RestoreSummary
from include.databases.cache_store import CacheStore
from include.errors import DatasetError
from include.planning.processing_graph import DEFAULT_RELEASE, Release
from include.storage.bucket_archive import BucketArchive
from include.storage.folder_archive import FolderArchive
from include.storage.removed_datasets import RemovedDatasets
from tests.builders import NOON, REVISION, contents, insert_up_to_date
from tests.integration.conftest import Stores

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "removed-datasets"
CAUSE = Cause("it is not found on the Hub", "404")

pytestmark = pytest.mark.parametrize("release_name", [DEFAULT_RELEASE])


@pytest.fixture
def s3(s3_server: S3Server) -> Iterator[S3Client]:
    client = s3_server.client()
    client.create_bucket(Bucket=BUCKET)
    yield client
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def archives(tmp_path: Path) -> RemovedDatasets:
    return in_folder(tmp_path)


def in_folder(tmp_path: Path) -> RemovedDatasets:
    return RemovedDatasets(FolderArchive(tmp_path / "archive"), timedelta(days=30), 10**9)


def put(stores: Stores, release: Release, *names: str) -> None:
    """Let datasets have entries and a waiting job, and the counts be right."""
    for name in names:
        insert_up_to_date(stores.databases.cache, release, name)
        job = new_job(release.step("dataset-config-names"), name, REVISION, created_at=NOON)
        stores.databases.queue[JOBS].insert_one(job)
    write_totals(stores.databases.cache, stores.databases.queue, release)


def archive(stores: Stores, archives: RemovedDatasets, name: str) -> Archived | None:
    return Archiver(archives, stores.cache, stores.queue, "2024-03", "backfill one").archive(name, CAUSE)


def remove(stores: Stores, archives: RemovedDatasets, *names: str) -> None:
    """Remove datasets as a removal does, without their files."""
    for name in names:
        archived = archive(stores, archives, name)
        assert archived is not None
        stores.queue.remove([name], deletable=archived.jobs)
        stores.cache.remove_unchanged(archived.entries)
        stores.cache.pay_owed_counts()
        archives.note_removed(archived.path)


def restore(stores: Stores, archives: RemovedDatasets, *names: str, **options: Any) -> RestoreSummary:
    restores = stores.maintenance.restores()
    return Restorer(archives, stores.cache, "restore one", restores, **options).restore(names)


def everything(stores: Stores) -> dict[str, list[dict[str, Any]]]:
    """All documents of the cache, with all their fields."""
    database = stores.databases.cache
    return {name: sorted(database[name].find(), key=repr) for name in (CACHE, CACHE_TOTALS)}


def entries_of(stores: Stores, name: str) -> list[dict[str, Any]]:
    return list(stores.databases.cache[CACHE].find({"dataset": name}))


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_removed_dataset_comes_back_as_it_was_with_its_counts(
    stores: Stores, release: Release, tmp_path: Path, s3: S3Client, place: str
) -> None:
    archives = in_folder(tmp_path)
    if place == "bucket":
        archives = RemovedDatasets(BucketArchive(lambda: s3, BUCKET, "a/b"), timedelta(days=30), 10**9)
    put(stores, release, "squad", "squad/other", "user/data")
    before = everything(stores)
    number = len(entries_of(stores, "squad"))

    remove(stores, archives, "squad", "user/data")
    assert [entry["dataset"] for entry in everything(stores)[CACHE]] == ["squad/other"] * number

    summary = restore(stores, archives, "squad", "user/data")

    assert everything(stores) == before
    assert (summary.restored, summary.failed, summary.archives) == (2, 0, 2)
    assert (summary.restored_entries, summary.present_entries, summary.jobs_left_out) == (2 * number, 0, 2)
    assert summary.restored_sample[0].endswith(" by backfill one: it is not found on the Hub")


def test_jobs_do_not_come_back(stores: Stores, release: Release, archives: RemovedDatasets) -> None:
    put(stores, release, "user/data")
    remove(stores, archives, "user/data")
    queue = contents(stores.databases.queue)

    restore(stores, archives, "user/data")

    assert contents(stores.databases.queue) == queue
    assert list(stores.databases.queue[JOBS].find()) == []


def test_restoring_again_changes_nothing(stores: Stores, release: Release, archives: RemovedDatasets) -> None:
    put(stores, release, "user/data")
    remove(stores, archives, "user/data")
    restore(stores, archives, "user/data")
    before = everything(stores)

    summary = restore(stores, archives, "user/data")

    assert everything(stores) == before
    assert (summary.restored_entries, summary.present_entries) == (0, len(before[CACHE]))


def test_an_entry_that_exists_is_newer_and_stays(
    stores: Stores, release: Release, archives: RemovedDatasets
) -> None:
    put(stores, release, "user/data")
    remove(stores, archives, "user/data")
    newer = {
        "kind": "config-size",
        "dataset": "user/data",
        "config": "config",
        "split": None,
        "http_status": 500,
        "error_code": "New",
        "content": {"new": True},
    }
    stores.databases.cache[CACHE].insert_one(newer)
    write_totals(stores.databases.cache, stores.databases.queue, release)

    summary = restore(stores, archives, "user/data")

    assert stores.databases.cache[CACHE].find_one({"kind": "config-size"}) == newer
    assert summary.present_entries == 1
    assert_counts_are_right(stores)


def test_a_dry_run_counts_everything_and_writes_nothing(
    stores: Stores, release: Release, archives: RemovedDatasets
) -> None:
    put(stores, release, "user/data", "user/other")
    remove(stores, archives, "user/data", "user/other")
    stores.databases.cache[CACHE].insert_one({"kind": "dataset-size", "dataset": "user/data"})
    before = contents(stores.databases.cache, stores.databases.queue, stores.databases.maintenance)

    preview = restore(stores, archives, "user/data", "user/other", dry_run=True)

    after = contents(stores.databases.cache, stores.databases.queue, stores.databases.maintenance)
    assert after == before
    assert preview == restore(stores, archives, "user/data", "user/other")
    assert preview.present_entries == 1


@pytest.mark.parametrize("dry_run", [False, True])
def test_entries_that_name_files_of_the_assets_are_counted_and_can_be_left_out(
    stores: Stores, release: Release, archives: RemovedDatasets, dry_run: bool
) -> None:
    put(stores, release, "user/data")
    url = "http://localhost/assets/user/data/--/1/--/config/train/0/image/image.jpg"
    of_another = "http://localhost/assets/user/data2/--/1/--/config/train/0/image/image.jpg"
    entries = stores.databases.cache[CACHE]
    entries.update_one({"kind": "split-first-rows"}, {"$set": {"content": {"rows": [{"src": url}]}}})
    entries.update_one({"kind": "dataset-size"}, {"$set": {"content": {"src": of_another}}})
    number = entries.count_documents({})
    remove(stores, archives, "user/data")

    summary = restore(stores, archives, "user/data", without_files=True, dry_run=dry_run)

    assert (summary.entries_with_files, summary.restored_entries) == (1, number - 1)
    assert entries.find_one({"kind": "split-first-rows"}) is None
    assert_counts_are_right(stores)
    summary = restore(stores, archives, "user/data", dry_run=dry_run)
    assert (summary.entries_with_files, summary.restored_entries) == (1, number if dry_run else 1)


def test_a_wildcard_restores_all_that_it_names_and_nothing_else(
    stores: Stores, release: Release, archives: RemovedDatasets
) -> None:
    put(stores, release, "org/one", "org/two", "other/three")
    remove(stores, archives, "org/one", "org/two", "other/three")

    assert restore(stores, archives, "org/*").restored == 2

    assert sorted(stores.cache.dataset_names()) == ["org/one", "org/two"]


def test_a_dataset_that_is_back_is_written_down_even_by_another_attempt(
    stores: Stores, release: Release, archives: RemovedDatasets
) -> None:
    put(stores, release, "user/data", "user/other")
    remove(stores, archives, "user/data", "user/other")
    restores = stores.maintenance.restores()
    restore(stores, archives, "user/data", dry_run=True)
    assert restores.of("user/data") is None
    Restorer(archives, stores.cache, "killed before it wrote it down", None).restore(["user/data"])

    restore(stores, archives, "user/data")

    noted = restores.of("user/data")
    assert noted is not None
    assert noted.run == "restore one"
    assert restores.of("user/other") is None


def test_a_damaged_archive_is_not_written_down_as_a_restore(
    stores: Stores, release: Release, archives: RemovedDatasets, tmp_path: Path
) -> None:
    put(stores, release, "user/damaged")
    remove(stores, archives, "user/damaged")
    [file] = (tmp_path / "archive").rglob("user/damaged/--/*.gz")
    file.write_bytes(file.read_bytes()[:-20])

    restore(stores, archives, "user/damaged")

    assert stores.maintenance.restores().of("user/damaged") is None


def test_an_archive_without_entries_is_not_written_down_as_a_restore(
    stores: Stores, release: Release, archives: RemovedDatasets
) -> None:
    put(stores, release, "user/data")
    stores.databases.cache[CACHE].delete_many({})
    remove(stores, archives, "user/data")

    assert restore(stores, archives, "user/data").restored == 1

    assert stores.maintenance.restores().of("user/data") is None


def test_a_name_without_an_archive_is_an_error_of_this_dataset(
    stores: Stores, release: Release, archives: RemovedDatasets
) -> None:
    put(stores, release, "user/data")
    remove(stores, archives, "user/data")

    summary = restore(stores, archives, "user/unknown", "nothing/*", "user/data")

    assert (summary.restored, summary.failed) == (1, 1)
    assert summary.error_sample == ["user/unknown: there is no archive of a removal in this time"]


def test_a_damaged_archive_restores_nothing_and_the_others_are_restored(
    stores: Stores, release: Release, archives: RemovedDatasets, tmp_path: Path
) -> None:
    put(stores, release, "user/damaged", "user/data")
    remove(stores, archives, "user/damaged", "user/data")
    [file] = (tmp_path / "archive").rglob("user/damaged/--/*.gz")
    file.write_bytes(file.read_bytes()[:-20])

    summary = restore(stores, archives, "user/*")

    assert (summary.restored, summary.failed) == (1, 1)
    assert "is damaged" in summary.error_sample[0]
    assert list(stores.cache.dataset_names()) == ["user/data"]


def test_a_dataset_without_entries_and_waiting_jobs_has_no_archive(
    stores: Stores, release: Release, archives: RemovedDatasets
) -> None:
    assert archive(stores, archives, "user/unknown") is None
    assert archives.storage.folders() == []


def test_what_changes_after_it_was_archived_is_not_removed(
    stores: Stores, release: Release, archives: RemovedDatasets
) -> None:
    put(stores, release, "user/data")
    archived = archive(stores, archives, "user/data")
    assert archived is not None
    entries = stores.databases.cache[CACHE]
    entries.update_one({"kind": "dataset-size"}, {"$set": {"updated_at": NOON, "content": {"new": 1}}})
    entries.insert_one({"kind": "new", "dataset": "user/data", "http_status": 200, "error_code": None})
    stores.databases.queue[JOBS].update_one({}, {"$set": {"status": "started"}})

    stores.queue.remove(["user/data"], deletable=archived.jobs)
    stores.cache.remove_unchanged(archived.entries)

    assert [entry["kind"] for entry in entries_of(stores, "user/data")] == ["dataset-size", "new"]
    assert stores.databases.queue[JOBS].count_documents({}) == 1


def test_a_removal_that_was_cut_short_comes_back_as_a_whole(
    stores: Stores, release: Release, archives: RemovedDatasets
) -> None:
    put(stores, release, "user/data")
    before = everything(stores)
    archived = archive(stores, archives, "user/data")
    assert archived is not None
    half = dict(list(archived.entries.items())[: len(archived.entries) // 2])
    stores.cache.remove_unchanged(half)

    remove(stores, archives, "user/data")
    preview = restore(stores, archives, "user/data", dry_run=True)
    summary = restore(stores, archives, "user/data")

    assert everything(stores) == before
    assert preview == summary
    assert (summary.archives, summary.restored_entries) == (2, len(before[CACHE]))


@pytest.mark.parametrize(
    "change",
    [
        {"updated_at": DatetimeMS(2**60)},
        {"updated_at": {"a": 1}},
        {"kind": 5},
        {"config": {"a": [1]}},
        {"http_status": "200"},
        {"error_code": 1},
    ],
    ids=str,
)
def test_a_malformed_entry_comes_back_as_it_was_too(
    stores: Stores, release: Release, archives: RemovedDatasets, change: dict[str, Any]
) -> None:
    put(stores, release, "user/data")
    stores.databases.cache[CACHE].update_one({"kind": "dataset-size"}, {"$set": change})
    before = {entry["_id"]: entry.raw for entry in stores.cache.raw_entries("user/data")}

    remove(stores, archives, "user/data")
    assert stores.databases.cache[CACHE].count_documents({}) == 0
    restore(stores, archives, "user/data")
    restore(stores, archives, "user/data")

    assert {entry["_id"]: entry.raw for entry in stores.cache.raw_entries("user/data")} == before


def test_a_document_whose_id_is_no_value_is_an_error_of_its_dataset(
    stores: Stores, release: Release, archives: RemovedDatasets
) -> None:
    stores.databases.cache[CACHE].insert_one({"_id": {"a": 1}, "kind": "any", "dataset": "user/data"})

    with pytest.raises(DatasetError, match="its id is"):
        archive(stores, archives, "user/data")

    assert archives.storage.folders() == []


def assert_counts_are_right(stores: Stores) -> None:
    cache = stores.databases.cache
    counted = {
        (group["_id"].get("kind"), group["_id"].get("http_status"), group["_id"].get("error_code")): group[
            "n"
        ]
        for group in cache[CACHE].aggregate(
            [
                {
                    "$group": {
                        "_id": {"kind": "$kind", "http_status": "$http_status", "error_code": "$error_code"},
                        "n": {"$sum": 1},
                    }
                }
            ]
        )
    }
    assert {
        (total["kind"], total["http_status"], total["error_code"]): total["total"]
        for total in cache[CACHE_TOTALS].find({"total": {"$ne": 0}})
    } == counted


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("key") | st.just("a.b"), inner),
    max_leaves=5,
)
artifacts = st.tuples(st.sampled_from(["one", "two"]), st.none() | names, st.none() | names)


@given(
    entries=st.dictionaries(
        artifacts,
        st.fixed_dictionaries(
            {
                "http_status": st.sampled_from([200, 500]),
                "error_code": st.none() | st.just("Code"),
                "content": values,
            }
        ),
        max_size=8,
    ),
    newer=st.lists(st.integers(0, 7)),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_entries_are_they_come_back_where_there_is_no_newer_one(
    stores: Stores, release: Release, archives: RemovedDatasets, entries: dict[Any, Any], newer: list[int]
) -> None:
    collection = stores.databases.cache[CACHE]
    collection.delete_many({})
    stores.databases.cache[CACHE_TOTALS].delete_many({})
    documents = [
        {"kind": kind, "dataset": "user/data", "config": config, "split": split, **fields}
        for (kind, config, split), fields in entries.items()
    ]
    if not documents:
        return
    collection.insert_many(documents)
    write_totals(stores.databases.cache, stores.databases.queue, release)
    cache = CacheStore(stores.databases.cache)
    before = {entry["_id"]: entry.raw for entry in cache.raw_entries("user/data")}
    remove(stores, archives, "user/data")
    assert_counts_are_right(stores)
    replaced = {index for index in newer if index < len(documents)}
    for index in replaced:
        key = {field: documents[index][field] for field in ("kind", "dataset", "config", "split")}
        collection.insert_one({**key, "http_status": 201, "error_code": None})
    write_totals(stores.databases.cache, stores.databases.queue, release)

    restore(stores, archives, "user/data")

    after = {entry["_id"]: entry.raw for entry in cache.raw_entries("user/data")}
    stayed = {document["_id"] for index, document in enumerate(documents) if index not in replaced}
    assert len(after) == len(documents)
    assert {_id: raw for _id, raw in after.items() if _id in stayed} == {_id: before[_id] for _id in stayed}
    assert_counts_are_right(stores)
