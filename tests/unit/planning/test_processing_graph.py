"""Processing graphs: those that are shipped load, and a broken one is refused with one clear error."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.errors import ConfigurationError
from include.planning import processing_graph
from include.planning.processing_graph import Level, load_release, parse_release, release_names

Document = dict[str, Any]


def graph() -> Document:
    """Three steps, one of each level, each the parent of the next."""
    return {
        "release": "2000-01",
        "steps": {
            "dataset-a": step("dataset"),
            "config-b": step("config", "dataset-a"),
            "split-c": step("split", "config-b") | {"bonus_difficulty_if_dataset_is_big": 20},
        },
        "max_failed_runs_by_error_code": {"ConnectionError": 3},
        "unsupported_tags": ["nsfw"],
        "topological_order": ["dataset-a", "config-b", "split-c"],
    }


def step(level: str, *parents: str) -> Document:
    return {"input_type": level, "triggered_by": list(parents), "job_runner_version": 2, "difficulty": 50}


def test_a_graph_is_read() -> None:
    release = parse_release(graph())

    assert release.name == "2000-01"
    assert [step.name for step in release.steps] == ["dataset-a", "config-b", "split-c"]
    split = release.step("split-c")
    assert split.input_type is Level.SPLIT
    assert split.parents == (release.step("config-b"),)
    assert (split.job_runner_version, split.difficulty, split.bonus_difficulty) == (2, 50, 20)
    assert release.step("config-b").bonus_difficulty == 0
    assert release.max_failed_runs == {"ConnectionError": 3}
    assert release.unsupported_tags == {"nsfw"}


@pytest.mark.parametrize(
    ("name", "levels", "parents", "error_codes", "tags"),
    ids=release_names(),
    argvalues=[
        ("2024-03", {Level.DATASET: 10, Level.CONFIG: 9, Level.SPLIT: 7}, 31, 7, 0),
        ("2026-08", {Level.DATASET: 14, Level.CONFIG: 8, Level.SPLIT: 7}, 47, 9, 5),
    ],
)
def test_the_shipped_graphs_load(
    name: str, levels: dict[Level, int], parents: int, error_codes: int, tags: int
) -> None:
    release = load_release(name)

    assert release.name == name
    assert Counter(step.input_type for step in release.steps) == levels
    assert sum(len(step.parents) for step in release.steps) == parents
    assert len(release.max_failed_runs) == error_codes
    assert len(release.unsupported_tags) == tags
    known: set[str] = set()
    for step in release.steps:
        assert {parent.name for parent in step.parents} <= known
        known.add(step.name)


def test_the_releases_are_named_and_the_asked_one_is_the_default() -> None:
    assert release_names() == ["2024-03", "2026-08"]
    assert load_release().name == "2024-03"


def test_the_releases_differ_in_their_rules() -> None:
    old, new = load_release("2024-03"), load_release("2026-08")

    rules = ("rebuilds_incoherent_caches", "knows_blocked_datasets", "tells_enterprise_by_plan")
    assert [getattr(old, rule) for rule in rules] == [False, False, False]
    assert [getattr(new, rule) for rule in rules] == [True, True, True]


def without(field: str) -> Callable[[Document], None]:
    return lambda fields: fields.__delitem__(field)


def with_field(field: str, value: object) -> Callable[[Document], None]:
    return lambda fields: fields.__setitem__(field, value)


def of_step(name: str, change: Callable[[Document], None]) -> Callable[[Document], None]:
    return lambda fields: change(fields["steps"][name])


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (without("topological_order"), "the graph lacks topological_order."),
        (with_field("colour", 1), "the graph has an unknown field: colour."),
        (of_step("config-b", without("triggered_by")), "step 'config-b' lacks triggered_by."),
        (
            of_step("config-b", with_field("priority", "low")),
            "step 'config-b' has an unknown field: priority.",
        ),
        (
            of_step("config-b", with_field("input_type", "row")),
            "step 'config-b' has input_type 'row': it must be one of dataset, config, split.",
        ),
        (
            of_step("config-b", with_field("triggered_by", ["dataset-z"])),
            "step 'config-b' is triggered by 'dataset-z', which is no step.",
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
            "the first step of topological_order must be of input_type dataset.",
        ),
        pytest.param(
            lambda fields: fields.update(steps={}, topological_order=[]),
            "the first step of topological_order must be of input_type dataset.",
            id="no step",
        ),
        (
            of_step("config-b", with_field("job_runner_version", "2")),
            "job_runner_version of step 'config-b' is '2': it must be a whole number, 1 or more.",
        ),
        (
            of_step("config-b", with_field("difficulty", 0)),
            "difficulty of step 'config-b' is 0: it must be a whole number, 1 or more.",
        ),
        (
            of_step("config-b", with_field("difficulty", True)),
            "difficulty of step 'config-b' is True: it must be a whole number, 1 or more.",
        ),
        (
            of_step("split-c", with_field("bonus_difficulty_if_dataset_is_big", -1)),
            "bonus_difficulty_if_dataset_is_big of step 'split-c' is -1:"
            " it must be a whole number, 0 or more.",
        ),
        (
            with_field("max_failed_runs_by_error_code", {"ConnectionError": 0}),
            "max_failed_runs_by_error_code['ConnectionError'] is 0: it must be a whole number, 1 or more.",
        ),
    ],
)
def test_a_broken_graph_is_refused(break_it: Callable[[Document], None], message: str) -> None:
    document = graph()
    break_it(document)

    with pytest.raises(ConfigurationError) as refused:
        parse_release(document)

    assert str(refused.value) == message


def test_a_cycle_of_several_steps_is_shown() -> None:
    document = graph()
    document["steps"]["dataset-a"]["triggered_by"] = ["split-c"]

    with pytest.raises(ConfigurationError, match=r"^the steps form a cycle: (\S+) -> .* -> \1\.$"):
        parse_release(document)


def test_an_unknown_release_is_refused() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_release("2023-12")

    assert str(refused.value) == "Unknown release '2023-12': choose one of 2024-03, 2026-08."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be used: Expecting property name"),
        (json.dumps(graph() | {"colour": 1}), "cannot be used: the graph has an unknown field: colour."),
    ],
)
def test_a_broken_file_is_named(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "2000-01.json").write_text(text, encoding="utf-8")
    monkeypatch.setattr(processing_graph, "GRAPHS_FOLDER", tmp_path)

    with pytest.raises(ConfigurationError) as refused:
        load_release("2000-01")

    assert str(refused.value).startswith(f"The processing graph 2000-01.json {message}")
