"""Few answers are computed at the same time, and each is kept for some seconds, however many ask for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import wraps
from threading import BoundedSemaphore, Lock, Thread
from typing import Any, NoReturn, ParamSpec, TypeVar

from cachetools import TTLCache

from include.errors import ServiceError

#: At the same time, for all users of a process of the API server.
COMPUTED_AT_ONCE = 4
#: For a turn to compute an answer, or for the answer that another request computes.
LONGEST_WAIT_SECONDS = 10.0
KEPT_SECONDS = 10
BUSY = "Too many pages are being made at the same time: wait some seconds, then load this page again."

#: Of the answers of a function that are kept. A view of a dataset weighs as many as it has entries and jobs,
#: 50 MB for each 100,000 of them.
_MOST_WEIGHT = 400_000
_LEAST_WEIGHT = _MOST_WEIGHT // 16

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

_turns = BoundedSemaphore(COMPUTED_AT_ONCE)
_all_answers: list[_Answers] = []


@contextmanager
def turn_to_compute() -> Iterator[None]:
    """Wait until few enough others compute an answer. Who has a turn must not wait for another one.

    :raises ServiceError: if none comes in time.
    """
    if not _turns.acquire(timeout=LONGEST_WAIT_SECONDS):
        raise ServiceError(BUSY)
    try:
        yield
    finally:
        _turns.release()


def kept(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Keep what a function returns for 10 seconds, for each of its (hashable) arguments.

    Whoever asks for the same while the function runs waits for its answer, or its error, but not for ever:
    then it is a ServiceError. An error is not kept. An answer with a ``weight`` takes the place of many.
    """
    answers = _Answers()
    _all_answers.append(answers)

    @wraps(function)
    def kept_or_computed(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        answer: Answer = answers.get((args, *kwargs.items()), lambda: function(*args, **kwargs))
        return answer

    return kept_or_computed


def forget_answers() -> None:
    """Keep no answer any longer."""
    for answers in _all_answers:
        answers.forget()


def forget_old_answers() -> None:
    """Let the memory of answers go whose time is over, although nobody asks for the same again."""
    for answers in _all_answers:
        answers.forget_old()


def start_to_forget() -> None:
    """Forget old answers from time to time, in a thread."""

    def forget() -> NoReturn:
        while True:
            time.sleep(KEPT_SECONDS)
            forget_old_answers()

    Thread(target=forget, name="console-answers", daemon=True).start()


class _Answers:
    """The answers of a function, by its arguments: those that are kept, and those that are being computed."""

    def __init__(self) -> None:
        self._kept: TTLCache[Any, Future[Any]] = TTLCache(_MOST_WEIGHT, KEPT_SECONDS, getsizeof=_weight)
        self._computed: dict[Any, Future[Any]] = {}
        self._lock = Lock()

    def get(self, key: object, compute: Callable[[], Any]) -> Any:  # noqa: ANN401
        with self._lock:
            answer = self._kept.get(key) or self._computed.get(key)
            if is_first := answer is None:
                answer = self._computed[key] = Future()
        if is_first:
            self._compute(key, answer, compute)
        elif not wait([answer], LONGEST_WAIT_SECONDS).done:
            raise ServiceError(BUSY)
        return answer.result()

    def _compute(self, key: object, answer: Future[Any], compute: Callable[[], Any]) -> None:
        try:
            answer.set_result(compute())
        except BaseException as error:  # noqa: BLE001 (for all who wait)
            answer.set_exception(error)
        with self._lock:
            del self._computed[key]
            if answer.exception() is None:
                self._kept[key] = answer

    def forget(self) -> None:
        with self._lock:
            self._kept.clear()

    def forget_old(self) -> None:
        with self._lock:
            self._kept.expire()


def _weight(answer: Future[Any]) -> int:
    weight: int = getattr(answer.result(), "weight", 0)
    return min(max(weight, _LEAST_WEIGHT), _MOST_WEIGHT)
