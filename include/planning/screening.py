"""The screening: which of many datasets are up to date, proven for all of them at once.

Most datasets of a cache have nothing to do, and a plan made for each only finds that it is empty. Here, the
entries of hundreds of datasets are compared as arrays.

The rules for an entry that is up to date stand twice, on purpose: here as arrays, and for one dataset in
``include/planning/plan.py``, which decides. Change both together. A dataset that the screening does not prove
to be up to date is planned; ``tests/unit/planning/test_screening.py`` compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from include.planning.dataset_state import CachedDataset
from include.planning.entry_columns import NO_NUMBER, NO_TEXT, Booleans, EntryColumns, Integers
from include.planning.processing_graph import Level, Release
from include.planning.rules import FIRST_ERROR_STATUS, HTTP_STATUSES

#: The code of a revision that no entry has.
_NO_REVISION = -2
#: The row of a kind of entry that is not a step of the release.
_NO_ROW = -1
_MAX_INTEGER = int(np.iinfo(np.int64).max)


def proven_up_to_date(
    release: Release,
    pieces: Iterable[EntryColumns],
    datasets: Mapping[str, CachedDataset],
    revisions: Mapping[str, str],
) -> dict[str, int]:
    """Return the datasets whose plan is certainly empty, provided that they have no pending jobs.

    Each comes with the number of its entries.

    A dataset is proven if it has one entry for each expected artifact, all up to date, and no other entry.
    It takes time in proportion to the entries.

    :param pieces: the entries; those of a dataset are all in one piece.
    :param datasets: by name, with their lists of configs and splits; their ``entries`` are not used.
    :param revisions: the revision of each on the Hub.
    """
    proven: dict[str, int] = {}
    for columns in pieces:
        in_piece = [datasets[name] for name in columns.dataset.values if name in datasets]
        if in_piece:
            proven |= _proven_in(columns, release, in_piece, revisions)
    return proven


def _proven_in(
    columns: EntryColumns, release: Release, datasets: Sequence[CachedDataset], revisions: Mapping[str, str]
) -> dict[str, int]:
    places = _expected_places(columns, datasets)
    times = _times(release, columns, places, _good_entries(release, columns, revisions))
    expected = np.zeros(len(datasets), np.int64)  # artifacts
    outdated = np.zeros(len(datasets), np.bool_)
    for step in release.steps:
        level, own = step.input_type, times[step.name]
        is_outdated = own == NO_NUMBER
        for parent in step.parents:
            is_outdated |= own < places.as_seen_from(level, parent.input_type, times[parent.name])
        owners = places.owners[level, Level.DATASET]
        outdated[owners[is_outdated]] = True
        expected += np.bincount(owners, minlength=len(datasets))
    proven = ~outdated & (_entry_counts(columns, datasets) == expected)
    return {datasets[index].dataset: int(expected[index]) for index in np.flatnonzero(proven).tolist()}


@dataclass(frozen=True, slots=True)
class _Places:
    """The places of the expected artifacts: those of all datasets, then of all configs, then of all splits.

    :param keys: one number for each place, as :func:`_keys` makes them.
    :param levels: for each level, where its places begin and end.
    :param owners: for two levels, the second one as wide or wider: for each place of the first, the index of
        the place of the second that it lies in. An index counts from the beginning of its level.
    """

    keys: Integers
    levels: Mapping[Level, slice]
    owners: Mapping[tuple[Level, Level], Integers]

    def as_seen_from(self, level: Level, parent_level: Level, times: Integers) -> Integers:
        """Return, for each place of ``level``, the time of a parent: if that is narrower, the newest one.

        :param times: for each place of ``parent_level``.
        """
        if parent_level <= level:
            return times[self.owners[level, parent_level]]
        newest = np.full(len(self.owners[level, level]), NO_NUMBER)
        np.maximum.at(newest, self.owners[parent_level, level], times)
        return newest

    def with_keys(self, keys: Integers) -> tuple[Integers, Booleans]:
        """Return, for each key, the index of the place that has it, and whether there is such a place."""
        order = np.argsort(self.keys)
        found = order[np.minimum(np.searchsorted(self.keys[order], keys), len(order) - 1)]
        return found, self.keys[found] == keys


def _expected_places(columns: EntryColumns, datasets: Sequence[CachedDataset]) -> _Places:
    listed = _Listed.of(datasets)
    dataset = columns.dataset.codes_of(cached.dataset for cached in datasets)
    config = columns.config.codes_of(listed.configs)
    split = columns.split.codes_of(listed.splits)
    dataset_of_config, config_of_split = listed.dataset_of_config, listed.config_of_split
    dataset_of_split = dataset_of_config[config_of_split]
    dataset_keys = _keys(columns, dataset, np.int64(NO_TEXT), np.int64(NO_TEXT))
    config_keys = _keys(columns, dataset[dataset_of_config], config, np.int64(NO_TEXT))
    split_keys = _keys(columns, dataset[dataset_of_split], config[config_of_split], split)
    ends = np.cumsum([0, len(dataset), len(config), len(split)]).tolist()
    return _Places(
        keys=np.concatenate([dataset_keys, config_keys, split_keys]),
        levels={level: slice(ends[level], ends[level + 1]) for level in Level},
        owners={
            (Level.DATASET, Level.DATASET): np.arange(len(dataset)),
            (Level.CONFIG, Level.DATASET): dataset_of_config,
            (Level.CONFIG, Level.CONFIG): np.arange(len(config)),
            (Level.SPLIT, Level.DATASET): dataset_of_split,
            (Level.SPLIT, Level.CONFIG): config_of_split,
            (Level.SPLIT, Level.SPLIT): np.arange(len(split)),
        },
    )


@dataclass(frozen=True, slots=True)
class _Listed:
    """The configs that some datasets list, one after the other, and the splits that these configs list.

    :param dataset_of_config: for each config, the index of its dataset.
    :param config_of_split: for each split, the index of its config.
    """

    configs: Sequence[str]
    splits: Sequence[str]
    dataset_of_config: Integers
    config_of_split: Integers

    @classmethod
    def of(cls, datasets: Sequence[CachedDataset]) -> _Listed:
        """Return what ``datasets`` list, without repetitions."""
        configs: list[str] = []
        splits: list[str] = []
        dataset_of_config: list[int] = []
        config_of_split: list[int] = []
        for index, cached in enumerate(datasets):
            for config in dict.fromkeys(cached.configs):
                splits_of_config = dict.fromkeys(cached.splits.get(config, ()))
                splits += splits_of_config
                config_of_split += [len(configs)] * len(splits_of_config)
                configs.append(config)
                dataset_of_config.append(index)
        return cls(
            configs, splits, np.array(dataset_of_config, np.int64), np.array(config_of_split, np.int64)
        )


def _keys(
    columns: EntryColumns, dataset: Integers, config: Integers | np.int64, split: Integers | np.int64
) -> Integers:
    """Return one number for the codes of a dataset, a config and a split: the key of a place."""
    # Besides the values of the entries, there is null, and a value that no entry has.
    configs, splits = len(columns.config.values) + 2, len(columns.split.values) + 2
    return (dataset * configs + config + 1) * splits + split + 1


def _times(release: Release, columns: EntryColumns, places: _Places, good: Booleans) -> dict[str, Integers]:
    """Return, for each step, the times of its good entries at the places of its level (NO_NUMBER: none)."""
    rows = {step.name: row for row, step in enumerate(release.steps)}
    row = columns.kind.mapped(rows, other=_NO_ROW, null=_NO_ROW)
    place, has_place = places.with_keys(
        _keys(columns, columns.dataset.codes, columns.config.codes, columns.split.codes)
    )
    counts = good & has_place & (row != _NO_ROW)
    times = np.full((len(release.steps), len(places.keys)), NO_NUMBER)
    times[row[counts], place[counts]] = columns.updated_at[counts]
    return {step.name: times[rows[step.name], places.levels[step.input_type]] for step in release.steps}


def _good_entries(release: Release, columns: EntryColumns, revisions: Mapping[str, str]) -> Booleans:
    """Return which entries are up to date if their parents are not newer.

    An entry with an impossible number is not among them: it is left to the plan.
    """
    versions = {step.name: step.job_runner_version for step in release.steps}
    version = columns.kind.mapped(versions, other=_MAX_INTEGER, null=_MAX_INTEGER)
    maxima = {code: min(maximum, _MAX_INTEGER) for code, maximum in release.max_failed_runs.items()}
    max_failed_runs = columns.error_code.mapped(maxima, other=0, null=maxima.get("", 0))
    codes = {revision: code for code, revision in enumerate(columns.revision.values)}
    revision_codes = {name: codes.get(revision, _NO_REVISION) for name, revision in revisions.items()}
    revision = columns.dataset.mapped(revision_codes, other=_NO_REVISION, null=_NO_REVISION)

    status, failed_runs = columns.http_status, columns.failed_runs
    has_valid_status = (status >= HTTP_STATUSES.start) & (status < HTTP_STATUSES.stop)
    has_valid_failed_runs = (failed_runs >= 0) & (failed_runs < _MAX_INTEGER)  # infinity is the maximum
    is_not_retried = (status < FIRST_ERROR_STATUS) | (failed_runs >= max_failed_runs)
    is_obsolete = columns.job_runner_version < version
    if not release.null_version_is_obsolete:
        is_obsolete &= ~columns.has_no_version
    is_current = ~is_obsolete & (columns.revision.codes == revision)
    has_time = columns.updated_at != NO_NUMBER
    good: Booleans = has_valid_status & has_valid_failed_runs & is_not_retried & is_current & has_time
    return good


def _entry_counts(columns: EntryColumns, datasets: Sequence[CachedDataset]) -> Integers:
    codes = columns.dataset.codes_of(cached.dataset for cached in datasets)
    return np.bincount(columns.dataset.codes, minlength=len(columns.dataset.values) + 1)[codes]
