"""The sample of ``make run``: 300 datasets, most of them up to date, and a few with each trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from hashlib import sha1
from itertools import chain, islice, product
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pymongo.database import Database

from dev.local_stack.documents import (
    BLOCKAGES,
    CACHE,
    JOBS,
    LOCKS,
    STEP_INTERVAL,
    Document,
    Shape,
    as_error,
    create_indexes,
    new_job,
    up_to_date_entries,
    utc_now,
    write_totals,
)
from dev.local_stack.hub_server import HubDataset, HubDiscussion, HubState, HubUser
from include.planning.dataset_state import JobStatus, Priority
from include.planning.processing_graph import Release

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DATASETS = 300

#: The block list that belongs to the sample.
BLOCKED_DATASETS = "open-crawl/clickbait,spam-farm/*"

HUB_TOKEN = "hf_local_maintenance"  # noqa: S105 (only the stand-in knows it)
BOT_NAME = "parquet-converter"
BOT_TOKEN = "hf_local_bot"  # noqa: S105 (only the stand-in knows it)

CACHED_ASSETS_PREFIX = "cached-assets"

_LOCK_SECONDS = 600
_IMAGE = b"\xff\xd8\xff\xd9"  # the shortest JPEG
_USERS = (
    HubUser("pro-user", is_pro=True, plan="pro"),
    HubUser("enterprise-org", plan="enterprise", is_enterprise=True),
    HubUser("free-user"),
)
_CANONICAL = (
    "glue",
    "imdb",
    "squad_v2",
    "ag_news",
    "wikitext",
    "xnli",
    "cnn_dailymail",
    "rotten_tomatoes",
    "c4",
)
_NAMESPACES = (
    *("allenai", "Big-Science", "biomed-nlp", "city-data", "Edu-Team", "finance.lab", "geo_maps", "HealthAI"),
    *("jurists", "kinetics", "lingua-franca", "math_olympiad", "museum-archive", "news-desk", "open-crawl"),
    *("robotics.eu", "sign-language", "TreeBank", "vision-lab", "weather_station"),
)
_TOPICS = (
    *(
        "abstracts",
        "Annotated-Images",
        "captions",
        "chat_logs",
        "code-review",
        "dialogues.v2",
        "edit_history",
    ),
    *(
        "Instructions",
        "parallel-corpus",
        "questions",
        "reports_2023",
        "sensor-readings",
        "speech",
        "summaries",
    ),
)
_CONFIGS: tuple[Mapping[str, tuple[str, ...]], ...] = (
    {"default": ("train",)},
    {"default": ("train", "test")},
    {"en": ("train", "validation", "test"), "fr": ("train", "test")},
    {"plain text": ("train", "test"), "tokenized": ("train",), "raw": ("all",)},
)


@dataclass(slots=True)
class _Sample:
    """A dataset. It is up to date until a function below adds a trouble."""

    release: Release
    shape: Shape
    entries: list[Document]
    on_hub: list[HubDataset]
    jobs: list[Document] = field(default_factory=list)

    def entry(self, kind: str) -> Document:
        """Return the first entry of a kind."""
        return next(entry for entry in self.entries if entry["kind"] == kind)

    def change_on_hub(self, **changes: object) -> None:
        """Change fields of the dataset on the Hub."""
        self.on_hub = [replace(dataset, **changes) for dataset in self.on_hub]  # type: ignore[arg-type]

    def add_job(
        self,
        kind: str,
        hours: float,
        *,
        revision: str | None = None,
        status: JobStatus = JobStatus.WAITING,
        priority: Priority = Priority.LOW,
    ) -> None:
        """Add a pending job for the first artifact of a step, created some hours ago."""
        entry = self.entry(kind)
        self.jobs.append(
            new_job(
                self.release.step(kind),
                self.shape.name,
                revision or self.shape.revision,
                entry["config"],
                entry["split"],
                created_at=utc_now() - timedelta(hours=hours),
                status=status,
                priority=priority,
            )
        )


# The troubles


def _has_new_revision(sample: _Sample) -> None:
    sample.change_on_hub(sha=_revision(sample.shape.name, "pushed since"))


def _lacks_entries(sample: _Sample) -> None:
    for kind in ("dataset-is-valid", "split-first-rows", "config-size"):
        sample.entries.remove(sample.entry(kind))


def _has_error_to_retry(sample: _Sample) -> None:
    as_error(sample.entry("split-first-rows"), "StreamingRowsError", failed_runs=1)


def _has_error_retried_enough(sample: _Sample) -> None:
    maximum = sample.release.max_failed_runs["StreamingRowsError"]
    as_error(sample.entry("split-first-rows"), "StreamingRowsError", failed_runs=maximum)


def _has_error_not_to_retry(sample: _Sample) -> None:
    as_error(sample.entry("split-descriptive-statistics"), "DatasetTooBigError", failed_runs=0)


def _has_obsolete_entries(sample: _Sample) -> None:
    sample.entry("split-first-rows")["job_runner_version"] -= 1
    sample.entry("dataset-hub-cache")["job_runner_version"] = None


def _has_entry_older_than_parent(sample: _Sample) -> None:
    parent = sample.entry("config-parquet")
    sample.entry("config-parquet-metadata")["updated_at"] = parent["updated_at"] - STEP_INTERVAL


def _has_jobs_of_old_revision(sample: _Sample) -> None:
    old = _revision(sample.shape.name, "before")
    sample.add_job("dataset-config-names", hours=50, revision=old)
    sample.add_job("config-parquet-and-info", hours=49, revision=old, priority=Priority.NORMAL)
    sample.add_job("split-first-rows", hours=48, revision=old, status=JobStatus.STARTED)


def _has_jobs_for_nothing(sample: _Sample) -> None:
    sample.add_job("dataset-size", hours=12)
    sample.add_job("config-info", hours=11, priority=Priority.HIGH)


def _has_duplicate_jobs(sample: _Sample) -> None:
    sample.entry("split-first-rows")["job_runner_version"] = None
    sample.add_job("split-first-rows", hours=3)
    sample.add_job("split-first-rows", hours=2, priority=Priority.NORMAL)
    sample.add_job("split-first-rows", hours=1)


def _has_started_job(sample: _Sample) -> None:
    sample.entry("split-first-rows")["job_runner_version"] = None
    sample.add_job("split-first-rows", hours=1, status=JobStatus.STARTED)
    sample.add_job("split-first-rows", hours=0.5)


def _has_malformed_list(sample: _Sample) -> None:
    sample.entry("config-split-names")["content"] = {"splits": [{"split": None}]}


def _has_malformed_entry(sample: _Sample) -> None:
    del sample.entry("dataset-info")["updated_at"]


def _is_unavailable(sample: _Sample) -> None:
    sample.change_on_hub(fault="server_error")
    sample.entries.remove(sample.entry("dataset-size"))


def _is_deleted(sample: _Sample) -> None:
    sample.on_hub = []
    sample.add_job("config-parquet-and-info", hours=20)


def _is_disabled(sample: _Sample) -> None:
    sample.change_on_hub(fault="disabled_403", in_listing=False)


def _is_flagged_as_disabled(sample: _Sample) -> None:
    sample.change_on_hub(disabled=True)


def _has_no_viewer(sample: _Sample) -> None:
    sample.change_on_hub(card_data={"viewer": False})


def _is_private(sample: _Sample) -> None:
    sample.change_on_hub(private=True)


def _is_renamed(sample: _Sample) -> None:
    (before,) = sample.on_hub
    new_name = f"{before.id}-renamed"
    sample.on_hub = [replace(before, id=new_name), replace(before, renamed_to=new_name)]


def _is_unsafe_for_work(sample: _Sample) -> None:
    sample.change_on_hub(tags=("nsfw",))


def _is_converted_today(sample: _Sample) -> None:
    age = utc_now() - sample.entry("dataset-config-names")["updated_at"]
    for entry in sample.entries:
        entry["updated_at"] += age - timedelta(hours=6)


def _forbids_discussions(sample: _Sample) -> None:
    _is_converted_today(sample)
    sample.change_on_hub(discussions_disabled=True)


def _nothing(sample: _Sample) -> None:
    """Add no trouble: the dataset is in the sample for its name."""


# The datasets with each trouble


class Outcome(StrEnum):
    """What a backfill with BLOCKED_DATASETS does with a dataset."""

    UNTOUCHED = "untouched"
    BACKFILLED = "backfilled"
    REMOVED = "removed"
    FAILED = "failed"


#: The datasets with each trouble, by outcome. All others are up to date.
CASES: Mapping[Outcome, Mapping[Callable[[_Sample], None], tuple[str, ...]]] = {
    Outcome.BACKFILLED: {
        _has_new_revision: (
            *(
                "glue",
                "allenai/captions",
                "Big-Science/questions",
                "HealthAI/speech",
                "TreeBank/dialogues.v2",
            ),
            *(
                "geo_maps/sensor-readings",
                "jurists/summaries",
                "vision-lab/reports_2023",
                "news-desk/chat_logs",
            ),
        ),
        _lacks_entries: ("imdb", "finance.lab/reports_2023", "robotics.eu/speech", "Edu-Team/Instructions"),
        _has_error_to_retry: (
            "wikitext",
            "city-data/abstracts",
            "open-crawl/code-review",
            "kinetics/captions",
        ),
        _has_obsolete_entries: ("xnli", "biomed-nlp/abstracts", "math_olympiad/questions"),
        _has_entry_older_than_parent: ("weather_station/sensor-readings", "lingua-franca/parallel-corpus"),
        _has_jobs_of_old_revision: ("museum-archive/captions", "allenai/edit_history"),
        _has_jobs_for_nothing: ("Big-Science/summaries", "sign-language/Annotated-Images"),
        _has_duplicate_jobs: ("vision-lab/captions",),
        _has_started_job: ("HealthAI/questions",),
    },
    Outcome.UNTOUCHED: {
        _has_error_retried_enough: ("ag_news", "jurists/dialogues.v2"),
        _has_error_not_to_retry: ("c4", "open-crawl/edit_history"),
        _has_malformed_list: ("kinetics/sensor-readings",),
        _is_renamed: ("news-desk/reports_2023",),
        _is_private: ("pro-user/private-notes", "enterprise-org/ledger"),
        _is_unsafe_for_work: ("art-shed/life-drawings",),
        _is_converted_today: (
            *("climate-lab/ice-cores", "climate-lab/tide-gauges", "speech-group/Read-Aloud"),
            *("rare.languages/lexicon", "greeted-team/corpus", "rotten_tomatoes"),
        ),
        _forbids_discussions: ("quiet-team/corpus",),
        _nothing: ("squad/other", "user/data2"),
    },
    Outcome.REMOVED: {
        _is_deleted: ("squad", "user/data", "former-user/Retracted.Study"),
        _is_disabled: ("reported/copyrighted-songs",),
        _is_flagged_as_disabled: ("reported/flagged-voices",),
        _has_no_viewer: ("shy-team/no-viewer",),
        _is_private: ("free-user/private-notes",),
        _nothing: ("open-crawl/clickbait", "spam-farm/links", "spam-farm/Link_Texts"),
    },
    Outcome.FAILED: {
        _is_unavailable: ("biomed-nlp/questions",),
        _has_malformed_entry: ("city-data/sensor-readings",),
    },
}
#: A backfill removes it if the release does not support its tag.
_TAGGED = "art-shed/life-drawings"
#: The bot has already opened a discussion on it.
_GREETED = "greeted-team/corpus"
#: Up-to-date datasets with assets, which they must keep when datasets with similar names are removed.
_BYSTANDERS = (
    "squad/other",
    "user/data2",
    "allenai/abstracts",
    "HealthAI/captions",
    "cnn_dailymail",
    "TreeBank/speech",
)


def datasets_by_outcome(release: Release) -> dict[Outcome, frozenset[str]]:
    """Return the datasets of the sample by the outcome of a backfill with BLOCKED_DATASETS."""
    named = {outcome: {name for names in CASES[outcome].values() for name in names} for outcome in Outcome}
    named[Outcome.UNTOUCHED].update(_plain_names(DATASETS - sum(map(len, named.values()))))
    if release.unsupported_tags:
        named[Outcome.UNTOUCHED].remove(_TAGGED)
        named[Outcome.REMOVED].add(_TAGGED)
    return {outcome: frozenset(names) for outcome, names in named.items()}


def fill(
    cache_db: Database[Document],
    queue_db: Database[Document],
    assets_root: Path,
    s3_client: S3Client,
    bucket: str,
    release: Release,
) -> HubState:
    """Replace the data of the databases with the sample, add its assets, and return its Hub.

    :param assets_root: the folder of the assets.
    :param bucket: the bucket of the cached assets, which are below CACHED_ASSETS_PREFIX.
    """
    samples = _samples(release)
    _fill_databases(cache_db, queue_db, release, samples)
    with_assets = {*datasets_by_outcome(release)[Outcome.REMOVED], *_BYSTANDERS}
    for sample in samples:
        if sample.shape.name in with_assets:
            _add_assets(sample.shape, assets_root, s3_client, bucket)
    state = HubState(
        users={user.name: user for user in _USERS},
        tokens={HUB_TOKEN: "datasets-server", BOT_TOKEN: BOT_NAME},
        discussions={_GREETED: [_greeting()]},
    )
    for sample in samples:
        state.put(*sample.on_hub)
    return state


def _samples(release: Release) -> list[_Sample]:
    troubles = {
        name: trouble for cases in CASES.values() for trouble, names in cases.items() for name in names
    }
    names = [*troubles, *_plain_names(DATASETS - len(troubles))]
    samples = [_up_to_date(release, name, number) for number, name in enumerate(names)]
    for sample in samples:
        troubles.get(sample.shape.name, _nothing)(sample)
    return samples


def _plain_names(count: int) -> list[str]:
    """Return names of datasets without a trouble."""
    taken = {name for cases in CASES.values() for names in cases.values() for name in names}
    namespaced = (f"{namespace}/{topic}" for topic, namespace in product(_TOPICS, _NAMESPACES))
    return list(islice((name for name in chain(_CANONICAL, namespaced) if name not in taken), count))


def _up_to_date(release: Release, name: str, number: int) -> _Sample:
    shape = Shape(name, _revision(name, "first"), _CONFIGS[number % len(_CONFIGS)])
    since = utc_now() - timedelta(days=2 + number % 60)
    on_hub = HubDataset(name, shape.revision, card_data={"license": "cc-by-4.0"}, tags=("language:en",))
    return _Sample(release, shape, up_to_date_entries(release, shape, since), [on_hub])


def _revision(dataset: str, which: str) -> str:
    return sha1(f"{dataset} {which}".encode(), usedforsecurity=False).hexdigest()


def _greeting() -> HubDiscussion:
    return HubDiscussion(
        num=1,
        title="[bot] Conversion to Parquet",
        description="The data of this dataset are now also available as Parquet files.",
        author=BOT_NAME,
        created_at="2024-01-18T11:05:32.000Z",
        status="closed",
    )


def _fill_databases(
    cache_db: Database[Document], queue_db: Database[Document], release: Release, samples: Iterable[_Sample]
) -> None:
    for database, collection in (
        (cache_db, CACHE),
        (queue_db, JOBS),
        (queue_db, LOCKS),
        (queue_db, BLOCKAGES),
    ):
        database[collection].delete_many({})
    create_indexes(cache_db, queue_db, release)
    jobs = [job for sample in samples for job in sample.jobs]
    cache_db[CACHE].insert_many([entry for sample in samples for entry in sample.entries])
    queue_db[JOBS].insert_many(jobs)
    queue_db[LOCKS].insert_many(_locks(jobs))
    write_totals(cache_db, queue_db, release)


def _locks(jobs: Iterable[Document]) -> list[Document]:
    """Return the locks that crashed workers left on some of the waiting jobs."""
    waiting = {job["unicity_id"]: None for job in jobs if job["status"] == JobStatus.WAITING}
    return [
        {"_id": unicity_id, "owner": f"worker-{number}", "ttl": _LOCK_SECONDS, "updated_at": utc_now()}
        for number, unicity_id in enumerate(waiting)
        if number % 3 != 1
    ]


def _add_assets(shape: Shape, assets_root: Path, s3_client: S3Client, bucket: str) -> None:
    """Add an image for each split to both storages."""
    for config, splits in shape.configs.items():
        for split in splits:
            path = _asset_path(shape, config, split)
            file = assets_root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(_IMAGE)
            s3_client.put_object(Bucket=bucket, Key=f"{CACHED_ASSETS_PREFIX}/{path}", Body=_IMAGE)


def _asset_path(shape: Shape, config: str, split: str) -> str:
    parts = [*shape.name.split("/"), "--", shape.revision, "--", config, split, "0", "image", "image.jpg"]
    return "/".join(quote(part, safe="") for part in parts)
