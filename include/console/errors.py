"""The errors of the cache as the console shows them: from a code to the entries that have it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from include.databases.cache_reader import EntryTotal
from include.databases.error_reader import ErrorFilter, ErrorPage, ErrorReader, Place, Said
from include.planning.artifact_name import ArtifactName
from include.planning.processing_graph import Release

ENTRIES_PER_PAGE = 50
_CAUSES_SHOWN = 5
#: What differs between messages of the same cause.
_PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")


@dataclass(frozen=True, slots=True)
class ErrorCodeView:
    """An error code, and how many entries have it, from the stored counts.

    :param code: None for errors without a code.
    :param steps: how many, by step; the most frequent first.
    :param http_statuses: those that come with it.
    :param max_failed_runs: how often an entry may fail with it until it is no longer retried; None if it is
        not retried at all.
    """

    code: str | None
    entries: int
    steps: Mapping[str, int]
    http_statuses: Sequence[int]
    max_failed_runs: int | None

    @property
    def is_retried(self) -> bool:
        """Whether the release retries it."""
        return self.max_failed_runs is not None


@dataclass(frozen=True, slots=True)
class ErrorsView:
    """All error codes, the most frequent first."""

    codes: Sequence[ErrorCodeView]

    @property
    def entries(self) -> int:
        """How many entries have an error."""
        return sum(code.entries for code in self.codes)

    @property
    def retried_entries(self) -> int:
        """How many entries have an error that the release retries, whether they have runs left or not."""
        return sum(code.entries for code in self.codes if code.is_retried)


@dataclass(frozen=True, slots=True)
class Cause:
    """What several entries say in the same words, apart from numbers and from what is in quotation marks.

    :param example: the newest of their messages.
    """

    example: str
    entries: int
    datasets: int


@dataclass(frozen=True, slots=True)
class Causes:
    """The most frequent causes of so many entries, of so many datasets."""

    first: Sequence[Cause]
    entries: int
    datasets: int

    @classmethod
    def of(cls, said: Sequence[Said]) -> Causes:
        """Return the causes in what entries say."""
        alike: dict[str, list[Said]] = defaultdict(list)
        for each in said:
            alike[_PARTICULARS.sub("…", each.text)].append(each)
        groups = sorted(alike.values(), key=len, reverse=True)[:_CAUSES_SHOWN]
        first = [Cause(group[0].text, len(group), _dataset_count(group)) for group in groups]
        return cls(first, len(said), _dataset_count(said))


def _dataset_count(said: Iterable[Said]) -> int:
    return len({each.dataset for each in said})


@dataclass(frozen=True, slots=True)
class ErrorEntriesView:
    """A page of the entries with an error code.

    :param code: None if the counts know no such code.
    :param causes: the most frequent first; None if they are not known.
    """

    code: ErrorCodeView | None
    page: ErrorPage
    causes: Causes | None

    @property
    def datasets(self) -> int:
        """How many datasets the entries on the page are of."""
        return len({entry.dataset for entry in self.page.entries})

    @property
    def artifacts(self) -> list[ArtifactName]:
        """What the entries on the page are of, without those whose names are malformed."""
        return [entry.artifact for entry in self.page.entries if entry.artifact]


def read_errors(reader: ErrorReader, release: Release) -> ErrorsView:
    """Read how many entries have which error."""
    by_code: dict[str | None, list[EntryTotal]] = defaultdict(list)
    for total in reader.totals():
        by_code[total.error_code].append(total)
    codes = [_code_view(totals, release) for totals in by_code.values()]
    return ErrorsView(sorted(codes, key=lambda code: (-code.entries, code.code or "")))


def read_error_entries(
    reader: ErrorReader,
    release: Release,
    code: str,
    *,
    kind: str | None = None,
    job_runner_version: int | None = None,
    after: Place | None = None,
    before: Place | None = None,
) -> ErrorEntriesView:
    """Read a page of the entries with an error code, the newest first.

    :param kind: only those of this step.
    :param job_runner_version: only those that this version of the job runner has computed.
    :param after: the page begins after this place.
    :param before: the page ends before this place.
    """
    totals = reader.totals(code)
    wanted = ErrorFilter(code, totals, kind, job_runner_version)
    page = reader.page(wanted, ENTRIES_PER_PAGE, after=after, before=before)
    said = reader.said(wanted)
    causes = None if said is None else Causes.of(said)
    return ErrorEntriesView(_code_view(totals, release) if totals else None, page, causes)


def _code_view(totals: Iterable[EntryTotal], release: Release) -> ErrorCodeView:
    totals = list(totals)
    code = totals[0].error_code
    steps: Counter[str] = Counter()
    for total in totals:
        steps[total.kind] += total.total
    return ErrorCodeView(
        code=code,
        entries=sum(steps.values()),
        steps=dict(steps.most_common()),
        http_statuses=sorted({total.http_status for total in totals}),
        max_failed_runs=release.max_failed_runs.get(code or ""),
    )
