"""The screening agrees with the plan: it proves only datasets whose plan is empty, and most of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.planning.dataset_state import CachedDataset, Entry
from include.planning.entry_columns import EntryColumns, UnreadableColumnsError
from include.planning.plan import plan_dataset
from include.planning.processing_graph import Level, Release, Step, load_release, release_names
from include.planning.screening import proven_up_to_date
from tests.builders import DATASET, NOON, OTHER_REVISION, REVISION, changed, up_to_date, without
from tests.states import State, every_state, names, states

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

Document = dict[str, Any]
SPLITS = {"a": ["train", "test"], "b": ["train"], "none": []}


def document(name: str, entry: Entry) -> Document:
    """An entry as it is read, without what is null."""
    fields = {"dataset": name, "dataset_git_revision": entry.revision, **entry._asdict()}
    return {field: value for field, value in fields.items() if value is not None and field != "revision"}


def columns(*documents: Document) -> EntryColumns:
    [found] = EntryColumns.of_whole_datasets([b"".join(map(bson.encode, documents))])
    return found


def proven(release: Release, *datasets: CachedDataset, seed: int = 0) -> set[str]:
    """The datasets that the screening proves, with their entries shuffled."""
    documents = [document(cached.dataset, entry) for cached in datasets for entry in cached.entries]
    Random(seed).shuffle(documents)
    listed = {cached.dataset: replace(cached, entries=()) for cached in datasets}
    return set(proven_up_to_date(release, [columns(*documents)], listed, dict.fromkeys(listed, REVISION)))


def is_proven(release: Release, cached: CachedDataset) -> bool:
    return proven(release, cached) == {DATASET}


def shifted(entries: Sequence[Entry], minutes: dict[str | None, int]) -> list[Entry]:
    """The entries, those of each config updated some minutes later."""
    return [
        entry._replace(updated_at=entry.updated_at + timedelta(minutes=minutes.get(entry.config, 0)))
        for entry in entries
    ]


# It proves no dataset that has something to do


@every_state
@given(st.lists(states(), max_size=4), st.integers())
def test_a_proven_dataset_has_an_empty_plan(some: list[State], seed: int) -> None:
    for release in map(load_release, release_names()):
        datasets = [replace(state.cached, dataset=f"user/{number}") for number, state in enumerate(some)]

        found = proven(release, *datasets, seed=seed)

        plans = [plan_dataset(release, cached, (), REVISION) for cached in datasets]
        assert found <= {plan.dataset for plan in plans if plan.is_empty}


# It proves each dataset that has nothing to do and has no unexpected entry


@every_state
@given(
    st.dictionaries(names, st.lists(names, max_size=3, unique=True), max_size=3),
    st.data(),
)
def test_configs_updated_at_different_times_are_judged_as_in_the_plan(
    splits: dict[str, list[str]], data: st.DataObject
) -> None:
    release = load_release(data.draw(st.sampled_from(release_names())))
    cached = up_to_date(release, splits)
    minutes = {config: data.draw(st.sampled_from([0, 0, 1, 2, 60])) for config in [None, *splits]}
    cached = replace(cached, entries=shifted(cached.entries, minutes))

    plan = plan_dataset(release, cached, (), REVISION)

    assert is_proven(release, cached) == plan.is_empty


@every_state
@given(st.data())
def test_one_changed_entry_is_judged_as_in_the_plan(data: st.DataObject) -> None:
    release = load_release(data.draw(st.sampled_from(release_names())))
    cached = up_to_date(release, SPLITS)
    index = data.draw(st.integers(0, len(cached.entries) - 1))
    changes: dict[str, list[Any]] = {
        "http_status": [200, 399, 400, 500],
        "error_code": [None, "", "Other", *release.max_failed_runs],
        "failed_runs": [0, 1, 2, 3, 19, 20, 40],
        "job_runner_version": [None, 0, 1, 2, 3, 4, 5, 100, 2**40],
        "revision": [REVISION, REVISION, OTHER_REVISION, ""],
        "updated_at": [NOON + timedelta(minutes=minutes) for minutes in range(-1, len(release.steps), 5)],
    }
    fields = {
        field: data.draw(st.sampled_from(values))
        for field, values in changes.items()
        if data.draw(st.booleans())
    }
    entries = list(cached.entries)
    entries[index] = entries[index]._replace(**fields)
    cached = replace(cached, entries=entries)

    plan = plan_dataset(release, cached, (), REVISION)

    assert is_proven(release, cached) == plan.is_empty


# Examples


@pytest.mark.parametrize("splits", [SPLITS, {}, {"a": []}, {"é": ["e\u0301", "\U0001f917", "", "\0"]}])
def test_a_dataset_that_is_up_to_date_is_proven(release: Release, splits: dict[str, list[str]]) -> None:
    assert is_proven(release, up_to_date(release, splits))


def test_a_config_updated_a_day_after_the_others_is_proven(release: Release) -> None:
    cached = up_to_date(release, {"a": ["train"], "b": ["train"]})
    is_late = {
        (step.name, config)
        for step in release.steps
        for config in (None, "b")
        if config or is_made_from_configs(step)
    }
    day = timedelta(days=1)

    cached = replace(
        cached,
        entries=[
            entry._replace(updated_at=entry.updated_at + day)
            if (entry.kind, entry.config) in is_late
            else entry
            for entry in cached.entries
        ],
    )

    assert plan_dataset(release, cached, (), REVISION).is_empty
    assert is_proven(release, cached)


def is_made_from_configs(step: Step) -> bool:
    return any(parent.input_type > Level.DATASET or is_made_from_configs(parent) for parent in step.parents)


def test_an_entry_without_a_version_is_proven_where_it_is_not_obsolete(release: Release) -> None:
    cached = changed(up_to_date(release), "dataset-info", job_runner_version=None)

    assert is_proven(release, cached) is not release.null_version_is_obsolete


def test_each_of_several_datasets_is_judged_separately(release: Release) -> None:
    good, bad, empty = (
        replace(up_to_date(release, SPLITS), dataset=name) for name in ("good", "bad", "empty")
    )

    found = proven(release, without(bad, "config-size", ("b", None)), replace(empty, entries=()), good)

    assert found == {"good"}


@pytest.mark.parametrize(
    "unexpected",
    [
        {"kind": "forgotten"},
        {"kind": "config-info", "config": "other"},
        {"kind": "config-info", "split": "train"},
        {"kind": "config-info"},
        {"kind": "dataset-info", "config": "a"},
        {"kind": "split-first-rows", "config": "b", "split": "test"},
    ],
    ids=str,
)
def test_a_dataset_with_an_entry_that_is_not_expected_is_left_to_the_plan(
    release: Release, unexpected: dict[str, Any]
) -> None:
    cached = up_to_date(release, SPLITS)
    other = cached.entries[0]._replace(**unexpected)

    assert not is_proven(release, replace(cached, entries=[*cached.entries, other]))


def test_a_duplicate_entry_does_not_make_up_for_a_missing_one(release: Release) -> None:
    cached = without(up_to_date(release, SPLITS), "config-size", ("b", None))
    twice = next(entry for entry in cached.entries if entry.kind == "config-size")

    assert not is_proven(release, replace(cached, entries=[*cached.entries, twice]))


@pytest.mark.parametrize(
    "field", ["kind", "http_status", "failed_runs", "updated_at", "dataset_git_revision"]
)
def test_a_dataset_with_an_entry_that_lacks_a_field_is_left_to_the_plan(release: Release, field: str) -> None:
    cached = up_to_date(release)
    first, *others = (document(DATASET, entry) for entry in cached.entries)
    del first[field]

    assert not proven_up_to_date(release, [columns(first, *others)], {DATASET: cached}, {DATASET: REVISION})


@pytest.mark.parametrize("number", [float("-inf"), -(2**63), -1])
def test_an_entry_with_an_impossible_version_is_not_taken_for_one_without_a_version(
    release: Release, number: float
) -> None:
    first, *others = (document(DATASET, entry) for entry in up_to_date(release).entries)
    strange = columns(first | {"job_runner_version": number}, *others)

    assert not proven_up_to_date(release, [strange], {DATASET: up_to_date(release)}, {DATASET: REVISION})


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan"), -1, 2**63 - 1])
@pytest.mark.parametrize("field", ["http_status", "failed_runs"])
def test_a_dataset_with_an_impossible_number_is_left_to_the_plan(
    release: Release, field: str, number: float
) -> None:
    first, *others = (document(DATASET, entry) for entry in up_to_date(release).entries)
    strange = columns(first | {field: number}, *others)

    assert not proven_up_to_date(release, [strange], {DATASET: up_to_date(release)}, {DATASET: REVISION})


def test_an_error_without_a_maximum_is_always_retried(release: Release) -> None:
    retrying = release.retrying(["CreateCommitError"], past_the_maximum=True)
    failed = changed(
        up_to_date(release),
        "dataset-info",
        http_status=500,
        error_code="CreateCommitError",
        failed_runs=2**62,
    )

    assert is_proven(release, failed)
    assert not is_proven(retrying, failed)


@pytest.mark.parametrize("other", [{"dataset": "other"}, {"dataset": "other", "kind": "forgotten"}])
def test_entries_of_other_datasets_do_not_matter(release: Release, other: Document) -> None:
    documents = [document(DATASET, entry) for entry in up_to_date(release).entries]
    both = columns(*documents, documents[0] | other)

    assert proven_up_to_date(release, [both], {DATASET: up_to_date(release)}, {DATASET: REVISION}) == {
        DATASET: len(documents)
    }


# Columns


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", b"x"),
        ("config", 5),
        ("config", ["a"]),
        ("split", {"a": 1}),
        ("split", True),
        ("error_code", bson.ObjectId()),
        ("dataset_git_revision", 1),
        ("http_status", "200"),
        ("failed_runs", [0]),
        ("job_runner_version", "1"),
        ("updated_at", 5),
        ("updated_at", "2026-01-31"),
    ],
)
def test_a_field_of_the_wrong_type_is_an_error(field: str, value: object) -> None:
    good = document(DATASET, up_to_date(load_release()).entries[0])

    with pytest.raises(UnreadableColumnsError):
        columns(good, good | {field: value}, good)


@pytest.mark.parametrize(
    ("replies", "pieces"),
    [
        ([], []),
        (["aab"], ["aab"]),
        (["aa", "bb"], ["aabb"]),
        (["aa", "bb", "cc"], ["aa", "bbcc"]),
        (["aab", "bc"], ["aa", "bbc"]),
        (["a", "a", "a"], ["aaa"]),
        (["ab", "b", "b", "bcc", "cd"], ["a", "bbbb", "cccd"]),
    ],
)
def test_the_entries_of_a_dataset_are_in_one_piece_even_if_a_reply_ends_between_them(
    replies: list[str], pieces: list[str]
) -> None:
    encoded = [b"".join(bson.encode({"dataset": name}) for name in reply) for reply in replies]

    found = list(EntryColumns.of_whole_datasets(encoded))

    assert ["".join(piece.dataset.values[code] for code in piece.dataset.codes) for piece in found] == pieces
