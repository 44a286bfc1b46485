"""Two ends of a backfill are compared line by line."""

from __future__ import annotations

from dev.local_stack.distributed.state import EndState


def end_state(**parts: tuple[str, ...]) -> EndState:
    return EndState(entries=2, jobs=2, cached_datasets=1, parts=parts)


def test_equal_ends_have_no_difference() -> None:
    one, other = end_state(jobs=("a", "b"), locks=()), end_state(jobs=("a", "b"), locks=())

    assert one == other
    assert one.differences(other) == []


def test_a_difference_says_where_how_many_and_what() -> None:
    one, other = end_state(jobs=("a", "b", "b"), locks=("x",)), end_state(jobs=("a", "b"), locks=("x",))

    assert one != other
    assert one.differences(other) == ["jobs: 1 only in the first, 0 only in the second: b"]


def test_the_order_of_jobs_is_a_difference() -> None:
    one, other = end_state(jobs=("a", "b")), end_state(jobs=("b", "a"))

    assert one.differences(other) == [
        "jobs: 0 only in the first, 0 only in the second: the same lines in a different order"
    ]
