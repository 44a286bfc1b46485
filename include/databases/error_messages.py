"""What cache entries say about their errors, cut by MongoDB, so that no whole content is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from include.databases.malformed import is_text

Document = dict[str, Any]

_FIELDS = {
    "error": ("content.error", "details.error"),
    "cause": ("content.cause_exception", "details.cause_exception"),
    "cause_message": ("content.cause_message", "details.cause_message"),
    "copied_kind": ("details.copied_from_artifact.kind",),
    "copied_config": ("details.copied_from_artifact.config",),
    "copied_split": ("details.copied_from_artifact.split",),
}


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """What an entry says about its error. Each text may be cut off, and is None if the entry has none.

    :param text: the message.
    :param cause: the exception that caused it.
    :param cause_message: the message of that exception.
    :param copied_from: the artifact whose error this one repeats: its kind, config and split.
    """

    text: str | None = None
    cause: str | None = None
    cause_message: str | None = None
    copied_from: tuple[str, str | None, str | None] | None = None


def projected_message(characters: int) -> Document:
    """Return the projection of an entry to its :class:`ErrorMessage`, each text cut to so many characters."""
    return {"_id": 0, **{name: _first_text(paths, characters) for name, paths in _FIELDS.items()}}


def message_of(document: Mapping[str, Any]) -> ErrorMessage:
    """Return the message in a document that was read by :func:`projected_message`."""
    texts = {name: value if is_text(value := document.get(name)) else None for name in _FIELDS}
    kind = texts["copied_kind"]
    return ErrorMessage(
        texts["error"],
        texts["cause"],
        texts["cause_message"],
        None if kind is None else (kind, texts["copied_config"], texts["copied_split"]),
    )


def _first_text(paths: tuple[str, ...], characters: int) -> Document:
    """Return an expression for the first field that holds a string; contents may hold anything."""
    return {
        "$switch": {
            "branches": [
                {
                    "case": {"$eq": [{"$type": f"${path}"}, "string"]},
                    "then": {"$substrCP": [f"${path}", 0, characters]},
                }
                for path in paths
            ],
            "default": None,
        }
    }
