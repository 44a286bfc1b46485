"""The releases of datasets-server: the processing graph of each, and the rules in which they differ.

A release is a data file, ``include/planning/releases/NAME.json``. What depends on the release is a field of
that file; the code knows no release by its name, but for the default one.
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

RELEASES_FOLDER = Path(__file__).parent / "releases"
DEFAULT_RELEASE = "2024-03"
#: More failed runs than an entry can have.
NO_MAXIMUM = 2**63

_FLAGS = frozenset(
    {
        "rebuilds_incoherent_caches",
        "queue_knows_blocked_datasets",
        "reads_enterprise_from_plan",
        "null_viewer_is_off",
        "null_version_is_obsolete",
    }
)
_DATABASES = frozenset({"cache_database", "queue_database"})
_RELEASE_FIELDS = (
    _FLAGS
    | _DATABASES
    | {
        "release",
        "schedules",
        "steps",
        "max_failed_runs_by_error_code",
        "unsupported_tags",
        "topological_order",
    }
)
_STEP_FIELDS = frozenset({"input_type", "triggered_by", "job_runner_version", "difficulty"})
_OPTIONAL_STEP_FIELDS = frozenset({"bonus_difficulty_if_dataset_is_big"})


class Level(IntEnum):
    """What a step makes artifacts for: each dataset, each config or each split. The widest comes first."""

    DATASET = 0
    CONFIG = 1
    SPLIT = 2


_LEVELS = {level.name.lower(): level for level in Level}


@dataclass(frozen=True, slots=True)
class Step:
    """A processing step, which is also a type of job and a kind of cache entry.

    ``parents`` are the steps that trigger it. ``difficulty`` and ``bonus_difficulty``, which is added for a
    big config, are on the scale from 1 to 100.
    """

    name: str
    input_type: Level
    parents: tuple[Step, ...]
    job_runner_version: int
    difficulty: int
    bonus_difficulty: int


@dataclass(frozen=True, slots=True)
class Release:
    """The processing graph of a release of datasets-server, and the rules in which releases differ.

    :param cache_database: the name of the cache database, unless a Connection names another one.
    :param queue_database: the same for the queue.
    :param schedules: by action, where they are not the usual ones: a cron expression in UTC; None for an
        action that only runs by hand.
    :param steps: in topological order: each step comes after its parents.
    :param max_failed_runs: the error codes to retry, each with its maximum: an entry that has failed this
        often is not retried.
    :param unsupported_tags: a public dataset with one of these tags on the Hub is unsupported.
    :param rebuilds_incoherent_caches: whether a dataset that has cache entries of configs or splits which it
        does not list is removed, and planned from nothing.
    :param queue_knows_blocked_datasets: whether the queue lists rate-limited datasets in ``datasetBlockages``
        and counts their jobs separately.
    :param reads_enterprise_from_plan: whether an author's ``plan`` on the Hub tells that it is Enterprise;
        otherwise its ``isEnterprise`` does.
    :param null_viewer_is_off: whether ``viewer: null`` in the card of a dataset turns off its viewer, as
        other empty values do.
    :param null_version_is_obsolete: whether an entry without a version of its job runner is obsolete.
    """

    name: str
    cache_database: str
    queue_database: str
    schedules: Mapping[str, str | None]
    steps: tuple[Step, ...]
    max_failed_runs: Mapping[str, int]
    unsupported_tags: frozenset[str]
    rebuilds_incoherent_caches: bool
    queue_knows_blocked_datasets: bool
    reads_enterprise_from_plan: bool
    null_viewer_is_off: bool
    null_version_is_obsolete: bool

    def retrying(self, codes: Collection[str], *, past_the_maximum: bool) -> Release:
        """Return this release with ``codes`` as the error codes to retry; if there are none, with its own.

        A code that is not one of its own gets the highest of its maxima. With ``past_the_maximum``, an error
        is retried however often it has failed.
        """
        codes = codes or self.max_failed_runs
        if past_the_maximum:
            return replace(self, max_failed_runs=dict.fromkeys(codes, NO_MAXIMUM))
        highest = max(self.max_failed_runs.values())
        return replace(
            self, max_failed_runs={code: self.max_failed_runs.get(code, highest) for code in codes}
        )

    def step(self, name: str) -> Step:
        """Return the step with this name."""
        return next(step for step in self.steps if step.name == name)


def release_names() -> list[str]:
    """Return the names of all releases, oldest first."""
    return sorted(path.stem for path in RELEASES_FOLDER.glob("*.json"))


@cache
def load_release(name: str = DEFAULT_RELEASE) -> Release:
    """Load a release from its file.

    :raises ConfigurationError: if there is no such release, or its file is not valid.
    """
    if name not in release_names():
        raise ConfigurationError(f"Unknown release {name!r}: choose one of {', '.join(release_names())}.")
    path = RELEASES_FOLDER / f"{name}.json"
    try:
        release = parse_release(json.loads(path.read_text(encoding="utf-8")))
        _check_name(release, name)
    except (ConfigurationError, ValueError) as error:
        raise ConfigurationError(f"The release file {path.name} is not valid: {error}") from error
    return release


def parse_release(document: object) -> Release:
    """Check the document that a release file holds, and return the release.

    :raises ConfigurationError: if it is not valid; the message names the field.
    """
    fields = _object("the release", document)
    _check_fields("the release", fields, required=_RELEASE_FIELDS)
    for flag in sorted(_FLAGS):
        _check_boolean(flag, fields[flag])
    for database in sorted(_DATABASES):
        _check_database(database, fields[database])
    for action, cron in _object("schedules", fields["schedules"]).items():
        _check_schedule(f"schedules[{action!r}]", cron)
    for code, maximum in _object(
        "max_failed_runs_by_error_code", fields["max_failed_runs_by_error_code"]
    ).items():
        _check_integer(f"max_failed_runs_by_error_code[{code!r}]", maximum, lowest=1)
    return Release(
        name=fields["release"],
        schedules=dict(fields["schedules"]),
        steps=_steps(fields["steps"], fields["topological_order"]),
        max_failed_runs=dict(fields["max_failed_runs_by_error_code"]),
        unsupported_tags=frozenset(_strings("unsupported_tags", fields["unsupported_tags"])),
        **{field: fields[field] for field in _FLAGS | _DATABASES},
    )


def _check_name(release: Release, file_name: str) -> None:
    if release.name != file_name:
        raise ConfigurationError(f"release is {release.name!r}: it must be {file_name!r}, the file's name.")


def _steps(document: object, topological_order: object) -> tuple[Step, ...]:
    fields_by_name = _object("steps", document)
    order = _strings("topological_order", topological_order)
    for name, fields in fields_by_name.items():
        _check_step(name, fields)
    _check_parents(fields_by_name)
    _check_order(fields_by_name, order)
    steps: dict[str, Step] = {}
    for name in order:
        fields = fields_by_name[name]
        steps[name] = Step(
            name=name,
            input_type=_LEVELS[fields["input_type"]],
            parents=tuple(steps[parent] for parent in fields["triggered_by"]),
            job_runner_version=fields["job_runner_version"],
            difficulty=fields["difficulty"],
            bonus_difficulty=fields.get("bonus_difficulty_if_dataset_is_big", 0),
        )
    return tuple(steps.values())


def _check_step(name: str, step: object) -> None:
    fields = _object(f"step {name!r}", step)
    _check_fields(f"step {name!r}", fields, required=_STEP_FIELDS, optional=_OPTIONAL_STEP_FIELDS)
    if fields["input_type"] not in tuple(_LEVELS):
        raise ConfigurationError(
            f"input_type of step {name!r} is {fields['input_type']!r}:"
            f" it must be one of {', '.join(_LEVELS)}."
        )
    _strings(f"triggered_by of step {name!r}", fields["triggered_by"])
    _check_integer(f"job_runner_version of step {name!r}", fields["job_runner_version"], lowest=1)
    _check_integer(f"difficulty of step {name!r}", fields["difficulty"], lowest=1)
    for field in _OPTIONAL_STEP_FIELDS & fields.keys():
        _check_integer(f"{field} of step {name!r}", fields[field], lowest=0)


def _check_parents(steps: Mapping[str, Mapping[str, Any]]) -> None:
    for name, fields in steps.items():
        for parent in fields["triggered_by"]:
            if parent not in steps:
                raise ConfigurationError(f"step {name!r} is triggered by the unknown step {parent!r}.")
    try:
        TopologicalSorter({name: fields["triggered_by"] for name, fields in steps.items()}).prepare()
    except CycleError as error:
        raise ConfigurationError(f"the steps form a cycle: {' -> '.join(error.args[1])}.") from error


def _check_order(steps: Mapping[str, Mapping[str, Any]], order: Sequence[str]) -> None:
    if sorted(order) != sorted(steps):
        raise ConfigurationError("topological_order must name each step once.")
    if not order or steps[order[0]]["input_type"] != "dataset":
        raise ConfigurationError("the first step of topological_order must have the input_type dataset.")
    position = {name: index for index, name in enumerate(order)}
    for name, fields in steps.items():
        for parent in fields["triggered_by"]:
            if position[parent] > position[name]:
                raise ConfigurationError(f"topological_order has {name!r} before its parent {parent!r}.")


def _check_fields(
    what: str, fields: Mapping[str, Any], *, required: frozenset[str], optional: frozenset[str] = frozenset()
) -> None:
    if missing := required - fields.keys():
        raise ConfigurationError(f"{what} lacks {', '.join(sorted(missing))}.")
    if unknown := fields.keys() - required - optional:
        raise ConfigurationError(f"{what} has an unknown field: {', '.join(sorted(unknown))}.")


def _check_boolean(what: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{what} is {value!r}: it must be true or false.")


def _check_database(what: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{what} is {value!r}: it must be the name of a database.")


def _check_schedule(what: str, value: object) -> None:
    if not isinstance(value, str | None):
        raise ConfigurationError(f"{what} is {value!r}: it must be a cron expression, or null.")


def _check_integer(what: str, value: object, *, lowest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise ConfigurationError(f"{what} is {value!r}: it must be an integer, {lowest} or more.")


def _object(what: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{what} is {value!r}: it must be an object.")
    return value


def _strings(what: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigurationError(f"{what} is {value!r}: it must be a list of strings.")
    return value
