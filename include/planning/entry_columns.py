"""The metadata of many cache entries as columns, which are read without an object for each entry.

The only place that knows pymongoarrow and pyarrow.
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

#: A number or a time that is null or absent. It is less than any other.
NO_NUMBER = int(np.iinfo(np.int64).min)
#: The code of a text that is null or absent.
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
    """A column of text: the distinct ``values``, and for each entry the index of its own (NO_TEXT: null)."""

    values: list[str]
    codes: Integers

    def codes_of(self, values: Iterable[str]) -> Integers:
        """Give the codes of some values; that of a value which no entry has is the number of values."""
        codes = {value: code for code, value in enumerate(self.values)}
        return np.array([codes.get(value, len(codes)) for value in values], np.int64)

    def mapped(self, numbers: Mapping[str, int], *, other: int, null: int) -> Integers:
        """Give, for each entry, the number that belongs to its value, or ``other``, or that of ``null``."""
        by_code = [*(numbers.get(value, other) for value in self.values), null]  # NO_TEXT finds the last
        return np.array(by_code, np.int64)[self.codes]


@dataclass(frozen=True, slots=True)
class EntryColumns:
    """Cache entries without their contents; the columns are of the same length, one item for each entry.

    Null, absent and NaN are the same: NO_TEXT or NO_NUMBER. Numbers lose what they have after the point.
    ``updated_at`` is in milliseconds since 1970, UTC.
    """

    dataset: TextColumn
    kind: TextColumn
    config: TextColumn
    split: TextColumn
    http_status: Integers
    error_code: TextColumn
    revision: TextColumn
    job_runner_version: Integers
    failed_runs: Integers
    updated_at: Integers

    @classmethod
    def of_whole_datasets(cls, replies: Iterable[bytes]) -> Iterator[EntryColumns]:
        """Read entries that are sorted by dataset; all entries of a dataset come together.

        What is in memory at a time is two replies, or the entries of one dataset if it has more.

        :param replies: BSON documents that follow one another.
        :raises UnreadableColumnsError: if a field has a type that is none of its column's.
        """
        try:
            for table in _without_cuts(map(_table, replies)):
                yield cls(
                    dataset=_text(table["dataset"]),
                    kind=_text(table["kind"]),
                    config=_text(table["config"]),
                    split=_text(table["split"]),
                    http_status=_numbers(table["http_status"]),
                    error_code=_text(table["error_code"]),
                    revision=_text(table["dataset_git_revision"]),
                    job_runner_version=_numbers(table["job_runner_version"]),
                    failed_runs=_numbers(table["failed_runs"]),
                    updated_at=_numbers(table["updated_at"].cast(pa.int64())),
                )
        except (TypeError, ValueError) as error:  # pa.ArrowInvalid and UnicodeDecodeError are ValueErrors
            raise UnreadableColumnsError(str(error)) from error


def _without_cuts(tables: Iterable[Any]) -> Iterator[Any]:
    """Move the rows of a dataset that goes on in the next table to that one."""
    table = None
    for following in tables:
        if table is not None:
            names = table["dataset"]
            whole = pc.index(names, names[-1]).as_py()
            if whole:
                yield table.slice(0, whole)
            following = pa.concat_tables([table.slice(whole), following])
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
