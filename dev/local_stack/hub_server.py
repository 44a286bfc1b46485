"""A stand-in for the Hub: the part of its HTTP API that maintenance uses, with the datasets of a test.

It runs in a thread of this process (``HubServer``), where changes to its state take effect at once, or as a
separate process: ``python -m dev.local_stack.hub_server --port 8081 --state state.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import socket
import sys
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dev.local_stack.certificates import Certificate
from dev.local_stack.ports import HOST, free_port, is_listening
from dev.local_stack.process import Server, ServerProcess

Fault = Literal[
    "server_error",
    "unauthorized",
    "not_found",
    "disabled_403",
    "gated_403",
    "rate_limited",
    "rate_limited_for_a_second",
    "timeout",
    "drip",
    "garbage",
    "half_body",
    "redirect",
]
ListingFault = Literal["circle", "empty_pages"]

DISCUSSIONS_PER_PAGE = 10

#: The fields of an answer when the request does not say which to expand.
LISTED_FIELDS = (
    "author",
    "sha",
    "lastModified",
    "private",
    "gated",
    "disabled",
    "tags",
    "downloads",
    "likes",
)
ALL_FIELDS = (*LISTED_FIELDS, "cardData", "createdAt", "siblings")


@dataclass(frozen=True, slots=True)
class HubDataset:
    """A dataset of the Hub.

    ``fault`` is how a request for this dataset fails: with a 503, with a 401 although the token is valid,
    with a 404 although it is there, with the 403 of a disabled or a gated dataset, with a 429 that says
    nothing else, without an answer for ``HubState.hang_seconds``, with an answer that arrives byte by byte
    over these seconds (``drip``), is no JSON, ends in the middle, or leads to another host.
    ``disabled`` is the flag in a successful answer. A dataset with ``renamed_to`` is an old name: the Hub
    redirects it, and does not list it.
    ``fault_after_opening`` is how a request fails after it has opened a discussion: its answer is lost.
    """

    id: str
    sha: str | None
    private: bool = False
    disabled: bool = False
    gated: bool = False
    card_data: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()
    fault: Fault | None = None
    renamed_to: str | None = None
    in_listing: bool = True
    discussions_disabled: bool = False
    fault_after_opening: Fault | None = None

    @property
    def author(self) -> str | None:
        """The user or organization that owns it; None for a canonical dataset."""
        namespace, slash, _ = self.id.rpartition("/")
        return namespace if slash else None


@dataclass(frozen=True, slots=True)
class HubUser:
    """A user or organization, for ``whoisthis``."""

    name: str
    is_pro: bool = False
    plan: str | None = None
    is_enterprise: bool = False


@dataclass(frozen=True, slots=True)
class HubDiscussion:
    """A discussion or a pull request on a dataset; ``created_at`` is in ISO 8601."""

    num: int
    title: str
    description: str
    author: str
    created_at: str
    status: Literal["open", "closed"] = "open"
    is_pull_request: bool = False


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The maximum number of requests in a fixed window of ``window_seconds``."""

    requests: int
    window_seconds: int


@dataclass(slots=True)
class HubState:
    """Everything that the stand-in knows and counts. A change takes effect in the next answer.

    ``tokens`` maps each valid token to its user; None accepts any token, for the user ``anybody``.
    ``dataset_fault`` is how one request for a dataset in ``dataset_fault_every`` fails, whatever dataset.
    ``listing_fault`` is why the listing never ends: its last page leads to the first, or it goes on with
    empty pages. ``not_found_times`` says how many of the next requests for a dataset are answered with a 404,
    although it is there. ``requests_by_route`` counts every request, including refused ones, by the names
    of the routes in ``_Hub.application``: whoami, whoisthis, listing, dataset, discussions, …
    """

    datasets: dict[str, HubDataset] = field(default_factory=dict)
    users: dict[str, HubUser] = field(default_factory=dict)
    tokens: dict[str, str] | None = None
    discussions: dict[str, list[HubDiscussion]] = field(default_factory=dict)
    rate_limit: RateLimit | None = None
    page_size: int = 1000
    dataset_fault: Fault | None = None
    dataset_fault_every: int = 1
    listing_fault: ListingFault | None = None
    hang_seconds: float = 30
    not_found_times: dict[str, int] = field(default_factory=dict)
    requests_by_route: Counter[str] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        """The number of requests so far."""
        return self.requests_by_route.total()

    def put(self, *datasets: HubDataset) -> None:
        """Add datasets, or replace those with the same name."""
        self.datasets.update((dataset.id, dataset) for dataset in datasets)


def save_state(state: HubState, path: Path) -> None:
    """Write the state, without its counts, to a JSON file."""
    fields = asdict(state) | {
        "datasets": [asdict(dataset) for dataset in state.datasets.values()],
        "users": [asdict(user) for user in state.users.values()],
    }
    del fields["requests_by_route"]
    path.write_text(json.dumps(fields), encoding="utf-8")


def load_state(path: Path) -> HubState:
    """Return the state that ``save_state`` wrote to a file."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    datasets = (HubDataset(**{**item, "tags": tuple(item["tags"])}) for item in fields.pop("datasets"))
    users = (HubUser(**item) for item in fields.pop("users"))
    discussions = fields.pop("discussions").items()
    limit = fields.pop("rate_limit")
    return HubState(
        datasets={dataset.id: dataset for dataset in datasets},
        users={user.name: user for user in users},
        discussions={name: [HubDiscussion(**item) for item in items] for name, items in discussions},
        rate_limit=RateLimit(**limit) if limit else None,
        **fields,
    )


class _RefusedError(Exception):
    """A request that the Hub refuses, with a message for people and a code for programs.

    :param retry_after: the seconds that a client is to wait.
    """

    def __init__(
        self, status: int, message: str, code: str | None = None, retry_after: str | None = None
    ) -> None:
        super().__init__(message)
        headers = {"X-Error-Message": message, "X-Error-Code": code, "Retry-After": retry_after}
        given = {name: value for name, value in headers.items() if value is not None}
        self.response = JSONResponse({"error": message}, status, given)


class _Window:
    """Counts requests against the rate limit of the current window."""

    def __init__(self) -> None:
        self._ends = 0.0
        self._used = 0

    def admit(self, limit: RateLimit) -> tuple[bool, dict[str, str]]:
        """Count a request. Return whether it is within the limit, and the rate limit headers."""
        now = time.monotonic()
        if now >= self._ends:
            self._ends, self._used = now + limit.window_seconds, 0
        self._used += 1
        remaining = max(0, limit.requests - self._used)
        seconds = max(1, round(self._ends - now))
        headers = {
            "RateLimit": f'"api";r={remaining};t={seconds}',
            "RateLimit-Policy": f'"fixed window";"api";q={limit.requests};w={limit.window_seconds}',
        }
        if self._used <= limit.requests:
            return True, headers
        return False, headers | {"Retry-After": str(seconds)}


class _Hub:
    """Answers the requests."""

    def __init__(self, state: HubState) -> None:
        self._state = state
        self._window = _Window()
        self._listed_names: list[str] = []

    def application(self) -> Starlette:
        """Return the web application."""
        discussions = "/api/datasets/{dataset:path}/discussions"
        return Starlette(
            routes=[
                self._route("whoami", "GET", "/api/whoami-v2", self._whoami),
                self._route("whoisthis", "GET", "/api/whoisthis", self._whoisthis),
                self._route("listing", "GET", "/api/datasets", self._listing),
                self._route("discussions", "GET", discussions, self._discussions),
                self._route("new_discussion", "POST", discussions, self._new_discussion),
                self._route("discussion", "GET", discussions + "/{num:int}", self._discussion),
                self._route("status", "POST", discussions + "/{num:int}/status", self._change_status),
                self._route("dataset", "GET", "/api/datasets/{dataset:path}", self._dataset),
                Route("/_requests", self._requests),
                Route("/_revisions", self._set_revisions, methods=["POST"]),
            ]
        )

    def _route(
        self, name: str, method: str, path: str, answer: Callable[[Request], Awaitable[Response]]
    ) -> Route:
        async def endpoint(request: Request) -> Response:
            state = self._state
            state.requests_by_route[name] += 1
            admitted, headers = self._window.admit(state.rate_limit) if state.rate_limit else (True, {})
            response = await self._answered(request, answer) if admitted else _too_many_requests()
            response.headers.update(headers)
            return response

        return Route(path, endpoint, methods=[method])

    async def _answered(self, request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            self._check_token(request)
            return await answer(request)
        except _RefusedError as refused:
            return refused.response

    # Authentication

    def _check_token(self, request: Request) -> None:
        if request.headers.get("authorization") is not None and self._user(request) is None:
            raise _RefusedError(401, "Invalid credentials in Authorization header")

    def _user(self, request: Request) -> str | None:
        """Return the user of the token of a request, None without a valid token."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        return "anybody" if self._state.tokens is None else self._state.tokens.get(token)

    def _required_user(self, request: Request) -> str:
        user = self._user(request)
        if user is None:
            raise _RefusedError(401, "Invalid username or password.")
        return user

    async def _whoami(self, request: Request) -> Response:
        user = self._required_user(request)
        return JSONResponse({"type": "user", "name": user, "auth": {"type": "access_token"}})

    async def _whoisthis(self, request: Request) -> Response:
        user = self._state.users.get(request.query_params.get("name", ""))
        if user is None:
            raise _RefusedError(404, "Not found")
        return JSONResponse({"isPro": user.is_pro, "isEnterprise": user.is_enterprise, "plan": user.plan})

    # Datasets

    def _visible(self, request: Request, name: str) -> HubDataset:
        dataset = self._state.datasets.get(name)
        authenticated = self._user(request) is not None
        if dataset is None or (dataset.private and not authenticated):
            # Without a token, the Hub does not say whether a dataset exists: it answers 401 without a code.
            # Clients treat that as "not found" only over https. Over http, they need the code.
            raise (
                _RefusedError(404, "Repository not found", "RepoNotFound")
                if authenticated
                else _RefusedError(401, "Invalid username or password.", "RepoNotFound")
            )
        return dataset

    async def _dataset(self, request: Request) -> Response:
        name = request.path_params["dataset"]
        if times := self._state.not_found_times.get(name, 0):
            self._state.not_found_times[name] = times - 1
            raise _RefusedError(404, "Repository not found", "RepoNotFound")
        dataset = self._visible(request, name)
        if self._state.requests_by_route["dataset"] % self._state.dataset_fault_every == 0:
            dataset = replace(dataset, fault=self._state.dataset_fault or dataset.fault)
        if dataset.renamed_to is not None:
            query = f"?{request.url.query}" if request.url.query else ""
            return Response(
                status_code=307, headers={"Location": f"/api/datasets/{dataset.renamed_to}{query}"}
            )
        await self._go_wrong(dataset.fault)
        answer = JSONResponse(_fields(dataset, request.query_params.getlist("expand") or ALL_FIELDS))
        match dataset.fault:
            case "drip":
                return StreamingResponse(_drip(bytes(answer.body), self._state.hang_seconds))
            case "garbage":
                return Response("<html>Please log in</html>", media_type="application/json")
            case "half_body":
                return _cut_off(answer)
            case "redirect":
                return Response(status_code=307, headers={"Location": "http://127.0.0.2:9/elsewhere"})
        return answer

    async def _go_wrong(self, fault: Fault | None) -> None:
        match fault:
            case "server_error":
                raise _RefusedError(503, "Service unavailable")
            case "unauthorized":
                raise _RefusedError(401, "Invalid username or password.")
            case "not_found":
                raise _RefusedError(404, "Repository not found", "RepoNotFound")
            case "rate_limited" | "rate_limited_for_a_second":
                retry_after = "1" if fault == "rate_limited_for_a_second" else None
                raise _RefusedError(429, "Too many requests", retry_after=retry_after)
            case "disabled_403":
                raise _RefusedError(403, "Access to this resource is disabled.")
            case "gated_403":
                raise _RefusedError(403, "Access to this dataset is restricted.", "GatedRepo")
            case "timeout":
                await asyncio.sleep(self._state.hang_seconds)
                raise _RefusedError(504, "Gateway time-out")

    async def _listing(self, request: Request) -> Response:
        state, query = self._state, request.query_params
        authenticated = self._user(request) is not None
        size = min(int(query.get("limit", state.page_size)), state.page_size)
        if "cursor" not in query or not self._listed_names:
            # Sort once for all pages: sorting hundreds of thousands of datasets takes a while.
            self._listed_names = sorted(state.datasets)
        names = self._listed_names
        place = bisect_right(names, _decode_cursor(query["cursor"])) if "cursor" in query else 0
        page: list[HubDataset] = []
        while place < len(names) and len(page) < size:
            dataset = state.datasets.get(names[place])
            place += 1
            if dataset and _is_listed(dataset, authenticated=authenticated):
                page.append(dataset)
        wanted = query.getlist("expand") or LISTED_FIELDS
        items = [_fields(dataset, wanted) for dataset in page]
        match state.listing_fault:
            case "empty_pages":
                return JSONResponse([], headers=_link_to_next(request, f"after request {state.requests}"))
            case "circle" if place == len(names):
                return JSONResponse(items, headers=_link_to_next(request, ""))
        return JSONResponse(
            items, headers=_link_to_next(request, page[-1].id) if place < len(names) else None
        )

    # Discussions

    def _discussed(self, request: Request) -> tuple[str, list[HubDiscussion]]:
        dataset = self._visible(request, request.path_params["dataset"])
        if dataset.discussions_disabled:
            raise _RefusedError(403, "Discussions are disabled for this repo")
        return dataset.id, self._state.discussions.setdefault(dataset.id, [])

    async def _discussions(self, request: Request) -> Response:
        name, discussions = self._discussed(request)
        query = request.query_params
        found = [item for item in reversed(discussions) if _is_asked_for(item, query)]
        start = int(query.get("p", 0)) * DISCUSSIONS_PER_PAGE
        page = [_discussion_fields(name, item) for item in found[start : start + DISCUSSIONS_PER_PAGE]]
        return JSONResponse({"discussions": page, "count": len(found), "start": start})

    async def _discussion(self, request: Request) -> Response:
        name, discussions = self._discussed(request)
        number = request.path_params["num"]
        found = next((item for item in discussions if item.num == number), None)
        if found is None:
            raise _RefusedError(404, "Discussion not found")
        return JSONResponse(_discussion_fields(name, found) | {"events": [_comment(found)]})

    async def _new_discussion(self, request: Request) -> Response:
        author = self._required_user(request)
        name, discussions = self._discussed(request)
        body = await request.json()
        discussion = HubDiscussion(
            num=len(discussions) + 1,
            title=body["title"],
            description=body["description"],
            author=author,
            created_at=_hub_date(datetime.now(UTC)),
            is_pull_request=body["pullRequest"],
        )
        discussions.append(discussion)
        await self._go_wrong(self._state.datasets[name].fault_after_opening)
        url = f"{request.base_url}datasets/{name}/discussions/{discussion.num}"
        return JSONResponse({"num": discussion.num, "url": url, "pullRequest": discussion.is_pull_request})

    async def _change_status(self, request: Request) -> Response:
        author = self._required_user(request)
        _, discussions = self._discussed(request)
        number, status = request.path_params["num"], (await request.json())["status"]
        discussions[:] = [
            replace(item, status=status) if item.num == number else item for item in discussions
        ]
        event = {"id": "0" * 24, "type": "status-change", "createdAt": _hub_date(datetime.now(UTC))}
        return JSONResponse({"newStatus": {**event, "author": {"name": author}, "data": {"status": status}}})

    async def _requests(self, _: Request) -> Response:
        """Return the counts, for a test that runs the stand-in as a separate process."""
        return JSONResponse({"total": self._state.requests, "by_route": dict(self._state.requests_by_route)})

    async def _set_revisions(self, request: Request) -> Response:
        """Give datasets new revisions, for a test that runs the stand-in as a separate process."""
        datasets = self._state.datasets
        for name, sha in (await request.json()).items():
            datasets[name] = replace(datasets[name], sha=sha)
        return Response(status_code=204)


async def _drip(content: bytes, seconds: float) -> AsyncIterator[bytes]:
    for byte in content:
        yield bytes([byte])
        await asyncio.sleep(seconds / len(content))


def _cut_off(answer: Response) -> Response:
    """Return an answer whose connection ends in the middle of it."""
    body = bytes(answer.body)

    async def first_half() -> AsyncIterator[bytes]:
        yield body[: len(body) // 2]

    return StreamingResponse(first_half(), headers={"Content-Length": str(len(body))})


def _too_many_requests() -> Response:
    return _RefusedError(429, "Too many requests").response


def _fields(dataset: HubDataset, wanted: Sequence[str]) -> dict[str, Any]:
    """Return the id of a dataset, and the wanted fields that it has."""
    fields = {
        "author": dataset.author,
        "cardData": dataset.card_data,
        "createdAt": "2022-03-02T23:29:22.000Z",
        "disabled": dataset.disabled,
        "downloads": 0,
        "gated": dataset.gated and "auto",
        "lastModified": "2024-01-18T11:05:32.000Z",
        "likes": 0,
        "private": dataset.private,
        "sha": dataset.sha,
        "siblings": [{"rfilename": "README.md"}],
        "tags": dataset.tags,
    }
    return {"id": dataset.id} | {name: fields[name] for name in wanted if fields.get(name) is not None}


def _is_listed(dataset: HubDataset, *, authenticated: bool) -> bool:
    return dataset.in_listing and dataset.renamed_to is None and (authenticated or not dataset.private)


def _link_to_next(request: Request, last: str) -> dict[str, str]:
    cursor = base64.urlsafe_b64encode(last.encode()).decode()
    return {"Link": f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'}


def _decode_cursor(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise _RefusedError(400, "Invalid cursor") from error


def _is_asked_for(discussion: HubDiscussion, query: Mapping[str, str]) -> bool:
    kind = "pull_request" if discussion.is_pull_request else "discussion"
    return (
        query.get("type", "all") in ("all", kind)
        and query.get("status", "all") in ("all", discussion.status)
        and query.get("author", discussion.author) == discussion.author
    )


def _discussion_fields(dataset: str, discussion: HubDiscussion) -> dict[str, Any]:
    return {
        "num": discussion.num,
        "title": discussion.title,
        "status": discussion.status,
        "author": {"name": discussion.author},
        "createdAt": discussion.created_at,
        "isPullRequest": discussion.is_pull_request,
        "repo": {"type": "dataset", "name": dataset},
    }


def _comment(discussion: HubDiscussion) -> dict[str, Any]:
    """Return the first event of a discussion: the text of its author."""
    text = {"raw": discussion.description, "html": "", "updatedAt": discussion.created_at}
    return {
        "id": f"{discussion.num:024x}",
        "type": "comment",
        "createdAt": discussion.created_at,
        "author": {"name": discussion.author},
        "data": {"edited": False, "hidden": False, "latest": text},
    }


def _hub_date(date: datetime) -> str:
    return date.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _server(state: HubState, certificate: Certificate | None = None) -> uvicorn.Server:
    """Return the server. A hanging request delays its stop by at most a second."""
    return uvicorn.Server(
        uvicorn.Config(
            _Hub(state).application(),
            host=HOST,
            lifespan="off",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate.file if certificate else None,
            ssl_keyfile=certificate.file if certificate else None,
        )
    )


def set_revisions(hub_url: str, revisions: Mapping[str, str]) -> None:
    """Give datasets of a stand-in new revisions."""
    httpx2.post(f"{hub_url}/_revisions", json=dict(revisions)).raise_for_status()


class HubServer(Server):
    """The stand-in in a thread of this process, at ``url``."""

    def __init__(
        self, state: HubState | None = None, port: int = 0, certificate: Certificate | None = None
    ) -> None:
        """Prepare the server.

        :param state: by default, a Hub without datasets.
        :param port: by default (0), a free one.
        :param certificate: serve https with this certificate; by default, serve http.
        """
        self.state = state or HubState()
        self._socket = socket.create_server((HOST, port))
        self.url = f"{'https' if certificate else 'http'}://{HOST}:{self._socket.getsockname()[1]}"
        self._server = _server(self.state, certificate)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="hub-server", daemon=True
        )

    def load(self, state: HubState) -> None:
        """Replace the whole state."""
        for name in HubState.__slots__:
            setattr(self.state, name, getattr(state, name))

    def start(self) -> Self:
        """Start it, and wait until it answers. It cannot be started twice."""
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """Stop it. It then refuses connections."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


class HubProcess(Server):
    """The stand-in as a separate process, at ``url``. Only ``set_revisions`` changes its state later on."""

    def __init__(self, state: HubState, folder: Path, port: int | None = None) -> None:
        """Prepare the server.

        :param folder: for its state and its log; created if missing.
        :param port: by default, a free one.
        """
        port = port or free_port()
        self.url = f"http://{HOST}:{port}"
        self._state = state
        self._state_file = folder / "hub-state.json"
        self._process = ServerProcess(
            "The stand-in for the Hub",
            [
                *(sys.executable, "-m", "dev.local_stack.hub_server"),
                *("--port", str(port)),
                *("--state", self._state_file),
            ],
            log_file=folder / "hub.log",
            is_ready=partial(is_listening, port),
        )

    def start(self) -> None:
        """Write the state, start the process, and wait until it answers.

        :raises ServiceError: if it does not.
        """
        self._state_file.parent.mkdir(parents=True, exist_ok=True)
        save_state(self._state, self._state_file)
        self._process.start()

    def stop(self) -> None:
        """Stop it."""
        self._process.stop()

    def requests_by_route(self) -> Counter[str]:
        """Return the number of requests so far, by route, as in ``HubState.requests_by_route``."""
        return Counter(httpx2.get(f"{self.url}/_requests").json()["by_route"])


def main() -> None:
    """Serve the state in a file until stopped."""
    parser = argparse.ArgumentParser(description="A stand-in for the Hub.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True, help="a file written by save_state")
    arguments = parser.parse_args()
    _server(load_state(arguments.state)).run(sockets=[socket.create_server((HOST, arguments.port))])


if __name__ == "__main__":
    main()
