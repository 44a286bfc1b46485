"""The errors of the cache as the console shows them, on a real MongoDB."""

from __future__ import annotations

from typing import Any

import pytest

from dev.local_stack.documents import CACHE
from include.console.errors import read_error_entries, read_errors
from include.databases.error_reader import ErrorReader
from include.planning.artifact_name import ArtifactName
from include.planning.processing_graph import Release
from tests.integration.conftest import Stores
from tests.integration.databases.test_cache_store import entry

Document = dict[str, Any]


@pytest.fixture
def reader(stores: Stores) -> ErrorReader:
    return ErrorReader(stores.databases.cache)


def insert(stores: Stores, *errors: tuple[str, str, int, str | None]) -> None:
    stores.databases.cache[CACHE].insert_many(
        entry(name, kind, http_status=status, error_code=code) for name, kind, status, code in errors
    )
    stores.cache.collect_metrics()


def test_the_codes_come_with_their_counts_and_whether_they_are_retried(
    stores: Stores, reader: ErrorReader, release: Release
) -> None:
    insert(
        stores,
        ("a", "dataset-info", 500, "EmptyDatasetError"),
        ("a", "dataset-size", 500, "CreateCommitError"),
        ("b", "dataset-size", 501, "CreateCommitError"),
        ("b", "dataset-info", 500, "CreateCommitError"),
        ("c", "dataset-info", 404, None),
        ("d", "dataset-info", 200, None),
    )

    view = read_errors(reader, release)

    first = view.codes[0]
    assert (first.code, first.entries, first.http_statuses) == ("CreateCommitError", 3, [500, 501])
    assert first.steps == {"dataset-size": 2, "dataset-info": 1}
    assert first.max_failed_runs == release.max_failed_runs["CreateCommitError"]
    assert [(code.code, code.entries, code.is_retried) for code in view.codes[1:]] == [
        (None, 1, False),
        ("EmptyDatasetError", 1, False),
    ]
    assert (view.entries, view.retried_entries) == (5, 3)


def test_a_page_of_entries_names_their_artifacts(
    stores: Stores, reader: ErrorReader, release: Release
) -> None:
    insert(
        stores,
        ("a", "dataset-info", 500, "EmptyDatasetError"),
        ("a", "dataset-size", 500, "EmptyDatasetError"),
        ("b", "dataset-size", 500, "Other"),
    )

    view = read_error_entries(reader, release, "EmptyDatasetError")

    assert view.code is not None
    assert view.code.entries == 2
    assert sorted(view.artifacts) == [("a", "dataset-info", None, None), ("a", "dataset-size", None, None)]
    of_step = read_error_entries(reader, release, "EmptyDatasetError", kind="dataset-size")
    assert of_step.artifacts == [ArtifactName("a", "dataset-size")]


def test_entries_that_say_the_same_in_other_words_have_one_cause(
    stores: Stores, reader: ErrorReader, release: Release
) -> None:
    insert(
        stores,
        ("a", "dataset-info", 500, "Odd"),
        ("a", "dataset-size", 500, "Odd"),
        ("b", "dataset-size", 500, "Odd"),
        ("c", "dataset-size", 500, "Odd"),
    )
    texts = (
        ("a", "dataset-info", "row 17 of 'train' is broken"),
        ("a", "dataset-size", "row 3 of 'it' is broken"),
        ("b", "dataset-size", 'row 4 of "test" is broken'),
        ("c", "dataset-size", "the disk is full"),
    )
    for dataset, kind, text in texts:
        content = {"$set": {"content": {"error": text}}}
        stores.databases.cache[CACHE].update_one({"dataset": dataset, "kind": kind}, content)

    causes = read_error_entries(reader, release, "Odd").causes

    assert causes is not None
    assert (causes.entries, causes.datasets) == (4, 3)
    assert [(cause.entries, cause.datasets) for cause in causes.first] == [(3, 2), (1, 1)]
    assert causes.first[1].example == "the disk is full"
    of_step = read_error_entries(reader, release, "Odd", kind="dataset-info").causes
    assert of_step is not None
    assert (of_step.entries, of_step.datasets) == (1, 1)


@pytest.mark.parametrize("change", [{"dataset": 5}, {"config": 5}, {"split": ["train"]}], ids=str)
def test_an_entry_with_a_malformed_name_is_shown_but_names_no_artifact(
    stores: Stores, reader: ErrorReader, release: Release, change: Document
) -> None:
    insert(stores, ("a", "dataset-size", 500, "Odd"), ("b", "dataset-size", 500, "Odd"))
    stores.databases.cache[CACHE].update_one({"dataset": "b"}, {"$set": change})

    view = read_error_entries(reader, release, "Odd")

    assert len(view.page.entries) == 2
    assert view.artifacts == [ArtifactName("a", "dataset-size")]


def test_an_unknown_code_has_no_entries(reader: ErrorReader, release: Release) -> None:
    view = read_error_entries(reader, release, "<b>none</b>")

    assert view.code is None
    assert not view.page.entries
