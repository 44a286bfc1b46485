"""The client of the Hub over HTTP: which datasets are supported, and what a listing proves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from dev.local_stack.hub_server import HubDataset, HubServer, HubUser, RateLimit
from dev.local_stack.ports import free_port
from include.errors import ConfigurationError, DatasetError, ServiceError
from include.hub.answers import ListedDataset, LostPlaceError, Supported, Unsupported
from include.hub.block_list import BlockList
from include.hub.client import Hub
from include.hub.requests import FAILURES_IN_A_ROW, HubUnavailableError
from include.planning.processing_graph import DEFAULT_RELEASE, Release
from tests.builders import REVISION
from tests.releases import releases_that

TOKEN = "hf_token"
DATA = HubDataset("user/data", REVISION)
DISABLED = Unsupported("it is disabled on the Hub")
NOT_FOUND = Unsupported("it is not found on the Hub", not_found=True)
PRIVATE = Unsupported("it is private, and its author is neither PRO nor Enterprise")
NO_VIEWER = Unsupported("its card turns the viewer off")
BLOCKED = Unsupported("it is on the block list")


def hub(server: HubServer, release: Release, token: str | None = TOKEN, blocked: tuple[str, ...] = ()) -> Hub:
    return Hub(server.url, token, release, BlockList.parse(blocked), sleep=never_sleep)


def never_sleep(seconds: float) -> None:
    raise AssertionError(f"slept for {seconds} s")


class TestSupport:
    def test_a_public_dataset_is_supported(self, shared_hub: HubServer, release: Release) -> None:
        shared_hub.state.put(DATA, HubDataset("squad", REVISION))
        asked = hub(shared_hub, release)

        assert asked.support("user/data") == Supported(REVISION)
        assert asked.support("squad") == Supported(REVISION)
        assert asked.requests == 2
        assert shared_hub.state.requests_by_route == {"dataset": 2}

    def test_an_unknown_dataset_is_not_supported(self, shared_hub: HubServer, release: Release) -> None:
        assert hub(shared_hub, release).support("user/data") == NOT_FOUND

    @pytest.mark.parametrize("changes", [{"disabled": True}, {"fault": "disabled_403"}], ids=["flag", "403"])
    def test_a_disabled_dataset_is_not_supported(
        self, shared_hub: HubServer, release: Release, changes: dict[str, Any]
    ) -> None:
        shared_hub.state.put(replace(DATA, **changes))

        assert hub(shared_hub, release).support("user/data") == DISABLED

    def test_a_dataset_without_a_revision_is_an_error(self, shared_hub: HubServer, release: Release) -> None:
        shared_hub.state.put(replace(DATA, sha=None))

        with pytest.raises(DatasetError, match=r"^the Hub's answer has no revision$"):
            hub(shared_hub, release).support("user/data")

    @pytest.mark.parametrize(
        ("user", "by_flag", "by_plan"),
        [
            (HubUser("user", is_pro=True), True, True),
            (HubUser("user", is_enterprise=True), True, False),
            (HubUser("user", plan="enterprise"), False, True),
            (HubUser("user", plan="team"), False, True),
            (HubUser("user"), False, False),
        ],
        ids=repr,
    )
    def test_a_private_dataset_is_supported_if_its_author_pays(
        self, shared_hub: HubServer, release: Release, user: HubUser, by_flag: bool, by_plan: bool
    ) -> None:
        shared_hub.state.put(replace(DATA, private=True))
        shared_hub.state.users["user"] = user

        supported = by_plan if release.reads_enterprise_from_plan else by_flag
        expected = Supported(REVISION) if supported else PRIVATE
        assert hub(shared_hub, release).support("user/data") == expected

    def test_the_hub_is_asked_about_an_author_once(self, shared_hub: HubServer, release: Release) -> None:
        shared_hub.state.put(*(HubDataset(f"user/{name}", REVISION, private=True) for name in "abc"))
        shared_hub.state.users["user"] = HubUser("user", is_pro=True)
        asked = hub(shared_hub, release)

        assert [asked.support(f"user/{name}") for name in "abc"] == [Supported(REVISION)] * 3

        assert shared_hub.state.requests_by_route == {"dataset": 3, "whoisthis": 1}
        assert asked.requests == 4

    def test_an_unknown_author_of_a_private_dataset_is_an_error(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        shared_hub.state.put(replace(DATA, private=True))

        with pytest.raises(DatasetError, match=r"^the Hub did not answer: .*404"):
            hub(shared_hub, release).support("user/data")

    def test_a_tag_of_the_release_makes_a_public_dataset_unsupported(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        shared_hub.state.put(replace(DATA, tags=("nsfw", "language:en", "hentai")))

        tagged = Unsupported("it is tagged hentai, nsfw")
        expected = tagged if release.unsupported_tags else Supported(REVISION)
        assert hub(shared_hub, release).support("user/data") == expected

    def test_a_private_dataset_may_have_any_tag(self, shared_hub: HubServer, release: Release) -> None:
        shared_hub.state.put(replace(DATA, tags=("nsfw",), private=True))
        shared_hub.state.users["user"] = HubUser("user", is_pro=True)

        assert hub(shared_hub, release).support("user/data") == Supported(REVISION)

    @pytest.mark.parametrize(
        ("card", "answer"),
        [
            ({"viewer": False}, NO_VIEWER),
            ({"viewer": True}, Supported(REVISION)),
            ({"viewer": 0}, NO_VIEWER),
            ({"viewer": ""}, NO_VIEWER),
            ({"viewer": []}, NO_VIEWER),
            ({"viewer": "false"}, Supported(REVISION)),
            ({}, Supported(REVISION)),
            (None, Supported(REVISION)),
        ],
        ids=repr,
    )
    def test_a_card_can_turn_off_the_viewer(
        self,
        shared_hub: HubServer,
        release: Release,
        card: dict[str, Any] | None,
        answer: Supported | Unsupported,
    ) -> None:
        shared_hub.state.put(replace(DATA, card_data=card))

        assert hub(shared_hub, release).support("user/data") == answer

    def test_the_release_decides_whether_a_viewer_that_is_null_is_off(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        shared_hub.state.put(replace(DATA, card_data={"viewer": None}))

        expected = NO_VIEWER if release.null_viewer_is_off else Supported(REVISION)
        assert hub(shared_hub, release).support("user/data") == expected

    def test_a_blocked_dataset_is_not_supported(self, shared_hub: HubServer, release: Release) -> None:
        shared_hub.state.put(DATA, HubDataset("squad", REVISION))
        asked = hub(shared_hub, release, blocked=("user/d*",))

        assert asked.support("user/data") == BLOCKED
        assert asked.support("squad") == Supported(REVISION)

    @pytest.mark.parametrize("release_name", releases_that(lambda release: release.unsupported_tags))
    def test_the_first_rule_that_a_dataset_breaks_is_the_reason(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        """A dataset that breaks all the rules, and then stops breaking one after the other."""
        asked = hub(shared_hub, release, blocked=("user/*",))
        everything = HubDataset(
            "user/data", None, private=True, disabled=True, tags=("nsfw",), card_data={"viewer": False}
        )
        shared_hub.state.users["user"] = HubUser("user")

        shared_hub.state.put(everything)
        with pytest.raises(DatasetError, match="answer has no revision"):
            asked.support("user/data")

        shared_hub.state.put(replace(everything, sha=REVISION))
        assert asked.support("user/data") == DISABLED

        shared_hub.state.put(replace(everything, disabled=False, sha=REVISION))
        assert asked.support("user/data") == PRIVATE

        shared_hub.state.put(replace(everything, disabled=False, sha=REVISION, private=False))
        assert asked.support("user/data") == Unsupported("it is tagged nsfw")

        shared_hub.state.put(replace(everything, disabled=False, sha=REVISION, private=False, tags=()))
        assert asked.support("user/data") == NO_VIEWER

        shared_hub.state.put(DATA)
        assert asked.support("user/data") == BLOCKED

    def test_a_renamed_dataset_has_the_revision_of_its_new_name(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        shared_hub.state.put(HubDataset("user/old", None, renamed_to="user/data"), DATA)

        asked = hub(shared_hub, release)

        assert asked.support("user/old") == Supported(REVISION)
        assert asked.requests == shared_hub.state.requests == 2

    def test_the_new_name_of_a_renamed_dataset_may_be_unsupported(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        shared_hub.state.put(
            HubDataset("user/old", None, renamed_to="user/data"), replace(DATA, card_data={"viewer": False})
        )

        assert hub(shared_hub, release).support("user/old") == NO_VIEWER


class TestFailures:
    """Errors of the dataset: none of them may look like an unsupported dataset."""

    def test_a_server_error_is_an_error_of_the_dataset(self, shared_hub: HubServer, release: Release) -> None:
        shared_hub.state.put(replace(DATA, fault="server_error"))

        with pytest.raises(DatasetError, match=r"^the Hub did not answer: .*503"):
            hub(shared_hub, release).support("user/data")

    def test_a_hub_that_fails_for_many_datasets_in_a_row_is_unavailable(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        names = [f"user/{number}" for number in range(FAILURES_IN_A_ROW)]
        shared_hub.state.put(*(HubDataset(name, REVISION, fault="server_error") for name in names))
        asked = hub(shared_hub, release)
        for name in names[:-1]:
            with pytest.raises(DatasetError):
                asked.support(name)

        with pytest.raises(HubUnavailableError, match=r"has failed 20 times in a row, .*503"):
            asked.support(names[-1])

        with pytest.raises(HubUnavailableError):
            list(asked.listing())
        assert asked.requests == FAILURES_IN_A_ROW

    def test_a_timeout_is_an_error_of_the_dataset(
        self, shared_hub: HubServer, release: Release, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("include.hub.client.REQUEST_TIMEOUT_SECONDS", 0.2)
        shared_hub.state.hang_seconds = 1
        shared_hub.state.put(replace(DATA, fault="timeout"))

        with pytest.raises(DatasetError, match=r"^the Hub did not answer: .*timed out"):
            hub(shared_hub, release).support("user/data")

    def test_an_answer_that_comes_too_slowly_is_an_error_of_the_dataset(
        self, shared_hub: HubServer, release: Release, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("include.hub.client.REQUEST_DEADLINE_SECONDS", 0.3)
        shared_hub.state.hang_seconds = 3
        shared_hub.state.put(replace(DATA, fault="drip"))
        began = time.monotonic()

        with pytest.raises(DatasetError, match=r"^the Hub did not answer: timed out: no complete answer"):
            hub(shared_hub, release).support("user/data")

        assert time.monotonic() - began < 2

    def test_a_hub_that_cannot_be_reached_is_an_error(self, release: Release) -> None:
        nowhere = Hub(f"http://127.0.0.1:{free_port()}", TOKEN, release, BlockList())

        with pytest.raises(DatasetError, match=r"^the Hub did not answer: "):
            nowhere.support("user/data")
        with pytest.raises(ServiceError, match=r"does not answer: "):
            nowhere.check_token()

    def test_a_revoked_token_is_an_error_of_the_dataset(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        shared_hub.state.put(DATA)
        shared_hub.state.tokens = {"hf_valid": "somebody"}

        with pytest.raises(DatasetError, match=r"^the Hub did not answer: .*401"):
            hub(shared_hub, release, token="hf_revoked").support("user/data")

    @pytest.mark.parametrize("scheme", ["http", "https"])
    @pytest.mark.parametrize("tokens", [None, {}], ids=["of one dataset", "of every dataset"])
    def test_a_401_is_an_error_of_the_dataset(
        self, request: pytest.FixtureRequest, release: Release, scheme: str, tokens: dict[str, str] | None
    ) -> None:
        server: HubServer = request.getfixturevalue("https_hub" if scheme == "https" else "shared_hub")
        server.state.tokens = tokens
        server.state.put(replace(DATA, fault="unauthorized"))

        with pytest.raises(DatasetError, match=r"^the Hub did not answer: .*401"):
            hub(server, release).support("user/data")

    @pytest.mark.parametrize("datasets", [(), (replace(DATA, private=True),)], ids=["unknown", "private"])
    def test_without_a_token_an_unknown_or_private_dataset_is_an_error(
        self, shared_hub: HubServer, release: Release, datasets: tuple[HubDataset, ...]
    ) -> None:
        shared_hub.state.put(*datasets)

        with pytest.raises(DatasetError) as failed:
            hub(shared_hub, release, token=None).support("user/data")

        assert str(failed.value) == (
            "the Hub does not find it, but without a token a private dataset looks the same: set a token as"
            " the password of the Connection huggingface_hub"
        )

    def test_a_403_that_does_not_say_disabled_is_an_error_of_the_dataset(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        shared_hub.state.put(replace(DATA, fault="gated_403"))

        with pytest.raises(DatasetError, match=r"^the Hub did not answer: .*403"):
            hub(shared_hub, release).support("user/data")

    @pytest.mark.parametrize(
        "name", ["user/data/more", "user//data", "..", "user/a b", "user/é", "a" * 200, ""]
    )
    def test_a_name_that_the_hub_cannot_have_is_an_error(
        self, shared_hub: HubServer, release: Release, name: str
    ) -> None:
        with pytest.raises(DatasetError, match=r"^the Hub did not answer: "):
            hub(shared_hub, release).support(name)

    @pytest.mark.parametrize(
        "changes",
        [{"disabled": "false"}, {"private": "no"}, {"tags": "nsfw"}, {"sha": 1}, {"card_data": [False]}],
        ids=repr,
    )
    def test_an_answer_with_a_field_of_a_wrong_type_is_an_error(
        self, shared_hub: HubServer, release: Release, changes: dict[str, Any]
    ) -> None:
        shared_hub.state.put(replace(DATA, **changes))

        with pytest.raises(DatasetError, match=r"^the Hub's answer is malformed: "):
            hub(shared_hub, release).support("user/data")

    @pytest.mark.parametrize(
        "answer", ["[]", "null", '"text"', "{", "", '{"sha": "1"}', "[" * 100_000], ids=range(7)
    )
    def test_an_answer_that_is_not_a_dataset_is_an_error(self, release: Release, answer: str) -> None:
        """A proxy may give such an answer."""
        with HTTPServer(("127.0.0.1", 0), handler_of(answer)) as server:
            Thread(target=server.handle_request, daemon=True).start()
            odd = Hub(f"http://127.0.0.1:{server.server_port}", TOKEN, release, BlockList())

            with pytest.raises(DatasetError, match=r"^the Hub('s answer is malformed| did not answer): "):
                odd.support("user/data")

    def test_an_error_never_shows_the_token(self, shared_hub: HubServer, release: Release) -> None:
        shared_hub.state.put(replace(DATA, fault="server_error"))

        with pytest.raises(DatasetError) as failed:
            hub(shared_hub, release, token="hf_secret").support("user/data")

        assert "hf_secret" not in str(failed.value)


def handler_of(answer: str, headers: Mapping[str, str] | None = None) -> type[BaseHTTPRequestHandler]:
    """A server that answers every request in the same way."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None: ...

    return Handler


class TestRateLimit:
    @pytest.fixture
    def release_name(self) -> str:
        return DEFAULT_RELEASE

    def test_the_client_waits_as_long_as_the_hub_says(self, hub_server: HubServer, release: Release) -> None:
        hub_server.state.put(DATA)
        hub_server.state.rate_limit = RateLimit(requests=1, window_seconds=200)
        slept = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            hub_server.state.rate_limit = None

        asked = Hub(hub_server.url, TOKEN, release, BlockList(), sleep)

        assert [asked.support("user/data"), asked.support("user/data")] == [Supported(REVISION)] * 2
        assert slept == [pytest.approx(201, abs=1)]
        assert asked.requests == 3

    def test_the_client_waits_when_it_asks_about_an_author(
        self, hub_server: HubServer, release: Release
    ) -> None:
        hub_server.state.put(replace(DATA, private=True))
        hub_server.state.users["user"] = HubUser("user", is_pro=True)
        hub_server.state.rate_limit = RateLimit(requests=1, window_seconds=100)
        slept = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            hub_server.state.rate_limit = None

        assert Hub(hub_server.url, TOKEN, release, BlockList(), sleep).support("user/data") == Supported(
            REVISION
        )
        assert len(slept) == 1

    def test_a_rate_limit_that_never_ends_is_an_error(self, hub_server: HubServer, release: Release) -> None:
        hub_server.state.put(DATA)
        hub_server.state.rate_limit = RateLimit(requests=0, window_seconds=300)
        slept: list[float] = []

        asked = Hub(hub_server.url, TOKEN, release, BlockList(), slept.append)

        with pytest.raises(HubUnavailableError, match=r"rate limit of the Hub at .* does not end: 429"):
            asked.support("user/data")

        assert slept == [pytest.approx(301, abs=1)] * 2
        with pytest.raises(HubUnavailableError):
            asked.support("user/other")
        assert asked.requests == 3

    def test_two_clients_that_share_a_rate_limit_get_all_their_answers(
        self, hub_server: HubServer, release: Release
    ) -> None:
        """Two shards share a token. When one thread of a client is refused, all its threads wait."""
        names = [f"user/{number}" for number in range(20)]
        hub_server.state.put(*(HubDataset(name, REVISION) for name in names))
        hub_server.state.rate_limit = RateLimit(requests=20, window_seconds=1)
        shards = [Hub(hub_server.url, TOKEN, release, BlockList()) for _ in range(2)]

        with ThreadPoolExecutor(8) as one, ThreadPoolExecutor(8) as other:
            asked = [
                threads.submit(shard.support, name)
                for name in names
                for shard, threads in zip(shards, (one, other), strict=True)
            ]
            answers = [each.result() for each in asked]

        assert answers == [Supported(REVISION)] * 40
        refused = sum(shard.requests for shard in shards) - 40
        assert 0 < refused <= 2 * 8


class TestCheckToken:
    @pytest.fixture
    def release_name(self) -> str:
        return DEFAULT_RELEASE

    def test_a_valid_token_is_accepted(self, shared_hub: HubServer, release: Release) -> None:
        shared_hub.state.tokens = {TOKEN: "somebody"}

        hub(shared_hub, release).check_token()

        assert shared_hub.state.requests_by_route == {"whoami": 1}

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_revoked_token_is_a_configuration_error(
        self, request: pytest.FixtureRequest, release: Release, scheme: str
    ) -> None:
        server: HubServer = request.getfixturevalue("https_hub" if scheme == "https" else "shared_hub")
        server.state.tokens = {"hf_valid": "somebody"}

        with pytest.raises(ConfigurationError) as refused:
            hub(server, release, token="hf_revoked").check_token()

        assert str(refused.value) == (
            f"The Hub at {server.url} refuses the token: set a valid one as the password of the"
            " Connection huggingface_hub."
        )

    @pytest.mark.parametrize("token", [None, ""])
    def test_without_a_token_the_hub_is_not_asked(
        self, shared_hub: HubServer, release: Release, token: str | None
    ) -> None:
        hub(shared_hub, release, token=token).check_token()

        assert shared_hub.state.requests == 0

    def test_a_hub_that_does_not_answer_is_a_service_error(
        self, hub_server: HubServer, release: Release
    ) -> None:
        hub_server.state.rate_limit = RateLimit(requests=0, window_seconds=300)

        with pytest.raises(ServiceError, match=r"rate limit of the Hub at .* does not end"):
            Hub(hub_server.url, TOKEN, release, BlockList(), lambda _: None).check_token()


def listed(asked: Hub) -> list[ListedDataset]:
    return [dataset for page in asked.listing() for dataset in page.datasets]


class TestListing:
    def test_a_listing_has_all_the_pages(self, shared_hub: HubServer, release: Release) -> None:
        shared_hub.state.page_size = 10
        shared_hub.state.put(*(HubDataset(f"user/{number:02}", f"{number:040}") for number in range(35)))
        asked = hub(shared_hub, release)

        pages = list(asked.listing())

        assert [len(page.datasets) for page in pages] == [10, 10, 10, 5]
        assert [dataset for page in pages for dataset in page.datasets] == [
            ListedDataset(f"user/{number:02}", f"{number:040}") for number in range(35)
        ]
        assert shared_hub.state.requests_by_route == {"listing": 4}
        assert asked.requests == 4

    def test_a_listing_continues_at_the_next_place_of_a_page(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        shared_hub.state.page_size = 10
        shared_hub.state.put(*(HubDataset(f"user/{number:02}", f"{number:040}") for number in range(35)))
        pages = list(hub(shared_hub, release).listing())

        assert list(hub(shared_hub, release).listing(pages[1].next_place)) == pages[2:]

    def test_a_place_that_the_hub_no_longer_knows_is_an_error(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        shared_hub.state.put(DATA)

        with pytest.raises(LostPlaceError, match=r"no longer knows a place in its listing$"):
            list(hub(shared_hub, release).listing("cursor=old"))

    def test_the_listing_of_an_empty_hub_is_empty(self, shared_hub: HubServer, release: Release) -> None:
        assert listed(hub(shared_hub, release)) == []

    @pytest.mark.parametrize(
        "changes",
        [
            {"sha": None},
            {"sha": ""},
            {"disabled": True},
            {"private": True},
            {"card_data": {"viewer": False}},
            {"card_data": {"viewer": 0}},
            {"card_data": ["no metadata"]},
            {"disabled": "false"},
            {"private": "no"},
            {"tags": "nsfw"},
            {"sha": 1},
            {"id": "blocked/data"},
        ],
        ids=repr,
    )
    def test_a_listing_does_not_prove_support_for_an_unusual_dataset(
        self, shared_hub: HubServer, release: Release, changes: dict[str, Any]
    ) -> None:
        dataset = replace(DATA, **changes)
        shared_hub.state.put(dataset, HubDataset("user/next", REVISION))
        shared_hub.state.users["user"] = HubUser("user", is_pro=True)

        assert listed(hub(shared_hub, release, blocked=("blocked/*",))) == [
            ListedDataset(dataset.id, None),
            ListedDataset("user/next", REVISION),
        ]

    def test_a_tag_of_the_release_keeps_a_listed_dataset_from_being_proven(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        shared_hub.state.put(replace(DATA, tags=("porn",)))

        expected = None if release.unsupported_tags else REVISION
        assert listed(hub(shared_hub, release)) == [ListedDataset("user/data", expected)]

    def test_a_listing_lacks_old_names_and_datasets_that_the_token_cannot_see(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        shared_hub.state.put(
            DATA,
            HubDataset("user/old", None, renamed_to="user/data"),
            HubDataset("user/private", REVISION, private=True),
        )

        assert listed(hub(shared_hub, release, token=None)) == [ListedDataset("user/data", REVISION)]

    def test_a_listing_with_a_revoked_token_is_a_service_error(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        shared_hub.state.put(DATA)
        shared_hub.state.tokens = {}

        with pytest.raises(ServiceError, match=r"does not list its datasets: .*401"):
            listed(hub(shared_hub, release))

    @pytest.mark.parametrize(
        "answer", ["null", "1", "{", "", "[1]", "[{}]", "{}", "[" * 100_000], ids=range(8)
    )
    def test_a_page_that_is_not_a_list_of_datasets_is_a_service_error(
        self, release: Release, answer: str
    ) -> None:
        """A proxy may give such an answer."""
        with HTTPServer(("127.0.0.1", 0), handler_of(answer)) as server:
            Thread(target=server.handle_request, daemon=True).start()
            odd = Hub(f"http://127.0.0.1:{server.server_port}", TOKEN, release, BlockList())

            with pytest.raises(ServiceError, match=r"does not list its datasets: "):
                listed(odd)

    @pytest.mark.parametrize(("query", "requests"), [("?cursor=same", 2), ("", 1)])
    def test_a_next_page_on_another_host_is_requested_from_the_endpoint_but_not_twice(
        self, release: Release, query: str, requests: int
    ) -> None:
        elsewhere = {"Link": f'<https://hub.elsewhere/api/datasets{query}>; rel="next"'}
        with HTTPServer(("127.0.0.1", 0), handler_of("[]", elsewhere)) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            asked = Hub(f"http://127.0.0.1:{server.server_port}", TOKEN, release, BlockList())

            with pytest.raises(ServiceError, match=r"goes in circles"):
                listed(asked)
            server.shutdown()

        assert asked.requests == requests

    def test_a_listing_whose_last_page_leads_to_the_first_is_a_service_error(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        shared_hub.state.page_size = 2
        shared_hub.state.put(*(HubDataset(f"user/{number}", REVISION) for number in range(4)))
        shared_hub.state.listing_fault = "circle"
        asked = hub(shared_hub, release)

        with pytest.raises(ServiceError, match=r"goes in circles"):
            listed(asked)

        assert asked.requests <= 4

    def test_a_listing_of_nothing_but_empty_pages_is_a_service_error(
        self, shared_hub: HubServer, release: Release
    ) -> None:
        shared_hub.state.put(DATA)
        shared_hub.state.listing_fault = "empty_pages"
        asked = hub(shared_hub, release)

        with pytest.raises(ServiceError, match=r"has only empty pages"):
            listed(asked)

        assert asked.requests == 10

    def test_a_listing_waits_for_the_rate_limit_and_requests_the_same_page_again(
        self, hub_server: HubServer, release: Release
    ) -> None:
        hub_server.state.page_size = 10
        hub_server.state.put(*(HubDataset(f"user/{number:02}", f"{number:040}") for number in range(35)))
        hub_server.state.rate_limit = RateLimit(requests=2, window_seconds=200)
        slept = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            hub_server.state.rate_limit = None

        asked = Hub(hub_server.url, TOKEN, release, BlockList(), sleep)

        assert len(listed(asked)) == 35
        assert slept[0] == pytest.approx(201, abs=1)
        assert hub_server.state.requests_by_route == {"listing": 5}
        assert asked.requests == 5
