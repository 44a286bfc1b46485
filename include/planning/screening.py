"""Screening: which of many datasets are up to date, proven for all of them at once.

Most datasets of a cache have nothing to do, and a plan made for each only finds that it is empty. Here, the
entries of hundreds of datasets are compared as arrays. The rules are those of include/planning/plan.py, which
remains the judge: a dataset that is not proven to be up to date is planned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from include.planning.dataset_state import CachedDataset
from include.planning.entry_columns import NO_NUMBER, NO_TEXT, EntryColumns, Integers
from include.planning.processing_graph import Level, Release

Booleans = NDArray[np.bool_]

#: The code of a revision that no entry has.
_NO_REVISION = -2
_MOST = int(np.iinfo(np.int64).max)


def proven_up_to_date(
    release: Release,
    pieces: Iterable[EntryColumns],
    datasets: Mapping[str, CachedDataset],
    revisions: Mapping[str, str],
) -> set[str]:
    """Find the datasets whose plan is empty for certain, if no jobs of theirs are pending.

    A dataset is proven if it has one entry for each expected artifact, all up to date, and no other entry.
    The time that it takes grows in proportion to the entries.

    :param pieces: the entries; those of a dataset are all in one piece.
    :param datasets: by name, with their lists of configs and splits; their ``entries`` are not used.
    :param revisions: the revision of each on the Hub.
    """
    proven: set[str] = set()
    for columns in pieces:
        in_piece = [datasets[name] for name in columns.dataset.values if name in datasets]
        proven |= _proven_in(columns, release, in_piece, revisions)
    return proven


def _proven_in(
    columns: EntryColumns, release: Release, datasets: Sequence[CachedDataset], revisions: Mapping[str, str]
) -> set[str]:
    if not datasets:
        return set()
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
    return {cached.dataset for cached, is_proven in zip(datasets, proven.tolist(), strict=True) if is_proven}


@dataclass(frozen=True, slots=True)
class _Places:
    """The places of the expected artifacts: those of all datasets, then of all configs, then of all splits.

    :param keys: tell the place of an entry, as :func:`_keys` does.
    :param levels: for each level, where its places begin and end.
    :param owners: for two levels, the second as wide or wider: for each place of the first, the one of the
        second that it lies in. Both are counted from where their level begins.
    """

    keys: Integers
    levels: Mapping[Level, slice]
    owners: Mapping[tuple[Level, Level], Integers]

    def as_seen_from(self, level: Level, parent_level: Level, times: Integers) -> Integers:
        """Give, for each place of ``level``, the time of a parent: of a narrower one, the newest."""
        if parent_level <= level:
            return times[self.owners[level, parent_level]]
        newest = np.full(len(self.owners[level, level]), NO_NUMBER)
        np.maximum.at(newest, self.owners[parent_level, level], times)
        return newest


def _expected_places(columns: EntryColumns, datasets: Sequence[CachedDataset]) -> _Places:
    config_owners: list[int] = []
    split_owners: list[int] = []
    configs: list[str] = []
    splits: list[str] = []
    for index, cached in enumerate(datasets):
        for name in dict.fromkeys(cached.configs):
            listed = dict.fromkeys(cached.splits.get(name, ()))
            split_owners += [len(configs)] * len(listed)
            splits += listed
            config_owners.append(index)
            configs.append(name)
    dataset_of_config = np.array(config_owners, np.int64)
    config_of_split = np.array(split_owners, np.int64)
    dataset_of_split = dataset_of_config[config_of_split]
    dataset = columns.dataset.codes_of(cached.dataset for cached in datasets)
    config = columns.config.codes_of(configs)
    split = columns.split.codes_of(splits)
    no_config = np.full(len(dataset), NO_TEXT)
    no_split = np.full(len(dataset) + len(config), NO_TEXT)
    ends = np.cumsum([0, len(dataset), len(config), len(split)]).tolist()
    return _Places(
        keys=_keys(
            columns,
            np.concatenate([dataset, dataset[dataset_of_config], dataset[dataset_of_split]]),
            np.concatenate([no_config, config, config[config_of_split]]),
            np.concatenate([no_split, split]),
        ),
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


def _keys(columns: EntryColumns, dataset: Integers, config: Integers, split: Integers) -> Integers:
    """Make one number of the codes of a dataset, a config and a split."""
    # Besides the values of the entries, there is null, and what no entry has.
    configs, splits = len(columns.config.values) + 2, len(columns.split.values) + 2
    return (dataset * configs + config + 1) * splits + split + 1


def _times(
    release: Release, columns: EntryColumns, places: _Places, entries: Booleans
) -> dict[str, Integers]:
    """Give the times of some entries, by step: for each place of its level, or NO_NUMBER if there is none."""
    rows = columns.kind.mapped({step.name: row for row, step in enumerate(release.steps)}, other=-1, null=-1)
    keys = _keys(columns, columns.dataset.codes, columns.config.codes, columns.split.codes)
    order = np.argsort(places.keys)
    found = order[np.minimum(np.searchsorted(places.keys[order], keys), len(order) - 1)]
    placed = entries & (rows >= 0) & (places.keys[found] == keys)
    times = np.full((len(release.steps), len(order)), NO_NUMBER)
    times[rows[placed], found[placed]] = columns.updated_at[placed]
    return {
        step.name: own[places.levels[step.input_type]] for step, own in zip(release.steps, times, strict=True)
    }


def _good_entries(release: Release, columns: EntryColumns, revisions: Mapping[str, str]) -> Booleans:
    """Tell which entries are up to date as far as their parents do not matter.

    A number that makes no sense is not taken for good, and so left to the plan.
    """
    versions = columns.kind.mapped(
        {step.name: step.job_runner_version for step in release.steps}, other=_MOST, null=_MOST
    )
    maxima = {code: min(maximum, _MOST) for code, maximum in release.max_failed_runs.items()}
    most_failed_runs = columns.error_code.mapped(maxima, other=0, null=maxima.get("", 0))
    revision_codes = {value: code for code, value in enumerate(columns.revision.values)}
    wanted_revisions = columns.dataset.mapped(
        {name: revision_codes.get(revision, _NO_REVISION) for name, revision in revisions.items()},
        other=_NO_REVISION,
        null=_NO_REVISION,
    )
    status, failed_runs = columns.http_status, columns.failed_runs
    has_sane_numbers = (status >= 100) & (status < 600) & (failed_runs >= 0) & (failed_runs < _MOST)
    is_final = (status < 400) | (failed_runs >= most_failed_runs)
    is_current = (columns.job_runner_version >= versions) & (columns.revision.codes == wanted_revisions)
    good: Booleans = has_sane_numbers & is_final & is_current & (columns.updated_at != NO_NUMBER)
    return good


def _entry_counts(columns: EntryColumns, datasets: Sequence[CachedDataset]) -> Integers:
    codes = columns.dataset.codes_of(cached.dataset for cached in datasets)
    return np.bincount(columns.dataset.codes, minlength=len(columns.dataset.values) + 1)[codes]
