"""Answers that are kept for some seconds, however many people look at a page."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition
from typing import ParamSpec, TypeVar

from cachetools import TTLCache, cached

KEPT_SECONDS = 10
_MOST_ANSWERS = 16

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

_all_answers: list[TTLCache[object, object]] = []


def kept(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Keep what a function returns for 10 seconds, for each of its (hashable) arguments.

    Whoever asks for the same while the function runs waits for its answer. An error is not kept.
    """
    answers: TTLCache[object, object] = TTLCache(_MOST_ANSWERS, KEPT_SECONDS)
    _all_answers.append(answers)
    remembered: Callable[Arguments, Answer] = cached(answers, condition=Condition())(function)
    return remembered


def forget_answers() -> None:
    """Keep no answer any longer."""
    for answers in _all_answers:
        answers.clear()
