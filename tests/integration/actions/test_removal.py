"""The removal of datasets from the queue, the cache and the storages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dev.local_stack.documents import JOBS, new_job
from dev.local_stack.hub_server import HubDataset, HubServer
from dev.local_stack.s3_server import S3Server
from include.actions.backfill.removal import (
    DATASETS_AT_A_TIME,
    KNOWN_DATASETS,
    Remover,
    UnsupportedRemoval,
)
from include.actions.backfill.removal_limit import RemovalLimit
from include.actions.backfill.report import RemovalSummary
from include.databases.cache_store import CacheStore
from include.errors import ConfigurationError, ServiceError
from include.hub.answers import ListedDataset, Support
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.planning.processing_graph import DEFAULT_RELEASE, Release
from include.storage.bucket_storage import BucketStorage
from include.storage.folder_storage import FolderStorage
from include.summaries import SAMPLE_SIZE
from tests.builders import NOON, OTHER_REVISION, REVISION, contents, insert_up_to_date, put_listing
from tests.integration.conftest import Stores

NOT_FOUND = "it is not found on the Hub"
UNSAFE_NAMES = ["..", "user/..", "/", "user/--", "user//data"]


@pytest.fixture
def remover(stores: Stores, tmp_path: Path) -> Remover:
    storages = [FolderStorage(tmp_path / "assets"), FolderStorage(tmp_path / "cached-assets")]
    return Remover(stores.cache, stores.queue, storages)


def put(stores: Stores, release: Release, *names: str) -> None:
    """Let datasets have entries and a waiting job."""
    for name in names:
        insert_up_to_date(stores.databases.cache, release, name)
        job = new_job(release.step("dataset-config-names"), name, REVISION, created_at=NOON)
        stores.databases.queue[JOBS].insert_one(job)


def put_files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def jobs_of(stores: Stores) -> list[str]:
    return [job["dataset"] for job in stores.databases.queue[JOBS].find()]


def test_takes_a_dataset_out_of_everything(
    stores: Stores, release: Release, remover: Remover, tmp_path: Path
) -> None:
    put(stores, release, "squad", "squad/other", "user/data")
    put_files(tmp_path, "assets/squad/--/r/a", "assets/squad/other/--/r/a", "cached-assets/squad/--/r/a")

    summary = remover.remove(["squad", "user/data", "unknown"])

    entries = len(list(stores.databases.cache.cachedResponsesBlue.find()))
    assert summary == RemovalSummary(removed=3, waiting_jobs=2, cache_entries=2 * entries, asset_folders=2)
    assert list(stores.cache.dataset_names()) == ["squad/other"]
    assert jobs_of(stores) == ["squad/other"]
    assert files(tmp_path) == ["assets/squad/other/--/r/a"]


def test_goes_on_over_many_batches(stores: Stores, release: Release, remover: Remover) -> None:
    names = [f"user/{number:03}" for number in range(250)]
    stores.databases.queue[JOBS].insert_many(
        new_job(release.step("dataset-size"), name, REVISION, created_at=NOON) for name in names
    )

    summary = remover.remove(iter(names))

    assert summary == RemovalSummary(removed=250, waiting_jobs=250)
    assert jobs_of(stores) == []


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_of_an_unsafe_name_removes_nothing(
    stores: Stores, release: Release, remover: Remover, tmp_path: Path, name: str
) -> None:
    put(stores, release, name)
    put_files(tmp_path, "assets/--/a", "assets/user/--/a", "--/a", "assets/user/data/--/a")
    before = contents(stores.databases.cache, stores.databases.queue)

    summary = remover.remove([name])

    assert summary == RemovalSummary(
        failed=1, error_sample=[f"{name}: the name {name!r} is not safe as a folder of a storage"]
    )
    assert contents(stores.databases.cache, stores.databases.queue) == before
    assert len(files(tmp_path)) == 4


def test_goes_on_after_an_unsafe_name(stores: Stores, release: Release, remover: Remover) -> None:
    put(stores, release, "a", "..", "b")

    summary = remover.remove(["a", "..", "b"])

    assert (summary.removed, summary.failed) == (2, 1)
    assert list(stores.cache.dataset_names()) == [".."]


def test_goes_on_where_files_cannot_be_removed(
    stores: Stores, release: Release, remover: Remover, tmp_path: Path
) -> None:
    put(stores, release, "a", "b")
    put_files(tmp_path, "assets/a/--", "assets/b/--/r/file")

    summary = remover.remove(["a", "b"])

    assert (summary.removed, summary.failed) == (1, 1)
    assert summary.error_sample[0].startswith("a: its files could not be removed: ")
    assert files(tmp_path) == ["assets/a/--"]


def test_can_be_done_again_where_a_storage_could_not_be_reached(
    stores: Stores, release: Release, tmp_path: Path, s3_server: S3Server
) -> None:
    put(stores, release, "a")
    put_files(tmp_path, "a/--/r/file")
    client = s3_server.client()
    client.create_bucket(Bucket="removal")
    client.put_object(Bucket="removal", Key="assets/a/--/r/file", Body=b"")
    storage = BucketStorage(lambda: client, "removal", "assets")

    class Unreachable(FolderStorage):
        def remove(self, dataset: str) -> bool:
            raise ServiceError(f"cannot remove {dataset}")

    with pytest.raises(ServiceError):
        Remover(stores.cache, stores.queue, [Unreachable(tmp_path), storage]).remove(["a"])
    summary = Remover(stores.cache, stores.queue, [FolderStorage(tmp_path), storage]).remove(["a"])

    assert (summary.removed, summary.asset_folders) == (1, 2)
    assert list(stores.cache.dataset_names()) == []
    assert files(tmp_path) == []
    assert "Contents" not in client.list_objects_v2(Bucket="removal")
    client.delete_bucket(Bucket="removal")


class TestUnsupportedRemoval:
    @pytest.fixture
    def release_name(self) -> str:
        return DEFAULT_RELEASE

    @pytest.fixture
    def hub(self, shared_hub: HubServer, release: Release) -> Hub:
        shared_hub.state.put(HubDataset("back", REVISION), HubDataset("odd", REVISION, fault="server_error"))
        return Hub(shared_hub.url, "hf_token", release, BlockList())

    @pytest.fixture
    def removal(
        self, stores: Stores, remover: Remover, hub: Hub, shared_hub: HubServer
    ) -> UnsupportedRemoval:
        shared_hub.state.put(HubDataset("known", REVISION))
        return UnsupportedRemoval(remover, hub, stores.maintenance, RemovalLimit(100), ["known"])

    def test_asks_the_hub_about_each_dataset_once_more(
        self, stores: Stores, release: Release, removal: UnsupportedRemoval, hub: Hub
    ) -> None:
        put(stores, release, "gone", "back", "odd")
        stores.maintenance.add_removal_candidates("run", dict.fromkeys(("gone", "back", "odd"), NOT_FOUND))
        stores.maintenance.add_removal_candidates("another run", {"other": NOT_FOUND})

        summary = removal.run("run")

        assert (summary.removed, summary.spared, summary.failed) == (1, 1, 1)
        assert (summary.hub_requests, summary.token_checks) == (4, 1)
        assert hub.requests == 5
        [line] = summary.error_sample
        assert line.startswith("odd: the Hub did not answer: ")
        assert list(stores.cache.dataset_names()) == ["back", "odd"]

    def test_asks_just_before_it_removes_the_dataset(
        self, stores: Stores, release: Release, removal: UnsupportedRemoval, shared_hub: HubServer
    ) -> None:
        """The datasets of a later batch come back while those of the first one are removed."""
        names = [f"user/{number:03}" for number in range(2 * DATASETS_AT_A_TIME)]
        put(stores, release, *names)
        stores.maintenance.add_removal_candidates("run", dict.fromkeys(names, NOT_FOUND))

        class BringsBack(FolderStorage):
            def remove(self, dataset: str) -> bool:
                shared_hub.state.put(*(HubDataset(name, REVISION) for name in names[DATASETS_AT_A_TIME:]))
                return super().remove(dataset)

        [folder, _] = removal.remover.storages
        assert isinstance(folder, FolderStorage)
        remover = replace(removal.remover, storages=[BringsBack(folder.root)])

        summary = replace(removal, remover=remover).run("run")

        assert (summary.removed, summary.spared) == (DATASETS_AT_A_TIME, DATASETS_AT_A_TIME)
        assert list(stores.cache.dataset_names()) == names[DATASETS_AT_A_TIME:]

    def test_keeps_a_job_that_comes_after_the_hub_was_asked(
        self, stores: Stores, release: Release, removal: UnsupportedRemoval, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(stores, release, "gone")
        stores.maintenance.add_removal_candidates("run", {"gone": NOT_FOUND})
        ask = Hub.support

        def ask_while_a_webhook_comes(hub: Hub, dataset: str) -> Support:
            answer = ask(hub, dataset)
            if dataset == "gone":
                job = new_job(release.step("dataset-size"), dataset, OTHER_REVISION, created_at=NOON)
                stores.databases.queue[JOBS].insert_one(job)
            return answer

        monkeypatch.setattr(Hub, "support", ask_while_a_webhook_comes)

        summary = removal.run("run")

        assert (summary.removed, summary.waiting_jobs) == (1, 1)
        assert [job["revision"] for job in stores.databases.queue[JOBS].find()] == [OTHER_REVISION]

    def test_of_a_listed_dataset_that_is_not_found_is_an_error(
        self, stores: Stores, release: Release, removal: UnsupportedRemoval
    ) -> None:
        """When the shard asked, the card of one of them turned the viewer off."""
        put(stores, release, "listed", "gone")
        listing = put_listing(
            stores.maintenance.listings(), ListedDataset("listed", None), ListedDataset("known", REVISION)
        )
        stores.maintenance.add_removal_candidates("run", {"listed": "its card", "gone": NOT_FOUND})

        summary = replace(removal, maintenance=stores.maintenance.with_listing(listing.id)).run("run")

        assert (summary.removed, summary.failed) == (1, 1)
        assert summary.error_sample[0].startswith("listed: the Hub does not find it, but lists it")
        assert list(stores.cache.dataset_names()) == ["listed"]

    def test_without_a_candidate_asks_the_hub_nothing(self, removal: UnsupportedRemoval, hub: Hub) -> None:
        assert removal.run("run") == RemovalSummary()
        assert hub.requests == 0


class TestLimit:
    """Of the removals of a day, over all runs."""

    NAMES = tuple(f"user/{number:03}" for number in range(2 * DATASETS_AT_A_TIME + 5))

    @pytest.fixture
    def release_name(self) -> str:
        return DEFAULT_RELEASE

    @pytest.fixture
    def removal(
        self, stores: Stores, release: Release, remover: Remover, shared_hub: HubServer
    ) -> UnsupportedRemoval:
        put(stores, release, *self.NAMES)
        shared_hub.state.put(HubDataset("known", REVISION))
        stores.maintenance.add_removal_candidates("run", dict.fromkeys(self.NAMES, NOT_FOUND))
        stores.maintenance.add_removal_candidates("next run", dict.fromkeys(self.NAMES, NOT_FOUND))
        hub = Hub(shared_hub.url, "hf_token", release, BlockList())
        return UnsupportedRemoval(remover, hub, stores.maintenance, RemovalLimit(), ["known"])

    @pytest.mark.parametrize("number", [0, 3, DATASETS_AT_A_TIME, DATASETS_AT_A_TIME + 1])
    def test_what_exceeds_it_stays_and_is_reported(
        self, stores: Stores, removal: UnsupportedRemoval, number: int
    ) -> None:
        summary = replace(removal, limit=RemovalLimit(number)).run("run")

        assert (summary.removed, summary.over_limit) == (number, len(self.NAMES) - number)
        assert list(stores.cache.dataset_names()) == list(self.NAMES[number:])
        assert summary.over_limit_sample == list(self.NAMES[number : number + SAMPLE_SIZE])

    def test_is_shared_by_all_runs(self, stores: Stores, removal: UnsupportedRemoval) -> None:
        replace(removal, limit=RemovalLimit(7)).run("run")

        summary = replace(removal, limit=RemovalLimit(9)).run("next run")

        # Those that were removed before are removed again, which takes nothing of the limit.
        assert summary.over_limit == len(self.NAMES) - 9
        assert list(stores.cache.dataset_names()) == list(self.NAMES[9:])

    def test_of_yesterday_is_forgotten(self, stores: Stores, removal: UnsupportedRemoval) -> None:
        replace(removal, limit=RemovalLimit(7)).run("run")
        stores.databases.maintenance["removals"].update_many(
            {"begun_at": {"$exists": True}},
            [{"$set": {"begun_at": {"$subtract": ["$$NOW", 24 * 60 * 60 * 1000]}}}],
        )
        stores.maintenance.add_removal_candidates("third run", dict.fromkeys(self.NAMES[7:], NOT_FOUND))

        assert replace(removal, limit=RemovalLimit(9)).run("third run").removed == 9

    def test_is_ten_by_default_or_one_percent_of_the_cached_datasets(
        self, stores: Stores, removal: UnsupportedRemoval
    ) -> None:
        assert RemovalLimit().of(CacheStore(stores.databases.cache)) == 10
        stores.databases.cache["cachedResponsesBlue"].insert_many(
            {"kind": "dataset-size", "dataset": f"other/{number}"} for number in range(1200 - len(self.NAMES))
        )

        assert removal.run("run").removed == 12

    @pytest.mark.parametrize(("lowered_to", "limit"), [(None, 5), (0, 0), (4, 4), (5, 5), (6, 5), (10**9, 5)])
    def test_can_only_be_lowered_by_a_run(self, stores: Stores, lowered_to: int | None, limit: int) -> None:
        assert RemovalLimit(5, lowered_to).of(stores.cache) == limit


class TestUnfinishedRemoval:
    """Of a run that ended when the entries of a dataset were gone, and its files were not."""

    @pytest.fixture
    def release_name(self) -> str:
        return DEFAULT_RELEASE

    @pytest.fixture
    def removal(
        self, stores: Stores, release: Release, remover: Remover, shared_hub: HubServer
    ) -> UnsupportedRemoval:
        shared_hub.state.put(HubDataset("known", REVISION))
        hub = Hub(shared_hub.url, "hf_token", release, BlockList())
        return UnsupportedRemoval(remover, hub, stores.maintenance, RemovalLimit(100), ["known"])

    @pytest.fixture(autouse=True)
    def cut_short(
        self, stores: Stores, release: Release, removal: UnsupportedRemoval, tmp_path: Path
    ) -> None:
        class Refuses(FolderStorage):
            def remove(self, dataset: str) -> bool:
                raise ServiceError(f"cannot remove {dataset}")

        put(stores, release, "a", "b")
        put_files(tmp_path, "assets/a/--/r/file", "assets/b/--/r/file")
        stores.maintenance.add_removal_candidates("run", dict.fromkeys(("a", "b"), NOT_FOUND))
        remover = replace(removal.remover, storages=[Refuses(tmp_path)])

        with pytest.raises(ServiceError):
            replace(removal, remover=remover).run("run")

        assert list(stores.cache.dataset_names()) == []

    def test_is_finished_by_the_next_run(
        self, stores: Stores, removal: UnsupportedRemoval, tmp_path: Path
    ) -> None:
        summary = removal.run("next run")

        assert (summary.removed, summary.asset_folders) == (2, 2)
        assert files(tmp_path) == []
        assert stores.maintenance.removal_ledger().unfinished() == {}

    def test_is_finished_by_the_next_attempt(
        self, stores: Stores, removal: UnsupportedRemoval, tmp_path: Path
    ) -> None:
        summary = removal.run("run")

        assert (summary.removed, summary.asset_folders) == (2, 2)
        assert files(tmp_path) == []
        assert stores.maintenance.removal_ledger().unfinished() == {}

    def test_is_finished_whatever_the_limit_of_the_day(
        self, removal: UnsupportedRemoval, tmp_path: Path
    ) -> None:
        assert replace(removal, limit=RemovalLimit(0)).run("next run").removed == 2
        assert files(tmp_path) == []

    @pytest.mark.parametrize("what", ["entries", "a job"])
    def test_of_a_dataset_that_is_back_is_crossed_off(
        self,
        stores: Stores,
        release: Release,
        removal: UnsupportedRemoval,
        shared_hub: HubServer,
        tmp_path: Path,
        what: str,
    ) -> None:
        shared_hub.state.put(HubDataset("a", REVISION))
        if what == "entries":
            insert_up_to_date(stores.databases.cache, release, "a")
        else:
            job = new_job(release.step("dataset-config-names"), "a", REVISION, created_at=NOON)
            stores.databases.queue[JOBS].insert_one(job)
        before = contents(stores.databases.cache, stores.databases.queue)

        summary = removal.run("next run")

        assert (summary.removed, summary.spared) == (1, 1)
        assert files(tmp_path) == ["assets/a/--/r/file"]
        assert contents(stores.databases.cache, stores.databases.queue) == before
        assert stores.maintenance.removal_ledger().unfinished() == {}

    def test_of_a_dataset_that_is_back_but_not_in_use_is_finished(
        self, removal: UnsupportedRemoval, shared_hub: HubServer, tmp_path: Path
    ) -> None:
        shared_hub.state.put(HubDataset("a", REVISION))

        assert removal.run("next run").removed == 2
        assert files(tmp_path) == []

    def test_of_a_dataset_about_which_the_hub_does_not_answer_waits(
        self, stores: Stores, removal: UnsupportedRemoval, shared_hub: HubServer, tmp_path: Path
    ) -> None:
        shared_hub.state.put(HubDataset("a", REVISION, fault="server_error"))

        summary = removal.run("next run")

        assert (summary.removed, summary.failed) == (1, 1)
        assert files(tmp_path) == ["assets/a/--/r/file"]
        assert list(stores.maintenance.removal_ledger().unfinished()) == ["a"]


class TestAHubThatFindsNothing:
    """Nothing is removed if the Hub supports none of some datasets that exist."""

    @pytest.fixture
    def release_name(self) -> str:
        return DEFAULT_RELEASE

    @pytest.fixture
    def removal(
        self, stores: Stores, release: Release, remover: Remover, shared_hub: HubServer
    ) -> UnsupportedRemoval:
        put(stores, release, "a", "b")
        stores.maintenance.add_removal_candidates("run", {"a": NOT_FOUND})
        hub = Hub(shared_hub.url, "hf_token", release, BlockList())
        return UnsupportedRemoval(remover, hub, stores.maintenance, RemovalLimit(100))

    def refuses(self, removal: UnsupportedRemoval, stores: Stores, message: str) -> None:
        before = contents(stores.databases.cache, stores.databases.queue)

        with pytest.raises(ServiceError, match=message):
            removal.run("run")

        assert contents(stores.databases.cache, stores.databases.queue) == before

    def test_of_the_listing(self, stores: Stores, removal: UnsupportedRemoval) -> None:
        listed = [ListedDataset(f"user/{number}", REVISION) for number in range(100)]
        unproven = ListedDataset("unproven", None)
        listing = put_listing(stores.maintenance.listings(), *listed, unproven)
        removal = replace(removal, maintenance=stores.maintenance.with_listing(listing.id))

        self.refuses(removal, stores, f"supports none of {KNOWN_DATASETS} datasets that exist .user/")

        assert removal.hub.requests == KNOWN_DATASETS + 1

    def test_that_it_supported_before(self, stores: Stores, removal: UnsupportedRemoval) -> None:
        self.refuses(replace(removal, supported=["x", "y"]), stores, "supports none of 2 datasets that exist")

    def test_of_the_cache(self, stores: Stores, removal: UnsupportedRemoval) -> None:
        self.refuses(removal, stores, r"supports none of 1 datasets that exist \(b")

    def test_and_nothing_is_known_to_exist(self, stores: Stores, removal: UnsupportedRemoval) -> None:
        stores.maintenance.add_removal_candidates("run", {"b": NOT_FOUND})

        self.refuses(removal, stores, "supports no dataset that is known")

    def test_until_it_finds_one_again(self, removal: UnsupportedRemoval, shared_hub: HubServer) -> None:
        shared_hub.state.put(HubDataset("b", REVISION))

        assert removal.run("run").removed == 1

    def test_in_the_middle_of_the_removals(
        self, stores: Stores, release: Release, removal: UnsupportedRemoval, shared_hub: HubServer
    ) -> None:
        names = [f"user/{number:03}" for number in range(2 * DATASETS_AT_A_TIME)]
        put(stores, release, *names)
        stores.maintenance.add_removal_candidates("run", dict.fromkeys(names, NOT_FOUND))
        shared_hub.state.put(HubDataset("b", REVISION))

        class Breaks(FolderStorage):
            def remove(self, dataset: str) -> bool:
                shared_hub.state.datasets.clear()
                return super().remove(dataset)

        remover = replace(removal.remover, storages=[Breaks(Path("unused"))])
        with pytest.raises(ServiceError, match="supports none of"):
            replace(removal, remover=remover, supported=["b"]).run("run")

        assert len(list(stores.cache.dataset_names())) == len(["a", "b", *names]) - DATASETS_AT_A_TIME

    def test_because_it_refuses_the_token(
        self, stores: Stores, removal: UnsupportedRemoval, shared_hub: HubServer
    ) -> None:
        shared_hub.state.tokens = {}

        with pytest.raises(ConfigurationError, match="refuses the token"):
            removal.run("run")

        assert "a" in stores.cache.dataset_names()
