"""The rules of support, and the answers of the Hub that they read. A malformed answer is always an error."""

from __future__ import annotations

from typing import Any

import pytest

from include.errors import DatasetError
from include.hub.answers import Support, Supported, Unsupported
from include.hub.block_list import BlockList
from include.hub.support import DatasetInfo, SupportRules, has_paid_plan
from include.planning.processing_graph import load_release

SHA = "1" * 40
ANSWER = {
    "id": "user/data",
    "author": "user",
    "sha": SHA,
    "private": False,
    "disabled": False,
    "tags": ["language:en"],
    "cardData": {"license": "mit"},
}
RELEASES = ["2024-03", "2026-08"]


def judge(answer: object, release: str = "2024-03", *, author_pays: bool = False) -> Support:
    rules = SupportRules(load_release(release), BlockList.parse(["blocked/*"]))
    return rules.judge("user/data", DatasetInfo.read(answer), lambda _: author_pays)


def proven_revision(answer: object, release: str = "2024-03") -> str | None:
    return SupportRules(load_release(release), BlockList()).proven_revision(DatasetInfo.read(answer))


@pytest.mark.parametrize("release", RELEASES)
def test_a_public_dataset_is_supported_and_proven_by_the_listing(release: str) -> None:
    assert judge(ANSWER, release) == Supported(SHA)
    assert proven_revision(ANSWER, release) == SHA


@pytest.mark.parametrize("field", ["author", "private", "disabled", "tags", "cardData"])
@pytest.mark.parametrize("release", RELEASES)
def test_a_field_may_be_absent_or_null(field: str, release: str) -> None:
    absent = {name: value for name, value in ANSWER.items() if name != field}

    assert judge(absent, release) == judge(ANSWER | {field: None}, release) == Supported(SHA)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": 1},
        {"id": None},
        {"id": ""},
        {"author": {"name": "user"}},
        {"sha": 1},
        {"sha": [SHA]},
        {"private": "no"},
        {"private": 0},
        {"disabled": "false"},
        {"disabled": 1},
        {"tags": "nsfw"},
        {"tags": {}},
        {"tags": [1]},
        {"cardData": []},
        {"cardData": [{"viewer": False}]},
        {"cardData": ""},
        {"cardData": "viewer: false"},
        {"cardData": False},
    ],
    ids=repr,
)
@pytest.mark.parametrize("release", RELEASES)
def test_a_field_of_a_wrong_type_is_an_error(changes: dict[str, Any], release: str) -> None:
    with pytest.raises(DatasetError, match=r"^the Hub's answer is malformed: "):
        judge(ANSWER | changes, release)


@pytest.mark.parametrize("answer", [[], [ANSWER], None, "user/data", 1, True, {}])
def test_an_answer_that_is_no_dataset_is_an_error(answer: object) -> None:
    with pytest.raises(DatasetError, match=r"^the Hub's answer is malformed: "):
        judge(answer)


def test_the_error_names_the_field_and_its_type() -> None:
    with pytest.raises(DatasetError) as malformed:
        judge(ANSWER | {"disabled": "false"})

    assert str(malformed.value) == "the Hub's answer is malformed: the type of disabled is str, not bool"


@pytest.mark.parametrize("sha", [None, ""])
@pytest.mark.parametrize(
    "changes", [{}, {"disabled": True}, {"private": True}, {"cardData": {"viewer": False}}], ids=repr
)
def test_a_dataset_without_a_revision_is_an_error_whatever_else_it_is(
    sha: str | None, changes: dict[str, Any]
) -> None:
    with pytest.raises(DatasetError, match=r"^the Hub gives no revision$"):
        judge(ANSWER | {"sha": sha} | changes)

    assert proven_revision(ANSWER | {"sha": sha} | changes) is None


@pytest.mark.parametrize(
    ("viewer", "off_in"),
    [
        (False, RELEASES),
        (0, RELEASES),
        (0.0, RELEASES),
        ("", RELEASES),
        ([], RELEASES),
        ({}, RELEASES),
        (None, ["2024-03"]),
        (True, []),
        ("false", []),
        (1, []),
        ([False], []),
    ],
    ids=repr,
)
@pytest.mark.parametrize("release", RELEASES)
def test_a_viewer_that_is_false_or_empty_makes_a_dataset_unsupported(
    viewer: object, off_in: list[str], release: str
) -> None:
    answer = ANSWER | {"cardData": {"viewer": viewer}}

    if release in off_in:
        assert judge(answer, release) == Unsupported("its card turns the viewer off")
        assert proven_revision(answer, release) is None
    else:
        assert judge(answer, release) == Supported(SHA)
        assert proven_revision(answer, release) == SHA


def test_a_private_dataset_is_not_proven_by_the_listing_even_if_its_author_pays() -> None:
    private = ANSWER | {"private": True}

    assert judge(private, author_pays=True) == Supported(SHA)
    assert isinstance(judge(private), Unsupported)
    assert proven_revision(private) is None


class TestPaidPlan:
    @pytest.mark.parametrize(
        ("release", "answer", "paid"),
        [
            ("2024-03", {"isPro": True, "isEnterprise": False}, True),
            ("2024-03", {"isPro": False, "isEnterprise": True}, True),
            ("2024-03", {"isPro": False, "isEnterprise": False, "plan": "team"}, False),
            ("2024-03", {"isPro": True}, True),
            ("2024-03", {"isEnterprise": True}, True),
            ("2026-08", {"isPro": True, "plan": None}, True),
            ("2026-08", {"isPro": False, "plan": "team"}, True),
            ("2026-08", {"isPro": False, "plan": None, "isEnterprise": True}, False),
            ("2026-08", {"isPro": True}, True),
            ("2026-08", {"plan": "team"}, True),
        ],
    )
    def test_an_author_is_pro_or_enterprise_by_the_fields_of_the_release(
        self, release: str, answer: dict[str, Any], paid: bool
    ) -> None:
        assert has_paid_plan(answer, load_release(release)) is paid

    @pytest.mark.parametrize(
        ("release", "answer"),
        [
            ("2024-03", {}),
            ("2024-03", {"isPro": False}),
            ("2024-03", {"isEnterprise": False}),
            ("2024-03", {"isPro": False, "plan": None}),
            ("2024-03", {"isPro": None, "isEnterprise": False}),
            ("2026-08", {}),
            ("2026-08", {"isPro": False}),
            ("2026-08", {"plan": None}),
            ("2026-08", {"isPro": False, "isEnterprise": False}),
        ],
    )
    def test_an_answer_that_does_not_say_whether_an_author_pays_is_an_error(
        self, release: str, answer: dict[str, Any]
    ) -> None:
        with pytest.raises(DatasetError, match=r"does not say whether its author is PRO or Enterprise$"):
            has_paid_plan(answer, load_release(release))

    @pytest.mark.parametrize(
        ("release", "answer"),
        [
            ("2024-03", []),
            ("2024-03", None),
            ("2024-03", {"isPro": "false", "isEnterprise": False}),
            ("2024-03", {"isPro": False, "isEnterprise": 0}),
            ("2026-08", "free"),
            ("2026-08", {"isPro": 1, "plan": None}),
            ("2026-08", {"isPro": False, "plan": False}),
        ],
    )
    def test_an_answer_of_a_wrong_type_is_an_error(self, release: str, answer: object) -> None:
        with pytest.raises(DatasetError, match=r"^the Hub's answer is malformed: "):
            has_paid_plan(answer, load_release(release))
