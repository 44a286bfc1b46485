"""A generated cache of any size before a backfill, for benchmarks."""

from __future__ import annotations

import base64
import math
import random
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from enum import IntEnum

from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from dev.local_stack.documents import (
    CACHE,
    JOBS,
    Document,
    Shape,
    as_error,
    create_indexes,
    new_job,
    up_to_date_entries,
    utc_now,
    write_totals,
)
from dev.local_stack.hub_server import HubDataset, HubState
from include.planning.processing_graph import Release

DATASETS_PER_INSERT = 100

_INSERTS_AT_ONCE = 2
_UNJOURNALED = WriteConcern(w=1, j=False)
_AGE = timedelta(days=30)
_CONFIGS = ("default", "en", "fr-FR", "plain_text", "Subset.1")
_SPLITS = ("train", "test", "validation")
#: The long tail: how many datasets in a thousand have between so many and so many configs.
_LONG_TAIL = ((800, 1, 1), (150, 2, 10), (45, 11, 60), (5, 100, 400))
#: How much the sizes of heavy contents vary (log-normal): half of them have less than half of the average.
_SIGMA = 1.2
#: Of the text from which heavy contents are cut: so long that neighbours on disk rarely share a part of it.
_SOURCE_BYTES = 6 * 2**20
_WORDS = ("squad", "Common-Voice", "news.v2", "OpenWeb", "qa_pairs", "Math-Instruct", "images", "Code_Search")
_NAMESPACES = ("allenai", "Big-Lab", "user_01", "DataTeam", "nlp.group", "mx-org")
_CARDS = (None, {"license": "mit"}, {"viewer": True, "license": "apache-2.0"})
_TAGS = (("task_categories:text-classification", "language:en"), ("modality:image",), ())


class Trouble(IntEnum):
    """Why a dataset is not up to date."""

    NEW_REVISION = 0
    MISSING_ENTRY = 1
    OBSOLETE_ENTRY = 2
    ERROR_TO_RETRY = 3
    STALE_JOB = 4


def generate(
    cache_db: Database[Document],
    queue_db: Database[Document],
    datasets: int,
    release: Release,
    up_to_date: float = 0.9,
    seed: int = 0,
    *,
    long_tail: bool = False,
    content_bytes: int = 0,
) -> HubState:
    """Fill two empty databases, with their indexes and totals, and return the Hub that belongs to them.

    A dataset has 1 to 5 configs with 1 to 3 splits, about 53 entries on average. Each dataset that is not up
    to date has one trouble, and all troubles are equally frequent. The same seed makes the same datasets.
    All entries are 30 days old.

    :param datasets: the number of datasets. Memory does not grow with their entries.
    :param up_to_date: the share of the datasets without trouble, from 0 to 1.
    :param long_tail: most datasets have one config, a few have hundreds.
    :param content_bytes: the average size of the contents, if they are to be heavy: text that hardly
        compresses, in many sizes. The entries of a hundred datasets are then written in a random order: in
        a real cache, the entries of a dataset are far apart, because workers take the jobs of many datasets.
    """
    generator = _Generator(release, random.Random(seed), long_tail=long_tail)  # noqa: S311 (no secret)
    contents = _HeavyContents(content_bytes, random.Random(seed)) if content_bytes else None  # noqa: S311
    troubles = generator.troubles(datasets, up_to_date)
    state = HubState()
    entries_of_cache = cache_db.get_collection(CACHE, write_concern=_UNJOURNALED)
    with ThreadPoolExecutor(_INSERTS_AT_ONCE) as pool:
        running: deque[Future[None]] = deque()
        for start in range(0, datasets, DATASETS_PER_INSERT):
            batch = range(start, min(start + DATASETS_PER_INSERT, datasets))
            entries: list[Document] = []
            jobs: list[Document] = []
            for number in batch:
                state.put(generator.add_dataset(number, troubles.get(number), entries, jobs))
            if contents:
                contents.fill(entries)
            if len(running) == _INSERTS_AT_ONCE:
                running.popleft().result()
            running.append(pool.submit(_insert, entries_of_cache, entries))
            _insert(queue_db[JOBS], jobs)
        for future in running:
            future.result()
    # Building an index afterwards takes a fraction of the time of updating it with each insert.
    create_indexes(cache_db, queue_db, release)
    write_totals(cache_db, queue_db, release)
    return state


class _Generator:
    def __init__(self, release: Release, randomness: random.Random, *, long_tail: bool) -> None:
        self._release = release
        self._random = randomness
        self._long_tail = long_tail
        self._since = utc_now() - _AGE

    def troubles(self, datasets: int, up_to_date: float) -> dict[int, Trouble]:
        """Choose the datasets that are not up to date, by number, and the trouble of each."""
        numbers = self._random.sample(range(datasets), round(datasets * (1 - up_to_date)))
        return {number: Trouble(place % len(Trouble)) for place, number in enumerate(numbers)}

    def add_dataset(
        self, number: int, trouble: Trouble | None, entries: list[Document], jobs: list[Document]
    ) -> HubDataset:
        """Append the entries and jobs of a dataset, and return the dataset on the Hub."""
        shape = self._shape(number)
        own = up_to_date_entries(self._release, shape, self._since)
        sha = shape.revision
        match trouble:
            case Trouble.NEW_REVISION:
                sha = self._revision()
            case Trouble.MISSING_ENTRY:
                own.remove(self._any_but_naming(own))
            case Trouble.OBSOLETE_ENTRY:
                self._any_but_naming(own)["job_runner_version"] = 0
            case Trouble.ERROR_TO_RETRY:
                code = self._random.choice(list(self._release.max_failed_runs))
                as_error(self._any_but_naming(own), code, failed_runs=0)
            case Trouble.STALE_JOB:
                step = self._release.steps[0]
                jobs.append(new_job(step, shape.name, self._revision(), created_at=self._since))
        entries += own
        return HubDataset(
            shape.name, sha, card_data=self._random.choice(_CARDS), tags=self._random.choice(_TAGS)
        )

    def _shape(self, number: int) -> Shape:
        word = self._random.choice(_WORDS)
        namespace = self._random.choice(_NAMESPACES)
        name = f"{word}_{number}" if number % 20 == 0 else f"{namespace}{number % 1000}/{word}-{number}"
        configs = self._configs()
        return Shape(
            name=name,
            revision=self._revision(),
            configs={config: _SPLITS[: self._random.choice((1, 1, 2, 2, 3))] for config in configs},
        )

    def _configs(self) -> Sequence[str]:
        if not self._long_tail:
            return _CONFIGS[: self._random.choice((1, 1, 1, 1, 2, 2, 3, 5))]
        weights = [in_a_thousand for in_a_thousand, _, _ in _LONG_TAIL]
        _, fewest, most = self._random.choices(_LONG_TAIL, weights)[0]
        # Small numbers are likelier than large ones: those from 10 to 20 as likely as those from 20 to 40.
        number = round(fewest * (most / fewest) ** self._random.random())
        others = (f"config-{place}" for place in range(len(_CONFIGS), number))
        return [*_CONFIGS, *others][:number]

    def _revision(self) -> str:
        return f"{self._random.getrandbits(160):040x}"

    def _any_but_naming(self, entries: Sequence[Document]) -> Document:
        """Choose an entry, but none that lists configs or splits: without it, few artifacts are expected."""
        naming = {"dataset-config-names", "config-split-names"}
        return self._random.choice([entry for entry in entries if entry["kind"] not in naming])


class _HeavyContents:
    """Makes contents heavy with texts of random letters, cut from one long text, which takes no time."""

    def __init__(self, average_bytes: int, randomness: random.Random) -> None:
        self._average_bytes = average_bytes
        self._random = randomness
        self._source = base64.b64encode(randomness.randbytes(_SOURCE_BYTES)).decode()

    def fill(self, entries: list[Document]) -> None:
        """Add a text to the content of each entry, and mix the entries."""
        for entry in entries:
            entry["content"] = {**entry["content"], "rows": self._text()}
        self._random.shuffle(entries)

    def _text(self) -> str:
        median = self._average_bytes / math.exp(_SIGMA**2 / 2)
        size = min(round(self._random.lognormvariate(math.log(median), _SIGMA)), len(self._source) // 2)
        start = self._random.randrange(len(self._source) - size)
        return self._source[start : start + size]


def _insert(collection: Collection[Document], documents: list[Document]) -> None:
    if documents:
        collection.insert_many(documents, ordered=False)
