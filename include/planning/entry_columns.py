"""The metadata of many cache entries as columns, read without making an object for each entry.

This is the only module that knows pymongoarrow and pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pymongoarrow.api import Schema
from pymongoarrow.context import PyMongoArrowContext

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

#: Stands for a number or a time that is null or absent. It is less than any other.
NO_NUMBER = int(np.iinfo(np.int64).min)
#: The code of a string that is null or absent.
NO_TEXT = -1

_TEXTS = ("dataset", "kind", "config", "split", "error_code", "dataset_git_revision")
_NUMBERS = ("http_status", "job_runner_version", "failed_runs")
_SCHEMA = Schema(
    dict.fromkeys(_TEXTS, pa.string())
    | dict.fromkeys(_NUMBERS, pa.int64())
    | {"updated_at": pa.timestamp("ms")}
)


class UnreadableColumnsError(Exception):
    """A field has a type that its column cannot hold."""


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of strings: the distinct ``values``, and for each entry the index of its value, or NO_TEXT."""

    values: list[str]
    codes: Integers

    def codes_of(self, values: Iterable[str]) -> Integers:
        """Return the codes of some values; the code of a value that no entry has is the number of values."""
        codes = {value: code for code, value in enumerate(self.values)}
        return np.array([codes.get(value, len(codes)) for value in values], np.int64)

    def mapped(self, numbers: Mapping[str, int], *, other: int, null: int) -> Integers:
        """Return, for each entry, the number of its value; ``other`` if it has none, ``null`` for NO_TEXT."""
        by_code = [*(numbers.get(value, other) for value in self.values), null]  # NO_TEXT finds the last one
        return np.array(by_code, np.int64)[self.codes]


@dataclass(frozen=True, slots=True)
class EntryColumns:
    """Cache entries without their contents. All columns have the same length: one item for each entry.

    Null, absent and NaN are the same: NO_TEXT or NO_NUMBER. Numbers are cut to integers, so that one without
    an end may become NO_NUMBER too; ``has_no_version`` tells them apart. ``updated_at`` is in milliseconds
    since 1970, in UTC.
    """

    dataset: TextColumn
    kind: TextColumn
    config: TextColumn
    split: TextColumn
    http_status: Integers
    error_code: TextColumn
    revision: TextColumn
    job_runner_version: Integers
    has_no_version: Booleans
    failed_runs: Integers
    updated_at: Integers

    @classmethod
    def of_whole_datasets(cls, replies: Iterable[bytes]) -> Iterator[EntryColumns]:
        """Read entries that are sorted by dataset. All entries of a dataset are in the same piece.

        Two replies are in memory at a time, or the entries of one dataset if it has more.

        :param replies: each a concatenation of BSON documents.
        :raises UnreadableColumnsError: if a field has a type that its column cannot hold.
        """
        try:
            for table in _cut_between_datasets(map(_table, replies)):
                yield cls(
                    dataset=_text(table["dataset"]),
                    kind=_text(table["kind"]),
                    config=_text(table["config"]),
                    split=_text(table["split"]),
                    http_status=_numbers(table["http_status"]),
                    error_code=_text(table["error_code"]),
                    revision=_text(table["dataset_git_revision"]),
                    job_runner_version=_numbers(table["job_runner_version"]),
                    has_no_version=_nulls(table["job_runner_version"]),
                    failed_runs=_numbers(table["failed_runs"]),
                    updated_at=_numbers(table["updated_at"].cast(pa.int64())),
                )
        except (TypeError, ValueError) as error:  # pa.ArrowInvalid and UnicodeDecodeError are ValueErrors
            raise UnreadableColumnsError(str(error)) from error


def _cut_between_datasets(tables: Iterable[Any]) -> Iterator[Any]:
    """Move the last dataset of each table to the next table, which may have more of its rows."""
    table = None
    for following in tables:
        if table is not None:
            names = table["dataset"]
            start_of_last = pc.index(names, names[-1]).as_py()
            if start_of_last:
                yield table.slice(0, start_of_last)
            following = pa.concat_tables([table.slice(start_of_last), following])
        table = following
    if table is not None:
        yield table


def _table(documents: bytes) -> Any:  # noqa: ANN401 (pyarrow has no types)
    context = PyMongoArrowContext(_SCHEMA)
    context.process_bson_stream(documents)
    return context.finish()


def _text(column: Any) -> TextColumn:  # noqa: ANN401
    encoded = column.combine_chunks().dictionary_encode()
    return TextColumn(
        encoded.dictionary.to_pylist(),
        encoded.indices.fill_null(NO_TEXT).to_numpy(zero_copy_only=False).astype(np.int64),
    )


def _numbers(column: Any) -> Integers:  # noqa: ANN401
    numbers: Integers = column.fill_null(NO_NUMBER).to_numpy()
    return numbers


def _nulls(column: Any) -> Booleans:  # noqa: ANN401
    nulls: Booleans = column.is_null().to_numpy()
    return nulls
