"""The archives of removed datasets: one for each removal, with the documents that were removed, and why.

An archive is a gzip file of BSON documents, which ``gzip -dc FILE | bsondump`` shows:

- ``{"header": {...}}``: the fields of :class:`Header`;
- ``{"entry": {...}}`` for each cache entry, as it was, then ``{"job": {...}}`` for each waiting job;
- ``{"end": {"entries": number, "jobs": number}}``.

It is at ``<root>/<day>/<folder of the dataset>/<time>-<random>.bson.gz``. Beside it is an empty file with the
ending ``.removed`` once all that it has was removed from the databases. A removal that was cut short, and
finished later, has an archive without this file, and then one with what was left.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import IO, Any, Literal, cast
from urllib.parse import unquote
from uuid import uuid4

from bson import decode_file_iter, encode
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument

from include.errors import DatasetError
from include.storage.archive_storage import ArchiveStorage, Target
from include.storage.asset_storage import dataset_folder

FORMAT = 1
#: Of gzip: a higher one takes much longer and saves little.
COMPRESSION_LEVEL = 6

_TIME = "%Y%m%dT%H%M%S.%fZ"
_PATH = re.compile(r"\d{4}-\d\d-\d\d/(?P<dataset>.+)/--/(?P<time>\d{8}T\d{6}\.\d{6}Z)-[0-9a-f]+\.bson\.gz")
_REMOVED = ".removed"
#: A date that Python cannot hold, and a text that is not UTF-8, are no reason not to read a document.
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(
    document_class=RawBSONDocument,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="surrogateescape",
)
_READ_AT_A_TIME = 2**20

#: A document that was or is to be removed, and what it is.
Kind = Literal["entry", "job"]
Record = tuple[Kind, RawBSONDocument]


@dataclass(frozen=True, slots=True)
class Header:
    """What an archive says about a removal.

    :param dataset: its name.
    :param archived_at: when, in UTC.
    :param release: the release of datasets-server.
    :param run: the run that removes the dataset.
    :param reason: the rule by which it is removed.
    :param hub_answer: what the Hub answered about it, if that is the reason.
    :param approved_by: the person who approved the removals of the run, if one was asked.
    :param databases: the databases of the ``cache`` and the ``queue``.
    """

    dataset: str
    archived_at: datetime
    release: str
    run: str
    reason: str
    hub_answer: str | None
    approved_by: str | None
    databases: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive in the storage.

    ``size`` is in bytes. ``removed`` says that all that it has was removed.
    """

    dataset: str
    archived_at: datetime
    path: str
    size: int
    removed: bool


@dataclass(slots=True)
class RemovedDatasets:
    """Writes, finds, reads and forgets archives.

    :param kept_for: older archives are removed before the first one is written.
    :param max_bytes: the size of all archives together; one that would exceed it is not written.
    """

    storage: ArchiveStorage
    kept_for: timedelta
    max_bytes: int
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _used: int | None = field(default=None, init=False)

    def write(self, header: Header, records: Iterable[Record]) -> str:
        """Store an archive, and return its path. The records are taken one by one, as they come.

        :raises DatasetError: if there is no room for it; then nothing is stored.
        :raises ServiceError: if the storage fails.
        :raises ConfigurationError: if the storage does not exist or denies access.
        """
        used = self._used_bytes()
        at = header.archived_at
        name = f"{at.strftime(_TIME)}-{uuid4().hex[:8]}.bson.gz"
        path = f"{at.date().isoformat()}/{dataset_folder(header.dataset)}/{name}"
        with self.storage.create(path) as target:
            limited = _LimitedTarget(target, self.max_bytes, used)
            with gzip.GzipFile("", "wb", COMPRESSION_LEVEL, limited, mtime=0) as packed:
                _write(packed, header, records)
        self._used = used + limited.written
        return path

    def note_removed(self, path: str) -> None:
        """Note that all that an archive has was removed."""
        with self.storage.create(path + _REMOVED):
            pass

    def _used_bytes(self) -> int:
        if self._used is None:
            self.forget_old()
            self._used = sum(file.size for day in self._days() for file in self.storage.files(day))
        return self._used

    def forget_old(self) -> None:
        """Remove the archives of the days that have ended longer than ``kept_for`` ago."""
        today = self.clock().date()
        for day in self._days():
            if date.fromisoformat(day) + self.kept_for < today:
                self.storage.remove(day)

    def _days(self) -> list[str]:
        return sorted(name for name in self.storage.folders() if _is_date(name))

    def removals(
        self, is_wanted: Callable[[str], bool], since: datetime | None = None, until: datetime | None = None
    ) -> dict[str, list[Archive]]:
        """Find the archives of the last removal of each wanted dataset.

        :param is_wanted: tells by the name of a dataset.
        :param since: only archives from this time on.
        :param until: only archives from before this time.
        :return: by dataset, in the order of their names; the newest archive first. There are several if the
            removal was cut short, or if something was written to the dataset meanwhile.
        """
        found: dict[str, list[Archive]] = defaultdict(list)
        for archive in self._archives(since, until):
            if is_wanted(archive.dataset):
                found[archive.dataset].append(archive)
        return {dataset: _last_removal(found[dataset]) for dataset in sorted(found)}

    def _archives(self, since: datetime | None, until: datetime | None) -> Iterator[Archive]:
        first, last = (time and time.astimezone(UTC).date().isoformat() for time in (since, until))
        for day in self._days():
            if (first and day < first) or (last and day > last):
                continue
            sizes = {file.path: file.size for file in self.storage.files(day)}
            for path, size in sizes.items():
                if parts := _PATH.fullmatch(path):
                    at = datetime.strptime(parts["time"], _TIME).replace(tzinfo=UTC)
                    if (since is None or at >= since) and (until is None or at < until):
                        dataset = unquote(parts["dataset"])
                        yield Archive(dataset, at, path, size, removed=path + _REMOVED in sizes)

    @contextmanager
    def opened(self, archive: Archive) -> Iterator[tuple[Header, Iterator[Record]]]:
        """Read an archive: its header, then its records one by one.

        :raises DatasetError: if it does not exist, or is damaged, which may only be found at its end.
        """
        with self.storage.open(archive.path) as source, _explained_damage(archive):
            packed = gzip.GzipFile(fileobj=io.BufferedReader(_Source(source), _READ_AT_A_TIME))
            documents = decode_file_iter(cast("IO[bytes]", packed), _RAW)
            yield _header(next(documents, None)), _records(documents)


def _is_date(name: str) -> bool:
    try:
        return date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False


def _last_removal(archives: Iterable[Archive]) -> list[Archive]:
    last, *earlier = sorted(archives, key=lambda archive: archive.path, reverse=True)
    found = [last]
    for archive in earlier:
        if archive.removed:
            break
        found.append(archive)
    return found


def _write(packed: gzip.GzipFile, header: Header, records: Iterable[Record]) -> None:
    packed.write(encode({"header": {"format": FORMAT, **asdict(header)}}))
    numbers = {"entry": 0, "job": 0}
    for kind, document in records:
        packed.write(encode({kind: document}))
        numbers[kind] += 1
    packed.write(encode({"end": _end(numbers)}))


def _end(numbers: Mapping[str, int]) -> dict[str, int]:
    return {"entries": numbers["entry"], "jobs": numbers["job"]}


def _header(document: Mapping[str, Any] | None) -> Header:
    fields = dict((document or {}).get("header") or {})
    if fields.pop("format", None) != FORMAT:
        raise DatasetError("its archive is damaged, or of another version of this program")
    fields["databases"] = dict(fields["databases"])
    return Header(**{**fields, "archived_at": fields["archived_at"].replace(tzinfo=UTC)})


def _records(documents: Iterable[RawBSONDocument]) -> Iterator[Record]:
    numbers = {"entry": 0, "job": 0}
    end = None
    for document in documents:
        [(kind, content)] = document.items()
        if kind == "end":
            end = dict(content)
        elif kind in numbers:
            numbers[kind] += 1
            yield cast("Kind", kind), content
    if end != _end(numbers):
        raise DatasetError("its archive is damaged: some of its documents are missing")


@contextmanager
def _explained_damage(archive: Archive) -> Iterator[None]:
    try:
        yield
    except (EOFError, InvalidBSON, gzip.BadGzipFile, zlib.error) as error:
        raise DatasetError(f"its archive {archive.path} is damaged: {error}") from error


@dataclass(slots=True)
class _LimitedTarget:
    """Writes to a target, unless all archives together would become too large."""

    target: Target
    max_bytes: int
    used: int
    written: int = 0

    def write(self, data: bytes) -> int:
        """Write data, as :meth:`Target.write` says."""
        self.written += len(data)
        if self.used + self.written > self.max_bytes:
            raise DatasetError(
                f"its archive would make all archives larger than {self.max_bytes:,} bytes (the others take"
                f" {self.used:,}): raise the Variable datasets_server_archive_max_bytes"
            )
        return self.target.write(data)

    def flush(self) -> None:
        """Do nothing: the storage does it at the end."""


class _Source(io.RawIOBase):
    """A stream of a storage in the form that the standard library takes, which boto3's is not quite."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a memoryview
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
