"""Numbers and times in words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from include.console.words import counted, duration


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (timedelta(seconds=-30), "less than a minute"),
        (timedelta(seconds=30), "less than a minute"),
        (timedelta(seconds=90), "1 minute"),
        (timedelta(minutes=119), "119 minutes"),
        (timedelta(hours=47), "47 hours"),
        (timedelta(days=3, hours=23), "3 days"),
    ],
)
def test_a_duration_is_in_its_largest_unit(time: timedelta, words: str) -> None:
    assert duration(time) == words


def test_a_number_has_its_noun() -> None:
    assert (counted(1, "job"), counted(2_000, "job")) == ("1 job", "2,000 jobs")
