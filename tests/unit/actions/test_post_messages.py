"""The text that the bot posts, and the datasets that it posts to."""

from __future__ import annotations

import pytest

from include.actions.post_messages import MessageSummary, MessageTemplate, chosen_datasets

HUB = "https://hub.example.com"


def test_the_first_line_is_the_title() -> None:
    template = MessageTemplate("# $dataset has news\n\nFrom $bot: [here]($branch_url), 5 $$.\n")

    message = template.render("user/data", bot="parquet-bot", endpoint=HUB, revision="refs/convert/parquet")

    assert message.title == "user/data has news"
    assert message.text == (
        f"From parquet-bot: [here]({HUB}/datasets/user/data/tree/refs%2Fconvert%2Fparquet), 5 $."
    )


@pytest.mark.parametrize(
    ("revision", "quoted"),
    [("main", "main"), ("refs/convert/parquet", "refs%2Fconvert%2Fparquet"), ("a b+ü", "a%20b%2B%C3%BC")],
)
def test_no_character_of_the_revision_is_safe_in_the_link(revision: str, quoted: str) -> None:
    message = MessageTemplate("# Title\n$branch_url").render(
        "user/data", bot="bot", endpoint=HUB, revision=revision
    )

    assert message.text == f"{HUB}/datasets/user/data/tree/{quoted}"


def test_the_template_says_everything_that_an_owner_needs_to_know() -> None:
    message = MessageTemplate.load().render(
        "user/data", bot="parquet-bot", endpoint=HUB, revision="refs/convert/parquet"
    )

    assert message.title == "This dataset now has a Parquet version"
    assert "I am parquet-bot" in message.text
    assert "`user/data`" in message.text
    assert f"({HUB}/datasets/user/data/tree/refs%2Fconvert%2Fparquet)" in message.text
    assert "nothing for you to do" in message.text
    assert "$" not in message.title + message.text


def test_the_first_dataset_of_each_namespace_is_chosen() -> None:
    names = ["user/b", "squad", "org/data", "user/a", "mnist", "user/c"]
    summary = MessageSummary()

    assert chosen_datasets(names, summary) == ["org/data", "user/a"]
    assert chosen_datasets(reversed(names), MessageSummary()) == ["org/data", "user/a"]
    assert summary == MessageSummary(candidates=6, without_namespace=2, other_of_namespace=2)
