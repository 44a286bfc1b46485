"""Releases: all that are shipped load, and a file that is not valid is refused with one clear error."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.errors import ConfigurationError
from include.planning import processing_graph
from include.planning.processing_graph import NO_MAXIMUM, Level, load_release, parse_release, release_names

Document = dict[str, Any]

FLAGS = (
    "rebuilds_incoherent_caches",
    "queue_knows_blocked_datasets",
    "reads_enterprise_from_plan",
    "null_viewer_is_off",
    "null_version_is_obsolete",
)
ONLY_2024_03 = {"null_viewer_is_off", "null_version_is_obsolete"}


def release_document() -> Document:
    """Three steps, one of each level, each the parent of the next."""
    return {
        "release": "2000-01",
        "cache_database": "old_cache",
        "queue_database": "old_queue",
        "schedules": {"backfill": "0 1 * * *", "skip": None},
        "rebuilds_incoherent_caches": False,
        "queue_knows_blocked_datasets": False,
        "reads_enterprise_from_plan": False,
        "null_viewer_is_off": False,
        "null_version_is_obsolete": False,
        "steps": {
            "dataset-a": step("dataset"),
            "config-b": step("config", "dataset-a"),
            "split-c": step("split", "config-b") | {"bonus_difficulty_if_dataset_is_big": 20},
        },
        "max_failed_runs_by_error_code": {"ConnectionError": 3, "CreateCommitError": 30},
        "unsupported_tags": ["nsfw"],
        "topological_order": ["dataset-a", "config-b", "split-c"],
    }


def step(level: str, *parents: str) -> Document:
    return {"input_type": level, "triggered_by": list(parents), "job_runner_version": 2, "difficulty": 50}


def test_a_release_is_read_from_its_document() -> None:
    release = parse_release(release_document())

    assert release.name == "2000-01"
    assert (release.cache_database, release.queue_database) == ("old_cache", "old_queue")
    assert release.schedules == {"backfill": "0 1 * * *", "skip": None}
    assert [step.name for step in release.steps] == ["dataset-a", "config-b", "split-c"]
    split = release.step("split-c")
    assert split.input_type is Level.SPLIT
    assert split.parents == (release.step("config-b"),)
    assert (split.job_runner_version, split.difficulty, split.bonus_difficulty) == (2, 50, 20)
    assert release.step("config-b").bonus_difficulty == 0
    assert release.max_failed_runs == {"ConnectionError": 3, "CreateCommitError": 30}
    assert release.unsupported_tags == {"nsfw"}


@pytest.mark.parametrize("flag", FLAGS)
def test_each_flag_is_read_from_its_own_field(flag: str) -> None:
    release = parse_release(release_document() | {flag: True})

    assert [name for name in FLAGS if getattr(release, name)] == [flag]


# The shipped releases


@pytest.mark.parametrize("name", release_names())
def test_a_shipped_release_has_its_steps_in_topological_order(name: str) -> None:
    release = load_release(name)

    assert release.name == name
    known: set[str] = set()
    for step in release.steps:
        assert {parent.name for parent in step.parents} <= known
        known.add(step.name)


@pytest.mark.parametrize(
    ("name", "levels", "parents", "error_codes", "tags", "flags"),
    [
        ("2024-03", {Level.DATASET: 10, Level.CONFIG: 9, Level.SPLIT: 7}, 31, 7, 0, ONLY_2024_03),
        (
            "2026-08",
            {Level.DATASET: 14, Level.CONFIG: 8, Level.SPLIT: 7},
            47,
            9,
            5,
            set(FLAGS) - ONLY_2024_03,
        ),
    ],
)
def test_a_known_release_is_complete(
    name: str, levels: dict[Level, int], parents: int, error_codes: int, tags: int, flags: set[str]
) -> None:
    release = load_release(name)

    assert Counter(step.input_type for step in release.steps) == levels
    assert sum(len(step.parents) for step in release.steps) == parents
    assert len(release.max_failed_runs) == error_codes
    assert len(release.unsupported_tags) == tags
    assert {flag for flag in FLAGS if getattr(release, flag)} == flags


@pytest.mark.parametrize(("name", "prefix"), [("2024-03", "datasets_server"), ("2026-08", "dataset_viewer")])
def test_a_known_release_has_its_own_databases(name: str, prefix: str) -> None:
    release = load_release(name)

    assert release.cache_database == f"{prefix}_cache"
    assert release.queue_database == f"{prefix}_queue"


def test_the_releases_are_named_oldest_first() -> None:
    names = release_names()

    assert names == sorted(names)
    assert {"2024-03", "2026-08"} <= set(names)


def test_the_default_release_is_2024_03() -> None:
    assert load_release().name == "2024-03"


# The error codes to retry


@pytest.mark.parametrize(
    ("codes", "past_the_maximum", "max_failed_runs"),
    [
        ([], False, {"ConnectionError": 3, "CreateCommitError": 30}),
        (["ConnectionError"], False, {"ConnectionError": 3}),
        (["ConnectionError", "OtherError"], False, {"ConnectionError": 3, "OtherError": 30}),
        ([], True, {"ConnectionError": NO_MAXIMUM, "CreateCommitError": NO_MAXIMUM}),
        (["OtherError"], True, {"OtherError": NO_MAXIMUM}),
    ],
)
def test_a_run_may_retry_other_error_codes_than_its_release(
    codes: list[str], past_the_maximum: bool, max_failed_runs: dict[str, int]
) -> None:
    release = parse_release(release_document())

    assert release.retrying(codes, past_the_maximum=past_the_maximum).max_failed_runs == max_failed_runs


# Release files that are not valid


def without(field: str) -> Callable[[Document], None]:
    return lambda fields: fields.__delitem__(field)


def with_field(field: str, value: object) -> Callable[[Document], None]:
    return lambda fields: fields.__setitem__(field, value)


def of_step(name: str, change: Callable[[Document], None]) -> Callable[[Document], None]:
    return lambda fields: change(fields["steps"][name])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("topological_order"), "the release lacks topological_order."),
        *((without(flag), f"the release lacks {flag}.") for flag in FLAGS),
        *((with_field(flag, 1), f"{flag} is 1: it must be true or false.") for flag in FLAGS),
        *(
            (with_field(field, value), f"{field} is {value!r}: it must be the name of a database.")
            for field in ("cache_database", "queue_database")
            for value in ("", None)
        ),
        (with_field("schedules", None), "schedules is None: it must be an object."),
        (
            with_field("schedules", {"backfill": 5}),
            "schedules['backfill'] is 5: it must be a cron expression, or null.",
        ),
        (with_field("steps", ["dataset-a"]), "steps is ['dataset-a']: it must be an object."),
        (
            with_field("max_failed_runs_by_error_code", None),
            "max_failed_runs_by_error_code is None: it must be an object.",
        ),
        (with_field("unsupported_tags", "nsfw"), "unsupported_tags is 'nsfw': it must be a list of strings."),
        (
            with_field("topological_order", ["dataset-a", 1]),
            "topological_order is ['dataset-a', 1]: it must be a list of strings.",
        ),
        (
            of_step("config-b", with_field("triggered_by", "dataset-a")),
            "triggered_by of step 'config-b' is 'dataset-a': it must be a list of strings.",
        ),
        (with_field("color", 1), "the release has an unknown field: color."),
        (of_step("config-b", without("triggered_by")), "step 'config-b' lacks triggered_by."),
        (
            of_step("config-b", with_field("priority", "low")),
            "step 'config-b' has an unknown field: priority.",
        ),
        (
            of_step("config-b", with_field("input_type", "row")),
            "input_type of step 'config-b' is 'row': it must be one of dataset, config, split.",
        ),
        (
            of_step("config-b", with_field("triggered_by", ["dataset-z"])),
            "step 'config-b' is triggered by the unknown step 'dataset-z'.",
        ),
        (
            of_step("dataset-a", with_field("triggered_by", ["dataset-a"])),
            "the steps form a cycle: dataset-a -> dataset-a.",
        ),
        (with_field("topological_order", ["dataset-a"]), "topological_order must name each step once."),
        pytest.param(
            with_field("topological_order", ["dataset-a", "config-b", "config-b", "split-c"]),
            "topological_order must name each step once.",
            id="a step named twice",
        ),
        (
            with_field("topological_order", ["dataset-a", "split-c", "config-b"]),
            "topological_order has 'split-c' before its parent 'config-b'.",
        ),
        (
            of_step("dataset-a", with_field("input_type", "config")),
            "the first step of topological_order must have the input_type dataset.",
        ),
        pytest.param(
            lambda fields: fields.update(steps={}, topological_order=[]),
            "the first step of topological_order must have the input_type dataset.",
            id="no step",
        ),
        (
            of_step("config-b", with_field("job_runner_version", "2")),
            "job_runner_version of step 'config-b' is '2': it must be an integer, 1 or more.",
        ),
        (
            of_step("config-b", with_field("difficulty", 0)),
            "difficulty of step 'config-b' is 0: it must be an integer, 1 or more.",
        ),
        (
            of_step("config-b", with_field("difficulty", True)),
            "difficulty of step 'config-b' is True: it must be an integer, 1 or more.",
        ),
        (
            of_step("split-c", with_field("bonus_difficulty_if_dataset_is_big", -1)),
            "bonus_difficulty_if_dataset_is_big of step 'split-c' is -1: it must be an integer, 0 or more.",
        ),
        (
            with_field("max_failed_runs_by_error_code", {"ConnectionError": 0}),
            "max_failed_runs_by_error_code['ConnectionError'] is 0: it must be an integer, 1 or more.",
        ),
    ],
)
def test_a_release_that_is_not_valid_is_refused(spoil: Callable[[Document], None], message: str) -> None:
    document = release_document()
    spoil(document)

    with pytest.raises(ConfigurationError) as refused:
        parse_release(document)

    assert str(refused.value) == message


def test_a_cycle_of_several_steps_is_shown() -> None:
    document = release_document()
    document["steps"]["dataset-a"]["triggered_by"] = ["split-c"]

    with pytest.raises(ConfigurationError, match=r"^the steps form a cycle: (\S+) -> .* -> \1\.$"):
        parse_release(document)


def test_an_unknown_release_is_refused() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_release("2023-12")

    assert str(refused.value) == f"Unknown release '2023-12': choose one of {', '.join(release_names())}."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting property name"),
        ("[]", "the release is []: it must be an object."),
        (json.dumps(release_document() | {"color": 1}), "the release has an unknown field: color."),
        (
            json.dumps(release_document() | {"release": "2000-02"}),
            "release is '2000-02': it must be '2000-01', the file's name.",
        ),
    ],
)
def test_a_release_file_that_is_not_valid_is_named(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "2000-01.json").write_text(text, encoding="utf-8")
    monkeypatch.setattr(processing_graph, "RELEASES_FOLDER", tmp_path)

    with pytest.raises(ConfigurationError) as refused:
        load_release("2000-01")

    assert str(refused.value).startswith(f"The release file 2000-01.json is not valid: {message}")
