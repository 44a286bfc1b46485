"""Where the files that dataset pages show are stored.

A storage holds the files of a dataset at ``<root>/<dataset, each part URL-quoted>/--/<revision>/...``.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import quote

from include.errors import DatasetError
from include.rights import Rights

_UNSAFE_PARTS = frozenset({"", ".", "..", "--"})


def dataset_folder(dataset: str) -> str:
    """Return the folder of a dataset's files, relative to the root of a storage.

    It ends in ``--``, because the folder ``squad`` also holds the files of datasets such as ``squad/other``.

    :raises DatasetError: if the name could lead out of the storage, or to the files of another dataset.
    """
    parts = dataset.split("/")
    if _UNSAFE_PARTS.intersection(parts) or "\0" in dataset:
        raise DatasetError(f"the name {dataset!r} is not safe as a folder of a storage")
    return "/".join([*(quote(part, safe="") for part in parts), "--"])


class AssetStorage(Protocol):
    """A storage of the files of datasets."""

    def remove(self, dataset: str) -> bool:
        """Remove the files of a dataset, and return whether there were any.

        :raises DatasetError: if the name is not safe, or some files cannot be removed.
        :raises ServiceError: if the storage cannot be reached.
        :raises ConfigurationError: if the storage denies access.
        """

    def rights(self) -> Rights:
        """Try to list files, and to write or remove one that nobody uses.

        :raises ServiceError: if the storage cannot be reached.
        :raises ConfigurationError: if the folder or bucket does not exist, or refuses the credentials.
        """
