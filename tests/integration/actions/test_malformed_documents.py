"""Malformed documents beside good datasets: no action does anything else to these than without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.errors import WriteError

from dev.local_stack.documents import (
    CACHE,
    JOBS,
    Shape,
    as_error,
    create_indexes,
    new_job,
    up_to_date_entries,
)
from dev.local_stack.hub_server import HubServer
from include.databases.selection import Selection
from include.planning.dataset_state import JobStatus
from include.planning.processing_graph import Release
from tests.builders import NOON, OTHER_REVISION, REVISION
from tests.integration.actions.test_backfill import World
from tests.integration.conftest import Stores

Document = dict[str, Any]

GOOD = ("user/current", "user/lacks", "user/outdated", "user/failed", "user/waiting", "user/gone")
BAD = tuple(f"user/bad-{number}" for number in range(500))
#: How a document reads whatever it holds.
ANYTHING = CodecOptions[Document](
    datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="backslashreplace"
)
ABSENT = object()
#: Is replaced by bytes that are no UTF-8.
NO_UTF_8 = "no UTF-8"
VALUES: tuple[Any, ...] = (
    ABSENT,
    None,
    True,
    0,
    -(2**63),
    Int64(2**62),
    2.5,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    "text",
    "200",
    "\0",
    NO_UTF_8,
    b"\xff",
    [],
    ["user/current"],
    ["config-info", "dataset-config-names"],
    [[1], {}],
    {},
    {"$gt": ""},
    {"text": NO_UTF_8},
    Regex("^user/"),
    ObjectId("1" * 24),
    DatetimeMS(10**17),
    DatetimeMS(-(2**63)),
    datetime(1, 1, 1),  # noqa: DTZ001 - the earliest that Python knows
    Timestamp(1, 1),
    Decimal128("1E+6000"),
    MinKey(),
    MaxKey(),
    Code("1"),
)
ENTRY_FIELDS = (
    *("kind", "dataset", "config", "split", "http_status", "error_code", "content", "dataset_git_revision"),
    *("job_runner_version", "failed_runs", "updated_at"),
)
JOB_FIELDS = (
    *("_id", "type", "dataset", "revision", "config", "split", "unicity_id", "namespace", "priority"),
    *("status", "difficulty", "created_at"),
)
#: What is wrong with a document: whether it is a job, the number of the good document that it is made from,
#: and other values of some fields.
Spoilt = tuple[bool, int, Mapping[str, Any]]


def changes(fields: Iterable[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(tuple(fields)), st.sampled_from(VALUES), min_size=1, max_size=2)


spoilt: st.SearchStrategy[Spoilt] = st.one_of(
    st.tuples(st.just(False), st.integers(0, 1_000), changes(ENTRY_FIELDS)),
    st.tuples(st.just(True), st.integers(0, 1_000), changes(JOB_FIELDS)),
)


@pytest.fixture
def world(stores: Stores, release: Release, shared_hub: HubServer, tmp_path: Path) -> Iterator[World]:
    world = World(stores, release, shared_hub, tmp_path)
    world.host(*GOOD[:-1], *BAD)
    yield world
    # An index that has held a list is another one for the planner, even when it is empty again.
    clear(world)
    databases = stores.databases
    for database in (databases.cache, databases.queue):
        for collection in database.list_collection_names():
            database[collection].drop_indexes()
    create_indexes(databases.cache, databases.queue, release)


def fill(world: World, documents: Iterable[Spoilt]) -> None:
    """Replace what the databases hold by datasets in which each rule applies, and by malformed documents."""
    clear(world)
    world.list_on_hub(*GOOD[:-1], *BAD)
    world.cache("user/current", "user/lacks", "user/failed", "user/waiting", "user/gone")
    world.cache("user/outdated", revision=OTHER_REVISION)
    world.forget("user/lacks", "dataset-size")
    failed = world.entries.find_one({"dataset": "user/failed", "kind": "dataset-info"})
    assert failed is not None
    as_error(failed, "CreateCommitError", 1)
    world.entries.replace_one({"_id": failed["_id"]}, failed)
    for name in ("user/waiting", "user/gone"):
        world.queue("dataset-size", name, OTHER_REVISION)
        world.queue("dataset-info", name, status=JobStatus.STARTED)
    for name, (is_job, place, values) in zip(BAD, documents, strict=False):
        insert(world, name, is_job, place, values)


def clear(world: World) -> None:
    databases = world.stores.databases
    for database in (databases.cache, databases.queue, databases.maintenance):
        for collection in database.list_collection_names():
            database[collection].delete_many({})


def insert(world: World, name: str, is_job: bool, place: int, values: Mapping[str, Any]) -> None:
    """Insert a document in which some values are replaced, and for an entry, the others of its dataset."""
    databases, release = world.stores.databases, world.release
    if is_job:
        step = release.steps[place % len(release.steps)]
        documents = [{"_id": ObjectId(), **new_job(step, name, REVISION, created_at=NOON)}]
        collection = databases.queue[JOBS]
    else:
        documents = up_to_date_entries(release, Shape(name, REVISION, {"config": ["train"]}), NOON)
        documents = documents[place % len(documents) :][:5]
        collection = databases.cache[CACHE]
    documents[0] |= values
    documents[0] = {field: value for field, value in documents[0].items() if value is not ABSENT}
    for document in documents:
        encoded = bson.encode(document).replace(NO_UTF_8.encode(), b"\xff" * len(NO_UTF_8))
        with suppress(WriteError):  # some values cannot be an id, or be in an index together
            collection.insert_one(RawBSONDocument(encoded))


def of_good_datasets(world: World) -> dict[str, list[Document]]:
    databases = world.stores.databases
    query = {"dataset": {"$in": list(GOOD), "$type": "string"}}
    found = {}
    for collection in (databases.cache[CACHE], databases.queue[JOBS]):
        documents = collection.with_options(ANYTHING).find(query).sort("$natural")
        found[collection.name] = [
            {field: value for field, value in document.items() if field not in ("_id", "created_at")}
            for document in sorted(documents, key=lambda document: str(document["dataset"]))
            if isinstance(document["dataset"], str)
        ]
    return found


def run_everything(world: World) -> dict[str, Any]:
    """Run all actions, and return what they did to the good datasets."""
    stores = world.stores
    cached = set(stores.cache.dataset_names())
    shards = [set(stores.cache.dataset_names(names)) for names in stores.cache.shards(4)]
    assert set().union(*shards) == cached
    assert sum(map(len, shards)) == len(cached)
    assert set(stores.cache.sample_names(10)) <= cached
    retried = Selection(error_codes=("CreateCommitError",))
    summary = world.backfill()
    assert summary.failed <= len(cached)
    removal = world.remover.remove(world.candidates())
    assert removal.failed <= len(cached)
    check_metrics(world)
    return {
        "cached": cached & set(GOOD),
        "to retry": set(stores.cache.selected_names(retried)) & set(GOOD),
        "converted": set(stores.cache.converted_datasets(Selection(updated_from=NOON))) & set(GOOD),
        "removed": world.candidates().keys() & set(GOOD),
        "left": of_good_datasets(world),
    }


def check_metrics(world: World) -> None:
    """Collect the metrics, and compare them with counts of all documents that are well-formed."""
    databases = world.stores.databases
    [entries] = world.stores.cache.collect_metrics()
    jobs, sizes = world.stores.queue.collect_metrics()
    assert entries.by_group == Counter(
        (entry["kind"], int(entry["http_status"]), entry.get("error_code"))
        for entry in databases.cache[CACHE].with_options(ANYTHING).find()
        if is_text(entry.get("kind"))
        and is_number(entry.get("http_status"))
        and (entry.get("error_code") is None or is_text(entry["error_code"]))
    )
    well_formed = [
        job
        for job in databases.queue[JOBS].with_options(ANYTHING).find()
        if is_text(job.get("type")) and is_text(job.get("status"))
    ]
    assert Counter({group[:2]: count for group, count in jobs.by_group.items()}) == Counter(
        (job["type"], job["status"]) for job in well_formed
    )
    assert sizes.total == sum(
        is_number(job.get("difficulty")) and 0 < job["difficulty"] <= 100 for job in well_formed
    )


def is_text(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, Code) and "\\xff" not in value


def is_number(value: object) -> bool:
    return type(value) in (int, Int64, float) and abs(value) < float("inf")  # type: ignore[arg-type]


def test_each_kind_of_malformed_document_disturbs_no_good_dataset(world: World) -> None:
    fill(world, ())
    expected = run_everything(world)
    assert expected["removed"] == {"user/gone"}

    for is_job, fields in ((False, ENTRY_FIELDS), (True, JOB_FIELDS)):
        fill(
            world,
            [(is_job, number, {field: value}) for number, field in enumerate(fields) for value in VALUES],
        )

        assert run_everything(world) == expected


def test_any_malformed_documents_disturb_no_good_dataset(world: World) -> None:
    fill(world, ())
    expected = run_everything(world)

    @settings(
        max_examples=8,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.lists(spoilt, min_size=1, max_size=20))
    def check(documents: list[Spoilt]) -> None:
        fill(world, documents)

        assert run_everything(world) == expected

    check()
