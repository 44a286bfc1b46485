"""Posting messages: to which datasets, and only once, with the real client of the Hub and a real MongoDB."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from huggingface_hub import HfApi

from dev.local_stack.documents import CACHE
from dev.local_stack.hub_server import HubDataset, HubDiscussion, HubServer, HubState, RateLimit
from dev.local_stack.ports import free_port
from include.actions.post_messages import MessageTemplate, ParquetMessages
from include.databases.fence import LostRightError
from include.databases.selection import Selection
from include.errors import ConfigurationError, DatasetError, ServiceError
from include.hub.bot import HubBot, Opening
from include.planning.processing_graph import DEFAULT_RELEASE
from tests.builders import NOON, REVISION
from tests.integration.conftest import Stores

BOT = "parquet-bot"
TOKEN = "hf_bot"
TEMPLATE = MessageTemplate("# News of $dataset\n$branch_url")
DATA = HubDataset("user/data", REVISION)


def never_sleep(seconds: float) -> None:
    raise AssertionError(f"slept for {seconds} s")


def bot_at(url: str, sleep: Callable[[float], None] = never_sleep, timeout: float = 30) -> HubBot:
    return HubBot(url, BOT, TOKEN, sleep, timeout)


def messages(hub: HubServer, **options: Any) -> ParquetMessages:
    return ParquetMessages(bot_at(hub.url), TEMPLATE, "refs/convert/parquet", **options)


def put(state: HubState, *datasets: HubDataset) -> None:
    state.tokens = {TOKEN: BOT, "hf_somebody": "somebody"}
    state.put(*datasets)


def discussion(num: int = 1, **changes: Any) -> HubDiscussion:
    return replace(HubDiscussion(num, "Title", "Text", BOT, "2026-01-31T12:00:00.000Z"), **changes)


def posted(hub: HubServer) -> dict[str, int]:
    """The number of discussions, of any author, on each dataset."""
    return {name: len(found) for name, found in hub.state.discussions.items() if found}


class TestCheckToken:
    def test_the_token_of_the_bot_is_accepted(self, shared_hub: HubServer) -> None:
        put(shared_hub.state)

        bot_at(shared_hub.url).check_token()

    def test_a_revoked_token_is_a_configuration_error(self, shared_hub: HubServer) -> None:
        shared_hub.state.tokens = {}

        with pytest.raises(ConfigurationError, match=r"refuses the bot's token.*huggingface_hub_bot") as e:
            bot_at(shared_hub.url).check_token()
        assert TOKEN not in str(e.value)

    def test_the_token_of_another_user_is_a_configuration_error(self, shared_hub: HubServer) -> None:
        shared_hub.state.tokens = {TOKEN: "somebody"}

        with pytest.raises(
            ConfigurationError, match=r"belongs to 'somebody', but the login is 'parquet-bot'"
        ):
            bot_at(shared_hub.url).check_token()

    def test_a_read_only_token_is_a_configuration_error(
        self, shared_hub: HubServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        user = {"name": BOT, "auth": {"type": "access_token", "accessToken": {"role": "read"}}}
        monkeypatch.setattr(HfApi, "whoami", lambda _: user)

        with pytest.raises(ConfigurationError, match="is read-only"):
            bot_at(shared_hub.url).check_token()

    def test_a_hub_that_cannot_be_reached_is_a_service_error(self) -> None:
        with pytest.raises(ServiceError, match="does not answer"):
            bot_at(f"http://127.0.0.1:{free_port()}").check_token()

    def test_a_malformed_answer_about_the_token_is_a_service_error(
        self, shared_hub: HubServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(HfApi, "whoami", lambda _: ["parquet-bot"])

        with pytest.raises(ServiceError, match="does not answer"):
            bot_at(shared_hub.url).check_token()


class TestOpenDiscussion:
    def test_the_bot_is_the_author_of_the_discussion(self, shared_hub: HubServer) -> None:
        put(shared_hub.state, DATA)

        assert bot_at(shared_hub.url).open_discussion("user/data", "Title", "Text") is Opening.OPENED

        [opened] = shared_hub.state.discussions["user/data"]
        assert (opened.author, opened.title, opened.description) == (BOT, "Title", "Text")
        assert not opened.is_pull_request

    def test_a_dry_run_opens_no_discussion(self, shared_hub: HubServer) -> None:
        put(shared_hub.state, DATA)

        opening = bot_at(shared_hub.url).open_discussion("user/data", "Title", "Text", dry_run=True)

        assert opening is Opening.OPENED
        assert posted(shared_hub) == {}

    @pytest.mark.parametrize("status", ["open", "closed"])
    @pytest.mark.parametrize("others", [0, 25])
    @pytest.mark.parametrize("is_pull_request", [False, True])
    def test_a_dataset_with_a_discussion_or_a_pull_request_of_the_bot_gets_no_other(
        self, shared_hub: HubServer, status: str, others: int, is_pull_request: bool
    ) -> None:
        put(shared_hub.state, DATA)
        of_bot = discussion(status=status, is_pull_request=is_pull_request)
        of_others = [discussion(num, author="somebody") for num in range(2, others + 2)]
        shared_hub.state.discussions["user/data"] = [of_bot, *of_others]

        opening = bot_at(shared_hub.url).open_discussion("user/data", "Title", "Text")

        assert opening is Opening.OPENED_BEFORE
        assert posted(shared_hub) == {"user/data": 1 + others}

    def test_discussions_and_pull_requests_of_others_do_not_count(self, shared_hub: HubServer) -> None:
        put(shared_hub.state, DATA)
        shared_hub.state.discussions["user/data"] = [
            discussion(1, author="somebody", is_pull_request=True),
            discussion(2, author="somebody"),
        ]

        assert bot_at(shared_hub.url).open_discussion("user/data", "Title", "Text") is Opening.OPENED

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"discussions_disabled": True}, Opening.NO_DISCUSSIONS),
            ({"disabled": True}, Opening.DISABLED),
            ({"fault": "disabled_403"}, Opening.DISABLED),
            ({"fault": "gated_403"}, Opening.FORBIDDEN),
            ({"id": "user/other"}, Opening.GONE),
            ({"renamed_to": "user/new"}, Opening.RENAMED),
        ],
        ids=repr,
    )
    def test_a_dataset_that_takes_no_discussion_is_passed_over(
        self, shared_hub: HubServer, changes: dict[str, Any], reason: Opening
    ) -> None:
        put(shared_hub.state, replace(DATA, **changes), HubDataset("user/new", REVISION))

        assert bot_at(shared_hub.url).open_discussion("user/data", "Title", "Text") is reason
        assert posted(shared_hub) == {}

    def test_the_right_is_checked_right_before_the_discussion_is_opened(self, shared_hub: HubServer) -> None:
        put(shared_hub.state, DATA)

        def check() -> None:
            assert shared_hub.state.requests_by_route["dataset"] == 1
            raise LostRightError("another run has taken over")

        with pytest.raises(LostRightError):
            bot_at(shared_hub.url).open_discussion("user/data", "Title", "Text", check_right=check)

        assert shared_hub.state.requests_by_route["new_discussion"] == 0

    @pytest.mark.parametrize("status", ["open", "closed"])
    def test_of_two_discussions_opened_at_the_same_time_the_later_one_is_closed(
        self, shared_hub: HubServer, status: str
    ) -> None:
        put(shared_hub.state, DATA)
        discussions = shared_hub.state.discussions["user/data"] = []

        def let_another_bot_open_one() -> None:
            discussions.append(discussion(1, status=status))

        opening = bot_at(shared_hub.url).open_discussion(
            "user/data", "Title", "Text", check_right=let_another_bot_open_one
        )

        assert opening is Opening.OPENED_BEFORE
        assert [(found.num, found.status) for found in discussions] == [(1, status), (2, "closed")]

    def test_the_first_of_two_discussions_stays_open_and_only_its_opener_says_so(
        self, shared_hub: HubServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(shared_hub.state, DATA)
        create = HfApi.create_discussion

        def create_and_let_another_bot_open_one(*args: Any, **options: Any) -> object:
            created = create(*args, **options)
            shared_hub.state.discussions["user/data"].append(discussion(2))
            return created

        monkeypatch.setattr(HfApi, "create_discussion", create_and_let_another_bot_open_one)

        assert bot_at(shared_hub.url).open_discussion("user/data", "Title", "Text") is Opening.OPENED

        opened = shared_hub.state.discussions["user/data"]
        assert [found.status for found in opened] == ["open", "closed"]

    def test_other_discussions_of_the_bot_are_not_closed(self, shared_hub: HubServer) -> None:
        put(shared_hub.state, DATA)
        discussions = shared_hub.state.discussions["user/data"] = []

        def let_the_bot_write_something_else() -> None:
            discussions.extend([discussion(1, title="Other"), discussion(2, is_pull_request=True)])

        bot_at(shared_hub.url).open_discussion(
            "user/data", "Title", "Text", check_right=let_the_bot_write_something_else
        )

        assert [found.status for found in discussions] == ["open", "open", "open"]

    @pytest.mark.parametrize("fault", ["server_error", "timeout"])
    def test_a_discussion_whose_answer_is_lost_is_found(self, shared_hub: HubServer, fault: Any) -> None:
        shared_hub.state.hang_seconds = 3
        put(shared_hub.state, replace(DATA, fault_after_opening=fault))

        opening = bot_at(shared_hub.url, timeout=1).open_discussion("user/data", "Title", "Text")

        assert opening is Opening.OPENED
        assert posted(shared_hub) == {"user/data": 1}
        assert shared_hub.state.requests_by_route["new_discussion"] == 1

    def test_a_failed_request_is_an_error_of_the_dataset(self, shared_hub: HubServer) -> None:
        put(shared_hub.state, replace(DATA, fault="server_error"))

        with pytest.raises(DatasetError, match=r"did not answer: .*503"):
            bot_at(shared_hub.url).open_discussion("user/data", "Title", "Text")
        with pytest.raises(DatasetError, match="did not answer"):
            bot_at(shared_hub.url).open_discussion("not//a name", "Title", "Text")

    def test_a_401_over_https_is_an_error_of_the_dataset(self, https_hub: HubServer) -> None:
        https_hub.state.put(DATA)
        https_hub.state.tokens = {}

        with pytest.raises(DatasetError, match=r"did not answer: .*401"):
            bot_at(https_hub.url).open_discussion("user/data", "Title", "Text")

        put(https_hub.state, replace(DATA, fault="unauthorized"))
        with pytest.raises(DatasetError, match=r"did not answer: .*401"):
            bot_at(https_hub.url).open_discussion("user/data", "Title", "Text")

    @pytest.mark.parametrize("admitted", [0, 1, 2, 3, 4])
    def test_the_bot_waits_for_the_rate_limit_at_each_of_its_requests(
        self, hub_server: HubServer, admitted: int
    ) -> None:
        put(hub_server.state, DATA)
        hub_server.state.rate_limit = RateLimit(admitted, window_seconds=100)
        slept = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            hub_server.state.rate_limit = None

        opening = bot_at(hub_server.url, sleep).open_discussion("user/data", "Title", "Text")

        assert opening is Opening.OPENED
        assert slept == [pytest.approx(101, abs=1)]
        assert posted(hub_server) == {"user/data": 1}

    def test_a_rate_limit_that_does_not_end_is_a_service_error(self, hub_server: HubServer) -> None:
        put(hub_server.state, DATA)
        hub_server.state.rate_limit = RateLimit(0, window_seconds=300)

        with pytest.raises(ServiceError, match=r"rate limit of the Hub at .* does not end"):
            bot_at(hub_server.url, lambda _: None).open_discussion("user/data", "Title", "Text")

    def test_an_answer_that_comes_too_slowly_is_an_error_of_the_dataset(
        self, shared_hub: HubServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("include.hub.bot.REQUEST_DEADLINE_SECONDS", 0.3)
        shared_hub.state.hang_seconds = 3
        put(shared_hub.state, replace(DATA, fault="drip"))

        with pytest.raises(DatasetError, match=r"did not answer: timed out: no complete answer"):
            bot_at(shared_hub.url).open_discussion("user/data", "Title", "Text")

        assert posted(shared_hub) == {}

    def test_a_hub_that_fails_for_many_datasets_in_a_row_ends_the_run(self, shared_hub: HubServer) -> None:
        names = [f"user-{number}/data" for number in range(30)]
        put(shared_hub.state, *(HubDataset(name, REVISION, fault="server_error") for name in names))

        with pytest.raises(ServiceError, match=r"has failed \d+ times in a row"):
            messages(shared_hub).post(names)


class TestPost:
    def test_each_candidate_is_counted_once(self, shared_hub: HubServer) -> None:
        names = ["a/data", "a/other", "b/data", "c/data", "d/data", "e/data", "squad"]
        put(shared_hub.state, *(HubDataset(name, REVISION) for name in names))
        shared_hub.state.put(
            HubDataset("c/data", REVISION, discussions_disabled=True),
            HubDataset("d/data", REVISION, fault="server_error"),
        )
        shared_hub.state.discussions["b/data"] = [discussion(status="closed")]
        del shared_hub.state.datasets["e/data"]

        summary = messages(shared_hub).post(names)

        assert posted(shared_hub) == {"a/data": 1, "b/data": 1}
        assert summary.candidates == 7
        assert (summary.without_namespace, summary.other_of_namespace) == (1, 1)
        assert (summary.posted, summary.already_posted, summary.failed) == (1, 1, 1)
        assert summary.passed_over == {"discussions disabled": 1, "gone": 1}
        assert summary.passed_over_sample == ["c/data: discussions disabled", "e/data: gone"]
        assert summary.error_sample[0].startswith("d/data: the Hub did not answer")
        assert summary.message_sample == [
            f"a/data: News of a/data\n\n{shared_hub.url}/datasets/a/data/tree/refs%2Fconvert%2Fparquet"
        ]

    def test_a_run_that_loses_its_right_while_it_asks_posts_nothing(self, shared_hub: HubServer) -> None:
        put(shared_hub.state, DATA)

        with pytest.raises(LostRightError):
            messages(shared_hub, right=RightForOneCheck()).post(["user/data"])

        assert shared_hub.state.requests_by_route["discussions"] == 1
        assert posted(shared_hub) == {}

    def test_a_second_run_posts_nothing(self, shared_hub: HubServer) -> None:
        names = [f"user-{number:02}/data" for number in range(30)]
        put(shared_hub.state, *(HubDataset(name, REVISION) for name in names))

        first, second = messages(shared_hub).post(names), messages(shared_hub).post(names)

        assert (first.posted, second.posted, second.already_posted) == (30, 0, 30)
        assert posted(shared_hub) == dict.fromkeys(names, 1)

    @pytest.mark.parametrize("dry_run", [False, True])
    def test_no_more_discussions_than_the_maximum_are_opened(
        self, shared_hub: HubServer, dry_run: bool
    ) -> None:
        names = [f"user-{number:02}/data" for number in range(30)]
        put(shared_hub.state, *(HubDataset(name, REVISION) for name in names))
        for name in names[:5]:
            shared_hub.state.discussions[name] = [discussion()]

        summary = messages(shared_hub, max_messages=12, dry_run=dry_run).post(names)

        assert (summary.already_posted, summary.posted, summary.postponed) == (5, 12, 13)
        assert len(posted(shared_hub)) == (5 if dry_run else 17)

    def test_a_dry_run_posts_nothing(self, shared_hub: HubServer) -> None:
        put(shared_hub.state, DATA)

        summary = messages(shared_hub, dry_run=True).post(["user/data"])

        assert summary.posted == len(summary.message_sample) == 1
        assert shared_hub.state.requests_by_route["new_discussion"] == 0

    def test_a_run_killed_after_opening_a_discussion_does_not_open_it_again(
        self, shared_hub: HubServer
    ) -> None:
        """The process dies while it waits for the answer, when the Hub has already opened the discussion."""
        shared_hub.state.hang_seconds = 5
        put(shared_hub.state, replace(DATA, fault_after_opening="timeout"), HubDataset("z/data", REVISION))
        process = multiprocessing.get_context("spawn").Process(target=post_alone, args=(shared_hub.url,))
        process.start()
        deadline = time.monotonic() + 60
        while "user/data" not in posted(shared_hub):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.join()
        shared_hub.state.put(DATA)

        summary = messages(shared_hub).post(["user/data", "z/data"])

        assert summary.already_posted >= 1
        assert posted(shared_hub) == {"user/data": 1, "z/data": 1}


class RightForOneCheck:
    """A right that is lost after it was checked once."""

    def __init__(self) -> None:
        self._checks = 0

    def check(self, session: object = None) -> None:  # noqa: ARG002
        self._checks += 1
        if self._checks > 1:
            raise LostRightError("another run has taken over")

    def progress(self) -> None: ...


def post_alone(url: str) -> None:
    ParquetMessages(bot_at(url), TEMPLATE, "refs/convert/parquet").post(["user/data", "z/data"])


class TestConvertedDatasets:
    @pytest.fixture
    def release_name(self) -> str:
        return DEFAULT_RELEASE

    LAST_DAY = Selection((), NOON - timedelta(days=1), NOON)

    def insert(self, stores: Stores, dataset: str, updated_at: datetime, **changes: Any) -> None:
        document = {
            "kind": "config-parquet",
            "dataset": dataset,
            "config": "default",
            "split": None,
            "http_status": 200,
            "error_code": None,
            "updated_at": updated_at,
            **changes,
        }
        absent = [field for field, value in changes.items() if value == "absent"]
        for field in absent:
            del document[field]
        stores.databases.cache[CACHE].insert_one(document)

    def test_datasets_converted_in_a_period_are_found(self, stores: Stores) -> None:
        self.insert(stores, "user/at-the-start", NOON - timedelta(days=1))
        self.insert(stores, "user/at-the-end", NOON)
        self.insert(stores, "user/before", NOON - timedelta(days=1, milliseconds=1))
        self.insert(stores, "user/absent", NOON - timedelta(hours=1), error_code="absent")
        self.insert(stores, "user/failed", NOON - timedelta(hours=1), http_status=500, error_code="Error")
        self.insert(stores, "user/other-kind", NOON - timedelta(hours=1), kind="config-info")
        for config in "ab":
            self.insert(stores, "user/once", NOON - timedelta(hours=1), config=config)

        found = sorted(stores.cache.converted_datasets(self.LAST_DAY))

        assert found == ["user/absent", "user/at-the-start", "user/once"]

    @pytest.mark.parametrize("names", [("user/a",), ("*/a",), ("user/a", "user/c*")])
    def test_names_and_wildcards_select_converted_datasets(
        self, stores: Stores, names: tuple[str, ...]
    ) -> None:
        for dataset in ("user/a", "user/b"):
            self.insert(stores, dataset, NOON - timedelta(hours=1))

        assert list(stores.cache.converted_datasets(replace(self.LAST_DAY, names=names))) == ["user/a"]

    def test_an_index_finds_the_converted_datasets(self, stores: Stores) -> None:
        for number in range(1000):
            for kind in ("config-parquet", "config-info"):
                at = NOON - timedelta(minutes=number)
                self.insert(stores, f"user/{number}", at, kind=kind)
        database = stores.databases.cache
        database.command("profile", 2)
        try:
            selection = Selection((), NOON - timedelta(minutes=19), NOON + timedelta(minutes=1))
            found = list(stores.cache.converted_datasets(selection))
        finally:
            database.command("profile", 0)
        [seen] = database["system.profile"].find({"command.aggregate": CACHE})
        database.drop_collection("system.profile")

        assert len(found) == seen["docsExamined"] == 20
        assert seen["planSummary"] == "IXSCAN { http_status: 1, error_code: 1, kind: 1, updated_at: 1 }"
        assert seen["keysExamined"] <= 20 + 3
