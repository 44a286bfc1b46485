"""What an action did: counts and a few examples, small enough for XCom. Those of tasks add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

SAMPLE_SIZE = 20


@dataclass(slots=True)
class Summary:
    """Counts, and samples of at most ``SAMPLE_SIZE`` lines, each of which names a dataset or a path."""

    def add(self, other: Summary) -> None:
        """Add the counts and the samples of another summary of the same kind."""
        for name, theirs in other.as_json().items():
            mine = getattr(self, name)
            if isinstance(mine, list):
                setattr(self, name, (mine + theirs)[:SAMPLE_SIZE])
            elif isinstance(mine, dict):
                setattr(self, name, dict(Counter(mine) + Counter(theirs)))
            else:
                setattr(self, name, mine + theirs)

    def as_json(self) -> dict[str, Any]:
        """Return the summary as a JSON object."""
        return asdict(self)

    @classmethod
    def total(cls, summaries: Iterable[Mapping[str, Any]]) -> Self:
        """Add up summaries that are JSON objects."""
        total = cls()
        for summary in summaries:
            total.add(cls(**summary))
        return total


def add_to_sample(sample: list[str], name: str, what: object) -> None:
    """Add a line about a dataset or a path to a sample, unless it is full."""
    if len(sample) < SAMPLE_SIZE:
        sample.append(f"{name}: {what}")


def as_text(report: Mapping[str, Any]) -> str:
    """Write a report for people, one line for each number or sample."""
    lines = ["Dry run: nothing was written. It would do this:" if report["dry_run"] else "The run did this:"]
    for name, value in report.items():
        if name != "dry_run":
            lines += [f"  {line}" for line in _as_lines(_in_words(name), value)]
    return "\n".join(lines)


def _as_lines(label: str, value: Any) -> Iterator[str]:  # noqa: ANN401 - a part of a report
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _as_lines(f"{label}, {_in_words(key)}", part)
    elif isinstance(value, list):
        yield from (f"{label}: {line}" for line in value)
    else:
        yield f"{label}: {value:,}"


def _in_words(name: str) -> str:
    return name.replace("_", " ")
