"""The action ``restore-datasets``: put the cache entries of removed datasets back, from their archives.

It does not put jobs back: they are of the revision of then, and of artifacts that the restored entries may
make unnecessary. A backfill of the datasets creates the jobs that are needed now.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bson.raw_bson import RawBSONDocument

from include.databases.cache_store import CacheStore, artifact
from include.databases.mongo import DOCUMENTS_PER_TRANSACTION
from include.databases.restores import Restores
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.databases.selection import Selection, has_wildcard
from include.errors import DatasetError
from include.storage.asset_storage import dataset_folder
from include.storage.removed_datasets import Archive, Record, RemovedDatasets
from include.summaries import Summary, add_to_sample

#: A transaction inserts entries of about so many bytes at most, or one that is larger.
BYTES_PER_TRANSACTION = 16 * 2**20

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RestoreSummary(Summary):
    """What a restore did, or in a dry run would do.

    ``present_entries`` are those that exist, and stay. ``entries_with_files`` name files of the assets, which
    are gone; they are among the others, unless they are left out. ``jobs_left_out`` are in the archives, and
    stay there.
    """

    restored: int = 0
    failed: int = 0
    archives: int = 0
    restored_entries: int = 0
    present_entries: int = 0
    entries_with_files: int = 0
    jobs_left_out: int = 0
    restored_sample: list[str] = field(default_factory=list)
    error_sample: list[str] = field(default_factory=list)

    def count_failure(self, name: str, error: DatasetError) -> None:
        """Count a dataset that could not be restored."""
        self.failed += 1
        add_to_sample(self.error_sample, name, error)


@dataclass(frozen=True, slots=True)
class Restorer:
    """Puts the entries of removed datasets back.

    It may be killed at any point: restoring the same datasets again restores what is left of them.

    :param run: what people call the run.
    :param restores: where each restored dataset is written down. A dry run needs none.
    :param without_files: leave out the entries that name files of the assets, which are gone: a backfill then
        computes these entries again, with their files.
    :param dry_run: read and compare everything, but write nothing.
    :param right: checked in each transaction.
    """

    archives: RemovedDatasets
    cache: CacheStore
    run: str
    restores: Restores | None
    without_files: bool = False
    dry_run: bool = False
    right: RightToWrite = UNRESTRICTED

    def restore(
        self, names: Sequence[str], since: datetime | None = None, until: datetime | None = None
    ) -> RestoreSummary:
        """Restore the last removal of each dataset.

        :param names: names or shell wildcards. A name without an archive counts as failed.
        :param since: only removals from this time on.
        :param until: only removals before this time.
        :raises ServiceError: if the storage fails, or the right is lost.
        :raises ConfigurationError: if the storage does not exist or denies access.
        """
        summary = RestoreSummary()
        removals = self.archives.removals(Selection(tuple(names)).has_name, since, until)
        for name in names:
            if name not in removals and not has_wildcard(name):
                summary.count_failure(name, DatasetError("there is no archive of a removal in this time"))
        for dataset, archives in removals.items():
            try:
                self._restore(dataset, archives, summary)
            except DatasetError as error:
                summary.count_failure(dataset, error)
        if not self.dry_run:
            self.cache.pay_owed_counts()
        return summary

    def _restore(self, dataset: str, archives: Sequence[Archive], summary: RestoreSummary) -> None:
        for archive in archives:
            self._read_to_its_end(archive)
        restored = present = 0
        seen: set[bytes] = set()
        for archive in archives:
            summary.archives += 1
            with self.archives.opened(archive) as (_, records):
                newest = self._newest_entries(records, seen, summary)
                for entries in _parts(self._wanted(dataset, newest, summary)):
                    inserted = self.cache.insert_missing(entries, self.right, dry_run=self.dry_run)
                    restored += inserted
                    present += len(entries) - inserted
        if self.restores and not self.dry_run and restored + present:
            self.restores.note(dataset, self.run, self.right)
        summary.restored += 1
        summary.restored_entries += restored
        summary.present_entries += present
        what = f"{restored:,} entries, and {present:,} are there already; {self._removal(archives[0])}"
        add_to_sample(summary.restored_sample, dataset, what)
        logger.info("%s: %s", dataset, what)

    def _read_to_its_end(self, archive: Archive) -> None:
        """Make sure that an archive is not damaged, before anything of it is restored."""
        with self.archives.opened(archive) as (_, records):
            for _ in records:
                self.right.progress()

    def _newest_entries(
        self, records: Iterable[Record], seen: set[bytes], summary: RestoreSummary
    ) -> Iterator[RawBSONDocument]:
        """Yield the entries, unless a newer archive of the same removal has them."""
        for kind, document in records:
            self.right.progress()
            if kind == "job":
                summary.jobs_left_out += 1
            elif (key := artifact(document)) not in seen:
                seen.add(key)
                yield document

    def _wanted(
        self, dataset: str, entries: Iterable[RawBSONDocument], summary: RestoreSummary
    ) -> Iterator[RawBSONDocument]:
        """Yield the entries, without those that name files if these are to be left out."""
        files = f"/{dataset_folder(dataset)}/".encode()
        for entry in entries:
            names_files = files in entry.raw
            summary.entries_with_files += names_files
            if not (names_files and self.without_files):
                yield entry

    def _removal(self, archive: Archive) -> str:
        with self.archives.opened(archive) as (header, _):
            approved = f", approved by {header.approved_by}" if header.approved_by else ""
            at = f"{header.archived_at:%Y-%m-%d %H:%M:%S}"
            return f"removed at {at} by {header.run}{approved}: {header.reason}"


def _parts(entries: Iterable[RawBSONDocument]) -> Iterator[list[RawBSONDocument]]:
    """Cut entries into lists for a transaction each."""
    part: list[RawBSONDocument] = []
    size = 0
    for entry in entries:
        if part and (len(part) == DOCUMENTS_PER_TRANSACTION or size + len(entry.raw) > BYTES_PER_TRANSACTION):
            yield part
            part, size = [], 0
        part.append(entry)
        size += len(entry.raw)
    if part:
        yield part
