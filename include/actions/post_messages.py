"""The action ``post-messages``: tell owners of datasets on the Hub that there is a Parquet version."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from string import Template
from urllib.parse import quote

from include.batches import Progress
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.errors import DatasetError
from include.hub.bot import HubBot, Opening
from include.summaries import Summary, add_to_sample

#: Parallel requests hide the latency of the Hub; more of them would only reach its rate limit.
HUB_THREADS = 8
DATASETS_AT_A_TIME = 100
MESSAGES_SHOWN = 3

_TEMPLATE_FILE = Path(__file__).with_suffix(".md")


@dataclass(frozen=True, slots=True)
class Message:
    """The title and the text of a discussion, in Markdown."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class MessageTemplate:
    """A text in Markdown, whose first line, a heading, is the title.

    Placeholders are ``$dataset``, ``$bot``, ``$dataset_url`` and ``$branch_url``; ``$$`` is a dollar sign.
    """

    source: str

    @classmethod
    def load(cls) -> MessageTemplate:
        """Read the template from ``post_messages.md``."""
        return cls(_TEMPLATE_FILE.read_text(encoding="utf-8"))

    def render(self, dataset: str, *, bot: str, endpoint: str, revision: str) -> Message:
        """Return the message for a dataset, with links to it and to its branch ``revision``."""
        dataset_url = f"{endpoint}/datasets/{dataset}"
        rendered = Template(self.source).substitute(
            dataset=dataset,
            bot=bot,
            dataset_url=dataset_url,
            branch_url=f"{dataset_url}/tree/{quote(revision, safe='')}",
        )
        title, _, text = rendered.partition("\n")
        return Message(title.removeprefix("# "), text.strip())


@dataclass(slots=True)
class MessageSummary(Summary):
    """What happened to the candidates: ``candidates`` counts each, and so does one of the other counts.

    ``posted`` counts the discussions, in a dry run those that a run would open. ``passed_over`` counts by
    reason. ``postponed`` counts the datasets beyond the maximum number of messages.
    """

    candidates: int = 0
    without_namespace: int = 0
    other_of_namespace: int = 0
    already_posted: int = 0
    posted: int = 0
    postponed: int = 0
    failed: int = 0
    passed_over: dict[str, int] = field(default_factory=dict)
    posted_sample: list[str] = field(default_factory=list)
    passed_over_sample: list[str] = field(default_factory=list)
    message_sample: list[str] = field(default_factory=list)
    error_sample: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ParquetMessages:
    """Opens a discussion for one dataset of each namespace.

    :param revision: the branch of the Parquet files.
    :param max_messages: the maximum number of discussions to open; None for no maximum.
    :param dry_run: ask the Hub and write the messages, but open no discussion.
    :param right: checked before the Hub is asked about a dataset, and right before a discussion is opened.
    """

    bot: HubBot
    template: MessageTemplate
    revision: str
    max_messages: int | None = None
    dry_run: bool = False
    right: RightToWrite = UNRESTRICTED

    def post(self, names: Iterable[str]) -> MessageSummary:
        """Post to converted datasets, each named once, and return what was done.

        It can be killed at any point and run again: the bot never opens a second discussion on a dataset.
        """
        summary = MessageSummary()
        chosen = chosen_datasets(names, summary)
        progress = Progress("datasets", total=len(chosen))
        remaining = iter(chosen)
        with ThreadPoolExecutor(HUB_THREADS, thread_name_prefix="hub") as posting:
            while batch := list(islice(remaining, self._next_batch_size(summary))):
                for dataset, outcome in zip(batch, posting.map(self._post_to, batch), strict=True):
                    self._count(dataset, outcome, summary)
                progress.advance(len(batch))
        summary.postponed = sum(1 for _ in remaining)
        return summary

    def _next_batch_size(self, summary: MessageSummary) -> int:
        if self.max_messages is None:
            return DATASETS_AT_A_TIME
        # A failed dataset counts, because the Hub may have opened its discussion.
        return min(DATASETS_AT_A_TIME, max(0, self.max_messages - summary.posted - summary.failed))

    def _message(self, dataset: str) -> Message:
        return self.template.render(
            dataset, bot=self.bot.name, endpoint=self.bot.endpoint, revision=self.revision
        )

    def _post_to(self, dataset: str) -> Opening | DatasetError:
        message = self._message(dataset)
        self.right.check()
        try:
            return self.bot.open_discussion(
                dataset, message.title, message.text, dry_run=self.dry_run, check_right=self.right.check
            )
        except DatasetError as error:
            return error

    def _count(self, dataset: str, outcome: Opening | DatasetError, summary: MessageSummary) -> None:
        match outcome:
            case DatasetError():
                summary.failed += 1
                add_to_sample(summary.error_sample, dataset, outcome)
            case Opening.OPENED_BEFORE:
                summary.already_posted += 1
            case Opening.OPENED:
                summary.posted += 1
                message = self._message(dataset)
                add_to_sample(summary.posted_sample, dataset, message.title)
                if len(summary.message_sample) < MESSAGES_SHOWN:
                    summary.message_sample.append(f"{dataset}: {message.title}\n\n{message.text}")
            case reason:
                summary.passed_over[reason.value] = summary.passed_over.get(reason.value, 0) + 1
                add_to_sample(summary.passed_over_sample, dataset, reason.value)


def chosen_datasets(names: Iterable[str], summary: MessageSummary) -> list[str]:
    """Return the first dataset, by name, of each namespace, and count the others.

    A dataset without a namespace has no owner to tell. The choice depends only on the names, so that another
    run over the same datasets makes the same choice.
    """
    first: dict[str, str] = {}
    for name in names:
        summary.candidates += 1
        namespace, slash, _ = name.partition("/")
        if slash:
            first[namespace] = min(name, first.get(namespace, name))
        else:
            summary.without_namespace += 1
    summary.other_of_namespace = summary.candidates - summary.without_namespace - len(first)
    return sorted(first.values())
