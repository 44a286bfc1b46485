"""The block list: its patterns, and the datasets that they block."""

from __future__ import annotations

import pytest

from include.errors import ConfigurationError
from include.hub.block_list import BlockList


@pytest.mark.parametrize(
    ("pattern", "blocked", "not_blocked"),
    [
        ("squad", ["squad"], ["Squad", "squad2", "user/squad", "squad/other"]),
        ("user/data", ["user/data"], ["user/data2", "user/Data", "other/data", "data", "user"]),
        ("user/*", ["user/data", "user/"], ["user", "user2/data", "squad"]),
        ("user/da?a", ["user/data", "user/daxa"], ["user/daa"]),
        ("user/[ab]*", ["user/a", "user/b2"], ["user/c", "user/"]),
        ("us?r/data", ["user/data", "us1r/data"], ["uer/data"]),
        ("[au]ser/*", ["user/data", "aser/data"], ["bser/data", "user"]),
        ("sq?ad", ["squad", "sqxad"], ["squuad"]),
        ("user/", ["user/"], ["user", "user/data"]),
        (" user/data ", ["user/data"], [" user/data "]),
    ],
)
def test_a_pattern_blocks(pattern: str, blocked: list[str], not_blocked: list[str]) -> None:
    block_list = BlockList.parse([pattern])

    assert [name for name in blocked + not_blocked if block_list.blocks(name)] == blocked


def test_any_of_several_patterns_blocks() -> None:
    block_list = BlockList.parse(["squad", "user/*"])

    assert [name for name in ("squad", "user/data", "other/data") if block_list.blocks(name)] == [
        "squad",
        "user/data",
    ]


def test_an_empty_list_blocks_nothing() -> None:
    assert not BlockList.parse([]).blocks("squad")


@pytest.mark.parametrize(
    "pattern", ["*", "sq*", "[a]*", "*/data", "us*/data", "user/data/more", "user//data", "", " "]
)
def test_an_invalid_pattern_is_a_configuration_error(pattern: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        BlockList.parse(["squad", pattern])

    assert str(refused.value) == (
        f"The block list holds {pattern.strip()!r}: write a name or namespace/pattern. The wildcard * is"
        " allowed only after the slash."
    )
