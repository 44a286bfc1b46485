"""The removal of datasets that are archived first: only what is archived is removed."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dev.local_stack.documents import CACHE, JOBS, new_job
from dev.local_stack.hub_server import HubDataset, HubServer
from include.actions.backfill import removal as removal_module
from include.actions.backfill.archiving import Archiver, Cause
from include.actions.backfill.pipeline import Backfill, BackfillOptions
from include.actions.backfill.removal import ARCHIVES_AT_MOST, Remover, UnsupportedRemoval
from include.actions.backfill.removal_limit import RemovalLimit
from include.actions.restore_datasets import Restorer
from include.errors import ConfigurationError
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.planning.processing_graph import DEFAULT_RELEASE, Release
from include.storage.folder_archive import FolderArchive
from include.storage.folder_storage import FolderStorage
from include.storage.removed_datasets import Header, RemovedDatasets
from tests.builders import NOON, OTHER_REVISION, REVISION, contents, insert_up_to_date
from tests.integration.conftest import Stores

CAUSE = Cause("it is gone", "404")


@pytest.fixture
def release_name() -> str:
    return DEFAULT_RELEASE


@pytest.fixture
def archives(tmp_path: Path) -> RemovedDatasets:
    return RemovedDatasets(FolderArchive(tmp_path / "archive"), timedelta(days=30), 10**9)


@pytest.fixture
def remover(stores: Stores, archives: RemovedDatasets, tmp_path: Path) -> Remover:
    archiver = Archiver(archives, stores.cache, stores.queue, "2024-03", "backfill manual", "Ada")
    return Remover(stores.cache, stores.queue, [FolderStorage(tmp_path / "assets")], archiver=archiver)


def put(stores: Stores, release: Release, root: Path, *names: str) -> None:
    """Let datasets have entries, a waiting and a started job, and a file."""
    for name in names:
        insert_up_to_date(stores.databases.cache, release, name)
        put_job(stores, release, name, "dataset-config-names")
        put_job(stores, release, name, "dataset-size", status="started")
        (root / "assets" / name / "--").mkdir(parents=True)


def put_job(stores: Stores, release: Release, name: str, step: str, **fields: Any) -> None:
    job = new_job(release.step(step), name, REVISION, created_at=NOON) | fields
    stores.databases.queue[JOBS].insert_one(job)


def documents(stores: Stores) -> dict[str, list[dict[str, Any]]]:
    return contents(stores.databases.cache, stores.databases.queue)


def archived(archives: RemovedDatasets, name: str) -> list[tuple[Header, dict[str, int]]]:
    """The headers of the last removal's archives and the numbers of their documents, the newest first."""
    found = []
    for archive in archives.removals(lambda each: each == name).get(name, []):
        with archives.opened(archive) as (header, records):
            kinds = [kind for kind, _ in records]
        found.append((header, {kind: kinds.count(kind) for kind in ("entry", "job")}))
    return found


def test_everything_that_is_removed_is_in_an_archive_that_says_why(
    stores: Stores, release: Release, remover: Remover, archives: RemovedDatasets, tmp_path: Path
) -> None:
    put(stores, release, tmp_path, "user/data")
    entries = len(list(stores.databases.cache[CACHE].find()))

    summary = remover.remove(["user/data", "unknown"], cause=CAUSE)

    assert (summary.removed, summary.archives, summary.failed) == (2, 1, 0)
    assert (summary.cache_entries, summary.waiting_jobs, summary.asset_folders) == (entries, 1, 1)
    [(header, numbers)] = archived(archives, "user/data")
    assert numbers == {"entry": entries, "job": 1}
    assert (header.reason, header.hub_answer, header.approved_by) == ("it is gone", "404", "Ada")
    assert (header.release, header.run) == ("2024-03", "backfill manual")
    assert header.databases == {"cache": stores.databases.cache.name, "queue": stores.databases.queue.name}
    assert list(stores.databases.cache[CACHE].find()) == []
    assert [job["status"] for job in stores.databases.queue[JOBS].find()] == ["started"]


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_finds_no_room_is_not_removed_and_the_others_are(
    stores: Stores, release: Release, remover: Remover, tmp_path: Path
) -> None:
    put(stores, release, tmp_path, "user/large")
    noise = {"content": {"noise": random.randbytes(100_000)}}
    stores.databases.cache[CACHE].update_one({"kind": "dataset-size"}, {"$set": noise})
    before = documents(stores)
    put(stores, release, tmp_path, "user/small")
    stores.databases.queue[JOBS].delete_many({"dataset": "user/small", "status": "started"})

    with files_limited_to(50_000):
        summary = remover.remove(["user/large", "user/small"])

    assert (summary.removed, summary.failed) == (1, 1)
    assert "File too large" in summary.error_sample[0]
    assert {name: found for name, found in documents(stores).items() if name in before} == before
    assert (tmp_path / "assets/user/large/--").exists()
    assert [path.parts[-3] for path in (tmp_path / "archive").rglob("*.gz")] == ["small"]


def test_without_the_folder_of_the_archives_nothing_is_removed(
    stores: Stores, release: Release, remover: Remover, tmp_path: Path
) -> None:
    put(stores, release, tmp_path, "user/data")
    before = documents(stores)
    assert remover.archiver is not None
    nowhere = FolderArchive(tmp_path / "not-mounted" / "archive")
    missing = replace(remover.archiver, archives=RemovedDatasets(nowhere, timedelta(days=30), 10**9))

    with pytest.raises(ConfigurationError, match="not-mounted"):
        replace(remover, archiver=missing).remove(["user/data"])

    assert documents(stores) == before
    assert (tmp_path / "assets/user/data/--").exists()


def meanwhile(monkeypatch: pytest.MonkeyPatch, event: Callable[[int], None]) -> None:
    """Let something happen each time between the archive and the removal of what it has."""
    archive = Archiver.archive
    times = iter(range(100))

    def archive_then(*arguments: Any, **options: Any) -> Any:
        found = archive(*arguments, **options)
        if found is not None:
            event(next(times))
        return found

    monkeypatch.setattr(Archiver, "archive", archive_then)


def test_what_a_worker_writes_meanwhile_is_archived_too(
    stores: Stores,
    release: Release,
    remover: Remover,
    archives: RemovedDatasets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(stores, release, tmp_path, "user/data")
    entries = stores.databases.cache[CACHE]

    def work(time: int) -> None:
        if time == 0:
            newer = {"content": {"newer": True}, "updated_at": NOON}
            entries.update_one({"kind": "dataset-size"}, {"$set": newer})
            entries.insert_one({"kind": "new", "dataset": "user/data", "updated_at": NOON})
            put_job(stores, release, "user/data", "dataset-info")

    meanwhile(monkeypatch, work)

    summary = remover.remove(["user/data"])

    assert (summary.removed, summary.archives) == (1, 2)
    assert next(numbers for _, numbers in archived(archives, "user/data")) == {"entry": 2, "job": 1}
    assert list(entries.find()) == []
    Restorer(archives, stores.cache, "a run", restores=None).restore(["user/data"])
    assert entries.find_one({"kind": "dataset-size"}, {"_id": 0, "content": 1}) == {
        "content": {"newer": True}
    }
    assert entries.count_documents({"kind": "new"}) == 1


def test_a_dataset_that_others_write_to_all_the_time_stays_and_counts_as_failed(
    stores: Stores, release: Release, remover: Remover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(stores, release, tmp_path, "user/data")

    def work(time: int) -> None:
        stores.databases.cache[CACHE].insert_one({"kind": f"{time}", "dataset": "user/data"})

    meanwhile(monkeypatch, work)

    summary = remover.remove(["user/data"])

    assert (summary.removed, summary.failed, summary.archives) == (0, 1, ARCHIVES_AT_MOST)
    assert summary.error_sample == ["user/data: other programs write to it all the time"]
    assert (tmp_path / "assets/user/data/--").exists()


class TestOfUnsupportedDatasets:
    @pytest.fixture
    def removal(
        self, stores: Stores, release: Release, remover: Remover, shared_hub: HubServer
    ) -> UnsupportedRemoval:
        hub = Hub(shared_hub.url, "hf_token", release, BlockList())
        shared_hub.state.put(HubDataset("user/exists", OTHER_REVISION))
        return UnsupportedRemoval(remover, hub, stores.maintenance, RemovalLimit(), ["user/exists"])

    def test_the_archive_has_the_hubs_last_answer(
        self,
        stores: Stores,
        release: Release,
        removal: UnsupportedRemoval,
        archives: RemovedDatasets,
        shared_hub: HubServer,
        tmp_path: Path,
    ) -> None:
        put(stores, release, tmp_path, "user/gone", "user/off")
        shared_hub.state.put(HubDataset("user/off", REVISION, card_data={"viewer": False}))
        stores.maintenance.add_removal_candidates("run", dict.fromkeys(["user/gone", "user/off"], "any"))

        removal.run("run")

        [(gone, _)], [(off, _)] = archived(archives, "user/gone"), archived(archives, "user/off")
        assert gone.reason == "it is not found on the Hub"
        assert gone.hub_answer is not None
        assert gone.hub_answer.startswith("404 ")
        assert off.reason == "its card turns the viewer off"
        assert off.hub_answer is not None
        assert off.hub_answer.startswith("200 {")
        assert f'"{REVISION}"' in off.hub_answer
        assert '"viewer":' in off.hub_answer

    def test_the_hub_is_asked_again_about_the_others_if_an_archive_takes_long(
        self,
        stores: Stores,
        release: Release,
        removal: UnsupportedRemoval,
        shared_hub: HubServer,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        put(stores, release, tmp_path, "user/a", "user/b", "user/c")
        stores.maintenance.add_removal_candidates("run", dict.fromkeys(["user/a", "user/b", "user/c"], "any"))
        monkeypatch.setattr(removal_module, "ANSWERS_LAST_SECONDS", 0.0)

        def come_back(time: int) -> None:
            if time == 0:
                shared_hub.state.put(HubDataset("user/b", REVISION))

        meanwhile(monkeypatch, come_back)

        summary = removal.run("run")

        assert (summary.removed, summary.spared, summary.failed) == (2, 1, 0)
        assert list(stores.cache.dataset_names()) == ["user/b"]
        assert stores.maintenance.removal_ledger().unfinished() == {}

    def test_a_removal_that_finds_no_room_is_tried_again_by_the_next_run(
        self, stores: Stores, release: Release, removal: UnsupportedRemoval, tmp_path: Path
    ) -> None:
        put(stores, release, tmp_path, "user/gone")
        stores.maintenance.add_removal_candidates("run", {"user/gone": "any"})
        with files_limited_to(1_000):
            assert removal.run("run").failed == 1
        assert list(stores.cache.dataset_names()) == ["user/gone"]

        assert removal.run("another run").removed == 1

        assert list(stores.cache.dataset_names()) == []


class TestOfRebuilds:
    @pytest.fixture
    def release_name(self) -> str:
        return "2026-08"

    def backfill(self, stores: Stores, release: Release, remover: Remover, hub: HubServer) -> Any:
        return Backfill(
            "run",
            release,
            stores.cache,
            stores.queue,
            stores.maintenance,
            Hub(hub.url, "hf_token", release, BlockList()),
            remover,
            BackfillOptions(),
        ).run(["user/data", "user/other"])

    def test_a_dataset_that_finds_no_room_stays_as_it_is_until_the_next_run(
        self, stores: Stores, release: Release, remover: Remover, shared_hub: HubServer, tmp_path: Path
    ) -> None:
        put(stores, release, tmp_path, "user/data")
        insert_up_to_date(stores.databases.cache, release, "user/other", revision=OTHER_REVISION)
        shared_hub.state.put(HubDataset("user/data", REVISION), HubDataset("user/other", REVISION))
        entries = stores.databases.cache[CACHE]
        entries.update_one(
            {"dataset": "user/data", "kind": "split-first-rows"}, {"$set": {"config": "forgotten"}}
        )
        number = entries.count_documents({"dataset": "user/data"})
        jobs = {"dataset": "user/data"}

        with files_limited_to(1_000):
            summary = self.backfill(stores, release, remover, shared_hub)

        assert (summary.failed, summary.backfilled, summary.rebuilt) == (1, 1, 0)
        assert summary.jobs_created == sum(summary.jobs_by_reason.values()) == number
        assert entries.count_documents({"dataset": "user/data"}) == number
        assert stores.databases.queue[JOBS].count_documents(jobs) == 2

        summary = self.backfill(stores, release, remover, shared_hub)

        assert (summary.failed, summary.rebuilt) == (0, 1)
        assert entries.count_documents({"dataset": "user/data"}) == 0
        assert stores.databases.queue[JOBS].count_documents(jobs) > 2
        assert list(stores.maintenance.unfinished_rebuilds()) == []
