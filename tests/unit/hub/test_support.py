"""The rules of support, and the answers of the Hub that they read. A malformed answer is always an error."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from include.errors import DatasetError
from include.hub.answers import Support, Supported, Unsupported
from include.hub.block_list import BlockList
from include.hub.support import DatasetInfo, SupportRules, has_paid_plan
from include.planning.processing_graph import Release, load_release

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
BY_FLAG = replace(load_release(), reads_enterprise_from_plan=False, null_viewer_is_off=True)
BY_PLAN = replace(BY_FLAG, reads_enterprise_from_plan=True)
IGNORES_NULL = replace(BY_FLAG, null_viewer_is_off=False)


def judge(answer: object, release: Release = BY_FLAG, *, author_pays: bool = False) -> Support:
    rules = SupportRules(release, BlockList())
    return rules.judge("user/data", DatasetInfo.read(answer), lambda _: author_pays)


def proven_revision(answer: object, release: Release = BY_FLAG) -> str | None:
    return SupportRules(release, BlockList()).proven_revision(DatasetInfo.read(answer))


def test_a_public_dataset_is_supported_and_proven_by_the_listing() -> None:
    assert judge(ANSWER) == Supported(SHA)
    assert proven_revision(ANSWER) == SHA


@pytest.mark.parametrize("field", ["author", "private", "disabled", "tags", "cardData"])
def test_a_field_may_be_absent_or_null(field: str) -> None:
    absent = {name: value for name, value in ANSWER.items() if name != field}

    assert judge(absent) == judge(ANSWER | {field: None}) == Supported(SHA)


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
def test_a_field_of_a_wrong_type_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match=r"^the Hub's answer is malformed: "):
        judge(ANSWER | changes)


@pytest.mark.parametrize("answer", [[], [ANSWER], None, "user/data", 1, True, {}])
def test_an_answer_that_is_not_a_dataset_is_an_error(answer: object) -> None:
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
def test_a_dataset_without_a_revision_is_always_an_error(sha: str | None, changes: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match=r"^the Hub's answer has no revision$"):
        judge(ANSWER | {"sha": sha} | changes)

    assert proven_revision(ANSWER | {"sha": sha} | changes) is None


@pytest.mark.parametrize("viewer", [False, 0, 0.0, "", [], {}, None], ids=repr)
def test_a_viewer_that_is_false_or_empty_makes_a_dataset_unsupported(viewer: object) -> None:
    answer = ANSWER | {"cardData": {"viewer": viewer}}

    assert judge(answer) == Unsupported("its card turns the viewer off")
    assert proven_revision(answer) is None


@pytest.mark.parametrize("viewer", [True, "false", 1, [False]], ids=repr)
def test_any_other_viewer_leaves_a_dataset_supported(viewer: object) -> None:
    answer = ANSWER | {"cardData": {"viewer": viewer}}

    assert judge(answer) == Supported(SHA)
    assert proven_revision(answer) == SHA


def test_a_release_may_ignore_a_viewer_that_is_null() -> None:
    assert judge(ANSWER | {"cardData": {"viewer": None}}, IGNORES_NULL) == Supported(SHA)
    assert isinstance(judge(ANSWER | {"cardData": {"viewer": False}}, IGNORES_NULL), Unsupported)


def test_a_private_dataset_is_not_proven_by_the_listing_even_if_its_author_pays() -> None:
    private = ANSWER | {"private": True}

    assert judge(private, author_pays=True) == Supported(SHA)
    assert isinstance(judge(private), Unsupported)
    assert proven_revision(private) is None


class TestPaidPlan:
    @pytest.mark.parametrize(
        ("release", "answer", "paid"),
        [
            (BY_FLAG, {"isPro": True, "isEnterprise": False}, True),
            (BY_FLAG, {"isPro": False, "isEnterprise": True}, True),
            (BY_FLAG, {"isPro": False, "isEnterprise": False, "plan": "team"}, False),
            (BY_FLAG, {"isPro": True}, True),
            (BY_FLAG, {"isEnterprise": True}, True),
            (BY_PLAN, {"isPro": True, "plan": None}, True),
            (BY_PLAN, {"isPro": False, "plan": "team"}, True),
            (BY_PLAN, {"isPro": False, "plan": None, "isEnterprise": True}, False),
            (BY_PLAN, {"isPro": True}, True),
            (BY_PLAN, {"plan": "team"}, True),
        ],
    )
    def test_an_author_is_pro_or_enterprise_by_the_fields_of_the_release(
        self, release: Release, answer: dict[str, Any], paid: bool
    ) -> None:
        assert has_paid_plan(answer, release) is paid

    @pytest.mark.parametrize(
        ("release", "answer"),
        [
            (BY_FLAG, {}),
            (BY_FLAG, {"isPro": False}),
            (BY_FLAG, {"isEnterprise": False}),
            (BY_FLAG, {"isPro": False, "plan": None}),
            (BY_FLAG, {"isPro": None, "isEnterprise": False}),
            (BY_PLAN, {}),
            (BY_PLAN, {"isPro": False}),
            (BY_PLAN, {"plan": None}),
            (BY_PLAN, {"isPro": False, "isEnterprise": False}),
        ],
    )
    def test_an_answer_that_does_not_say_whether_an_author_pays_is_an_error(
        self, release: Release, answer: dict[str, Any]
    ) -> None:
        with pytest.raises(DatasetError, match=r"does not say whether its author is PRO or Enterprise$"):
            has_paid_plan(answer, release)

    @pytest.mark.parametrize(
        ("release", "answer"),
        [
            (BY_FLAG, []),
            (BY_FLAG, None),
            (BY_FLAG, {"isPro": "false", "isEnterprise": False}),
            (BY_FLAG, {"isPro": False, "isEnterprise": 0}),
            (BY_PLAN, "free"),
            (BY_PLAN, {"isPro": 1, "plan": None}),
            (BY_PLAN, {"isPro": False, "plan": False}),
        ],
    )
    def test_an_answer_of_a_wrong_type_is_an_error(self, release: Release, answer: object) -> None:
        with pytest.raises(DatasetError, match=r"^the Hub's answer is malformed: "):
            has_paid_plan(answer, release)
