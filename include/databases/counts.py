"""Counts by group, and the collections in which datasets-server keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pymongo import DeleteOne, UpdateOne
from pymongo.collection import Collection

from include.databases.malformed import ANY_TEXT, is_number, is_text, is_writable

Document = dict[str, Any]
Group = tuple[str | int | None, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of things in each group, and the groups that had a count but no longer exist.

    ``name`` says what is counted, such as ``cache.entries``; ``fields`` name the parts of a group.
    """

    name: str
    fields: tuple[str, ...]
    by_group: Mapping[Group, int]
    gone: tuple[Group, ...] = ()

    @property
    def total(self) -> int:
        """The number of things in all groups."""
        return sum(self.by_group.values())

    def labelled(self) -> Iterator[tuple[Document, int]]:
        """Yield each group as a dictionary of its parts, with its count: 0 if the group is gone."""
        for group, count in chain(self.by_group.items(), dict.fromkeys(self.gone, 0).items()):
            yield dict(zip(self.fields, group, strict=True)), count


class CountCollection:
    """A collection of datasets-server with one count for each group.

    :param name: what is counted.
    :param fields: the fields that make a group; a unique index is on them.
    :param count_field: the field of the count.
    """

    def __init__(
        self, collection: Collection[Document], name: str, fields: tuple[str, ...], count_field: str
    ) -> None:
        self._collection = collection.with_options(ANY_TEXT)
        self._name = name
        self._fields = fields
        self._count_field = count_field

    def stored(self) -> list[Document]:
        """Read the present counts, before the counting begins. Malformed ones are left alone."""
        found = self._collection.find({}, [*self._fields, self._count_field])
        return [document for document in found if self._is_well_formed(document)]

    def _is_well_formed(self, document: Document) -> bool:
        parts = self._group(document)
        return is_writable(document["_id"]) and all(
            part is None or is_text(part) or is_number(part) for part in parts
        )

    def replace(self, stored: Sequence[Document], by_group: Mapping[Group, int], *, dry_run: bool) -> Counts:
        """Write each count, then delete those whose group is gone: no reader ever misses one that is there.

        A count that another program has moved since ``stored`` was read is not gone after all, and stays.
        """
        gone = [document for document in stored if self._group(document) not in by_group]
        if not dry_run:
            self._write([self._upsert(group, count) for group, count in by_group.items()])
            self._write([self._delete(document) for document in gone])
        return Counts(self._name, self._fields, by_group, tuple(map(self._group, gone)))

    def _write(self, writes: Sequence[UpdateOne | DeleteOne]) -> None:
        if writes:
            self._collection.bulk_write(writes, ordered=False)

    def _group(self, document: Document) -> Group:
        return tuple(document.get(field) for field in self._fields)

    def _upsert(self, group: Group, count: int) -> UpdateOne:
        key = dict(zip(self._fields, group, strict=True))
        # The key is set too: it matches a document where a field that is null is absent.
        return UpdateOne(key, {"$set": key | {self._count_field: count}}, upsert=True)

    def _delete(self, document: Document) -> DeleteOne:
        count = document.get(self._count_field)
        unmoved = {self._count_field: count} if count is None or is_number(count) else {}
        return DeleteOne({"_id": document["_id"]} | unmoved)
