"""The rules that decide, from the answers of the Hub, whether a dataset is supported.

The section "Is a dataset supported?" of docs/actions.md explains them. A malformed answer is an error of its
dataset, never a reason to remove it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self, TypeVar

from include.errors import DatasetError
from include.hub.answers import Support, Supported, Unsupported
from include.hub.block_list import BlockList
from include.planning.processing_graph import Release

Field = TypeVar("Field")

#: The fields that ``DatasetInfo`` reads, to be requested from the Hub.
PROPERTIES = ("author", "cardData", "disabled", "private", "sha", "tags")


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What the Hub says about a dataset.

    :param name: its current name.
    :param author: its owner; None for a canonical dataset.
    :param revision: the git sha of its main branch, None if there is none.
    :param card: the metadata of its card.
    """

    name: str
    author: str | None
    revision: str | None
    private: bool
    disabled: bool
    tags: frozenset[str]
    card: Mapping[str, object]

    @classmethod
    def read(cls, answer: object) -> Self:
        """Read the JSON that describes a dataset. Apart from the id, a field may be absent or null.

        :raises DatasetError: if the answer, or a field of it, is of a wrong type.
        """
        fields = _fields(answer)
        tags = _field(fields, "tags", list) or []
        if not all(isinstance(tag, str) for tag in tags):
            raise DatasetError("the Hub's answer is malformed: the type of a tag is not str")
        name = _field(fields, "id", str)
        if not name:
            raise DatasetError("the Hub's answer is malformed: it has no id")
        return cls(
            name=name,
            author=_field(fields, "author", str),
            revision=_field(fields, "sha", str) or None,
            private=_field(fields, "private", bool) or False,
            disabled=_field(fields, "disabled", bool) or False,
            tags=frozenset(tags),
            card=_field(fields, "cardData", dict) or {},
        )


@dataclass(frozen=True, slots=True)
class HubAnswer:
    """Whether a dataset is supported, and what the Hub says about it: None if it refuses to say."""

    support: Support
    info: DatasetInfo | None


def has_paid_plan(answer: object, release: Release) -> bool:
    """Return whether a user or organization is PRO or Enterprise, from the JSON that describes it.

    :raises DatasetError: if the answer is malformed, or does not say so.
    """
    fields = _fields(answer)
    is_pro = _field(fields, "isPro", bool)
    if release.reads_enterprise_from_plan:
        is_enterprise = _field(fields, "plan", str) is not None if "plan" in fields else None
    else:
        is_enterprise = _field(fields, "isEnterprise", bool)
    if is_pro or is_enterprise:
        return True
    if is_pro is None or is_enterprise is None:
        raise DatasetError("the Hub does not say whether its author is PRO or Enterprise")
    return False


@dataclass(frozen=True, slots=True)
class SupportRules:
    """The rules of a release, and the block list."""

    release: Release
    blocked: BlockList

    def judge(self, dataset: str, info: DatasetInfo, may_be_private: Callable[[str], bool]) -> Support:
        """Return whether a dataset is supported.

        :param dataset: the name that the Hub was asked about, which may be an old one.
        :param may_be_private: returns whether an author may have private datasets. It is called only for a
            private dataset.
        :raises DatasetError: if the Hub's answer has no revision.
        """
        if info.revision is None:
            raise DatasetError("the Hub's answer has no revision")
        if info.disabled:
            return Unsupported("it is disabled on the Hub")
        if info.private and not may_be_private(info.author or dataset.split("/")[0]):
            return Unsupported("it is private, and its author is neither PRO nor Enterprise")
        if reason := self._reason_against(dataset, info):
            return Unsupported(reason)
        return Supported(info.revision)

    def proven_revision(self, info: DatasetInfo) -> str | None:
        """Return the revision if the dataset is supported with any author, otherwise None."""
        if info.private or info.disabled or self._reason_against(info.name, info):
            return None
        return info.revision

    def _reason_against(self, dataset: str, info: DatasetInfo) -> str | None:
        if not info.private and (tags := self.release.unsupported_tags & info.tags):
            return f"it is tagged {', '.join(sorted(tags))}"
        if self._viewer_is_off(info.card):
            return "its card turns the viewer off"
        if self.blocked.blocks(dataset):
            return "it is on the block list"
        return None

    def _viewer_is_off(self, card: Mapping[str, object]) -> bool:
        viewer = card.get("viewer", True)
        return self.release.null_viewer_is_off if viewer is None else not viewer


def _fields(answer: object) -> Mapping[str, object]:
    if not isinstance(answer, dict):
        raise DatasetError(f"the Hub's answer is malformed: its type is {type(answer).__name__}, not dict")
    return answer


def _field(fields: Mapping[str, object], name: str, expected: type[Field]) -> Field | None:
    value = fields.get(name)
    if value is None or isinstance(value, expected):
        return value
    types = f"{type(value).__name__}, not {expected.__name__}"
    raise DatasetError(f"the Hub's answer is malformed: the type of {name} is {types}")
