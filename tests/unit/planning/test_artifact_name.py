"""The text by which a person, or a page, names an artifact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigurationError
from include.planning.artifact_name import ArtifactName, by_dataset
from tests.states import names


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (ArtifactName("org/a", "dataset-info"), '["org/a", "dataset-info"]'),
        (ArtifactName("a", "config-size", "x, y"), '["a", "config-size", "x, y"]'),
        (ArtifactName("a", "split-first-rows", '"', ""), '["a", "split-first-rows", "\\"", ""]'),
        (ArtifactName("a", "config-size", "é\n"), '["a", "config-size", "\\u00e9\\n"]'),
    ],
)
def test_the_text_of_a_name_is_a_json_array(name: ArtifactName, text: str) -> None:
    assert str(name) == text
    assert ArtifactName.parse(text) == name


@pytest.mark.parametrize(
    "text", ['["a","config-size","é",null]', ' [ "a", "config-size", "\\u00e9" ] ', '["a","config-size","é"]']
)
def test_a_person_may_write_it_in_other_ways(text: str) -> None:
    assert ArtifactName.parse(text) == ("a", "config-size", "é", None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "org/a",
        "org/a, dataset-info",
        '"org/a"',
        '{"dataset": "org/a"}',
        '["org/a"]',
        '["org/a", "split-first-rows", "config", "split", "more"]',
        '["org/a", null]',
        '[null, "dataset-info"]',
        '["org/a", "config-size", 5]',
        '["org/a", "config-size", ["config"]]',
        '["org/a", "config-size", "\\ud800"]',
        '["org/a", "dataset-info"',
        "[" * 100_000,
    ],
    ids=lambda text: text[:60],
)
def test_any_other_text_is_an_error_that_shows_it_and_a_right_one(text: str) -> None:
    with pytest.raises(ConfigurationError) as e:
        ArtifactName.parse(text)

    assert f"{text[:100]!r} names no artifact" in str(e.value)
    assert '["org/name", "split-first-rows", "config", "split"]' in str(e.value)


hostile = names | st.sampled_from(
    ["null", '"', "\\", "\n", "\r\n", "\u2028", "\x85", "[", "]", "org/*", "a:b"]
)
artifact_names = st.builds(ArtifactName, hostile, hostile, st.none() | hostile, st.none() | hostile)


@given(artifact_names)
def test_each_name_comes_back_from_its_text_which_is_one_line_of_ascii(name: ArtifactName) -> None:
    text = str(name)

    assert ArtifactName.parse(text) == name
    assert text.isascii()
    assert text.splitlines() == [text.strip()]


@given(artifact_names, artifact_names)
def test_two_names_have_two_texts(one: ArtifactName, other: ArtifactName) -> None:
    assert (str(one) == str(other)) == (one == other)


def test_names_are_grouped_by_their_dataset_each_once() -> None:
    size, info = ("config-size", "x", None), ("dataset-info", None, None)

    found = by_dataset(
        [
            ArtifactName("b", *size),
            ArtifactName("a", *size),
            ArtifactName("b", *info),
            ArtifactName("b", *size),
        ]
    )

    assert list(found.items()) == [("b", {size, info}), ("a", {size})]
