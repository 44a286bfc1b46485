"""The processing graph of a release: its steps, which of them trigger which, and the errors worth retrying.

The graphs are data files, one for each release of datasets-server, in ``include/planning/releases/``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from include.errors import ConfigurationError

GRAPHS_FOLDER = Path(__file__).parent / "releases"
DEFAULT_RELEASE = "2024-03"
#: More failed runs than an entry can have.
NO_MAXIMUM = 2**63

GRAPH_FIELDS = frozenset(
    {"release", "steps", "max_failed_runs_by_error_code", "unsupported_tags", "topological_order"}
)
STEP_FIELDS = frozenset({"input_type", "triggered_by", "job_runner_version", "difficulty"})
OPTIONAL_STEP_FIELDS = frozenset({"bonus_difficulty_if_dataset_is_big"})


class Level(IntEnum):
    """What a step makes one artifact of: each dataset, each config or each split. The widest is the least."""

    DATASET = 0
    CONFIG = 1
    SPLIT = 2


LEVELS = {level.name.lower(): level for level in Level}


@dataclass(frozen=True, slots=True)
class Step:
    """A processing step, which is also a type of job and a kind of cache entry.

    ``parents`` are the steps that trigger it; ``difficulty`` and ``bonus_difficulty`` (added
    when the config is big) are on the scale of 1 to 100.
    """

    name: str
    input_type: Level
    parents: tuple[Step, ...]
    job_runner_version: int
    difficulty: int
    bonus_difficulty: int


@dataclass(frozen=True, slots=True)
class Release:
    """The rules that differ from one release of datasets-server to another.

    ``steps`` are in topological order: a step comes after its parents. ``max_failed_runs`` holds the error
    codes worth retrying, each with the number of failed runs from which on it is not retried any more.
    """

    name: str
    steps: tuple[Step, ...]
    max_failed_runs: Mapping[str, int]
    unsupported_tags: frozenset[str]

    def retrying(self, codes: Collection[str], *, past_the_maximum: bool) -> Release:
        """Give the same release, which retries these error codes (with none: its own).

        A code that is not its own has the highest of its maxima; ``past_the_maximum`` leaves all without one.
        """
        highest = max(self.max_failed_runs.values())
        maxima = {code: self.max_failed_runs.get(code, highest) for code in codes or self.max_failed_runs}
        if past_the_maximum:
            maxima = dict.fromkeys(maxima, NO_MAXIMUM)
        return replace(self, max_failed_runs=maxima)

    def step(self, name: str) -> Step:
        """Give the step of a name."""
        return next(step for step in self.steps if step.name == name)

    @property
    def rebuilds_incoherent_caches(self) -> bool:
        """Whether a dataset with entries of configs or splits that it has no longer is removed first."""
        return self.name >= "2026-08"

    @property
    def knows_blocked_datasets(self) -> bool:
        """Whether the queue sets the jobs of rate-limited datasets apart (``datasetBlockages``)."""
        return self.name >= "2026-08"

    @property
    def tells_enterprise_by_plan(self) -> bool:
        """Whether an Enterprise namespace is known by its ``plan`` instead of by ``isEnterprise``."""
        return self.name >= "2026-08"

    @property
    def null_viewer_is_off(self) -> bool:
        """Whether ``viewer: null`` in the card of a dataset turns off its viewer."""
        return self.name < "2026-08"


def release_names() -> list[str]:
    """The names of the releases that there is a processing graph for, oldest first."""
    return sorted(path.stem for path in GRAPHS_FOLDER.glob("*.json"))


@cache
def load_release(name: str = DEFAULT_RELEASE) -> Release:
    """Load a release and its processing graph.

    :raises ConfigurationError: if there is no such release, or its file breaks a rule of the format.
    """
    if name not in release_names():
        raise ConfigurationError(f"Unknown release {name!r}: choose one of {', '.join(release_names())}.")
    path = GRAPHS_FOLDER / f"{name}.json"
    try:
        return parse_release(json.loads(path.read_text(encoding="utf-8")))
    except (ConfigurationError, ValueError) as error:
        raise ConfigurationError(f"The processing graph {path.name} cannot be used: {error}") from error


def parse_release(document: Mapping[str, Any]) -> Release:
    """Read a release from its document, and check it.

    :raises ConfigurationError: naming the first rule that it breaks.
    """
    _check_fields("the graph", document, required=GRAPH_FIELDS)
    for name, fields in document["steps"].items():
        _check_step(name, fields)
    _check_parents(document["steps"])
    _check_order(document["steps"], document["topological_order"])
    for code, maximum in document["max_failed_runs_by_error_code"].items():
        _check_integer(f"max_failed_runs_by_error_code[{code!r}]", maximum, lowest=1)
    return Release(
        name=document["release"],
        steps=_steps(document["steps"], document["topological_order"]),
        max_failed_runs=dict(document["max_failed_runs_by_error_code"]),
        unsupported_tags=frozenset(document["unsupported_tags"]),
    )


def _steps(fields_by_name: Mapping[str, Mapping[str, Any]], order: Sequence[str]) -> tuple[Step, ...]:
    steps: dict[str, Step] = {}
    for name in order:
        fields = fields_by_name[name]
        steps[name] = Step(
            name=name,
            input_type=LEVELS[fields["input_type"]],
            parents=tuple(steps[parent] for parent in fields["triggered_by"]),
            job_runner_version=fields["job_runner_version"],
            difficulty=fields["difficulty"],
            bonus_difficulty=fields.get("bonus_difficulty_if_dataset_is_big", 0),
        )
    return tuple(steps.values())


def _check_step(name: str, fields: Mapping[str, Any]) -> None:
    _check_fields(f"step {name!r}", fields, required=STEP_FIELDS, optional=OPTIONAL_STEP_FIELDS)
    if fields["input_type"] not in LEVELS:
        raise ConfigurationError(
            f"step {name!r} has input_type {fields['input_type']!r}: it must be one of {', '.join(LEVELS)}."
        )
    _check_integer(f"job_runner_version of step {name!r}", fields["job_runner_version"], lowest=1)
    _check_integer(f"difficulty of step {name!r}", fields["difficulty"], lowest=1)
    for field in OPTIONAL_STEP_FIELDS & fields.keys():
        _check_integer(f"{field} of step {name!r}", fields[field], lowest=0)


def _check_fields(
    what: str, fields: Mapping[str, Any], *, required: frozenset[str], optional: frozenset[str] = frozenset()
) -> None:
    if missing := required - fields.keys():
        raise ConfigurationError(f"{what} lacks {', '.join(sorted(missing))}.")
    if unknown := fields.keys() - required - optional:
        raise ConfigurationError(f"{what} has an unknown field: {', '.join(sorted(unknown))}.")


def _check_integer(what: str, value: object, *, lowest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise ConfigurationError(f"{what} is {value!r}: it must be a whole number, {lowest} or more.")


def _check_parents(steps: Mapping[str, Mapping[str, Any]]) -> None:
    for name, fields in steps.items():
        for parent in fields["triggered_by"]:
            if parent not in steps:
                raise ConfigurationError(f"step {name!r} is triggered by {parent!r}, which is no step.")
    try:
        TopologicalSorter({name: fields["triggered_by"] for name, fields in steps.items()}).prepare()
    except CycleError as error:
        raise ConfigurationError(f"the steps form a cycle: {' -> '.join(error.args[1])}.") from error


def _check_order(steps: Mapping[str, Mapping[str, Any]], order: Sequence[str]) -> None:
    if sorted(order) != sorted(steps):
        raise ConfigurationError("topological_order must name each step once.")
    if not order or steps[order[0]]["input_type"] != "dataset":
        raise ConfigurationError("the first step of topological_order must be of input_type dataset.")
    place = {name: index for index, name in enumerate(order)}
    for name, fields in steps.items():
        for parent in fields["triggered_by"]:
            if place[parent] > place[name]:
                raise ConfigurationError(f"topological_order has {name!r} before its parent {parent!r}.")
