"""Operations that are repeated while MongoDB elects a primary or restarts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
from pymongo.errors import (
    AutoReconnect,
    CursorNotFound,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from include.databases.mongo import resumed, retried


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("include.databases.mongo.time", clock)
    return clock


class Operation:
    """Raises errors, one at each call, and then returns how many there were."""

    def __init__(self, *errors: PyMongoError) -> None:
        self._errors = errors
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= len(self._errors):
            raise self._errors[self.calls - 1]
        return len(self._errors)


@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect("connection closed"),
        NotPrimaryError("not primary"),
        NetworkTimeout("timed out"),
        ServerSelectionTimeoutError("no primary"),
        CursorNotFound("cursor id 1 not found", 43),
        OperationFailure("the majority is not known yet", 134),
        PyMongoError("stepped down", ["RetryableWriteError"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_passing_error_is_retried(clock: Clock, error: PyMongoError) -> None:
    assert retried(Operation(*[error] * 5)) == 5
    assert clock.now > 1_000


@pytest.mark.parametrize(
    "error",
    [
        OperationFailure("not allowed", 13),
        ExecutionTimeout("it takes too long", 50),
        PyMongoError("something else"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_does_not_pass_is_raised_at_once(clock: Clock, error: PyMongoError) -> None:
    operation = Operation(error)

    with pytest.raises(type(error)):
        retried(operation)

    assert operation.calls == 1


def test_after_a_minute_of_errors_the_last_one_is_raised(clock: Clock) -> None:
    errors = [AutoReconnect(str(number)) for number in range(1_000)]
    operation = Operation(*errors)

    with pytest.raises(AutoReconnect) as raised:
        retried(operation)

    assert 1_055 < clock.now <= 1_060
    assert raised.value is errors[operation.calls - 1]


def test_an_operation_that_takes_long_before_it_fails_is_retried_all_the_same(clock: Clock) -> None:
    operation = Operation(AutoReconnect("connection closed"))

    def after_minutes() -> int:
        clock.now += 600
        return operation()

    assert retried(after_minutes) == 1


def test_names_of_a_cursor_that_fails_go_on_after_the_last_one(clock: Clock) -> None:
    asked: list[str | None] = []

    def names_after(last: str | None) -> Iterator[str]:
        asked.append(last)
        if asked.count(last) == 1:
            yield from islice(_after(last), 3)
            raise CursorNotFound("its server is gone", 43)
        yield from _after(last)

    assert "".join(resumed(names_after)) == "abcdefg"
    assert asked == [None, "c", "f", "g", "g"]


def test_a_cursor_that_cannot_be_opened_is_opened_again(clock: Clock) -> None:
    open_cursor = Operation(*[AutoReconnect("connection closed")] * 3)

    def names_after(last: str | None) -> Iterator[str]:
        open_cursor()
        yield from _after(last)

    assert "".join(resumed(names_after)) == "abcdefg"


def _after(last: str | None) -> Iterator[str]:
    return (name for name in "abcdefg" if last is None or name > last)
