"""What a backfill reads: which datasets need a job or a question to the Hub, and the plans of these."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Protocol

from bson import ObjectId

from include.actions.backfill.proofs import Proofs
from include.batches import batched_by_weight
from include.databases.cache_store import CacheStore
from include.databases.maintenance_store import MaintenanceStore
from include.databases.mongo import retried
from include.databases.proof_store import Proof
from include.databases.queue_store import QueueStore
from include.errors import DatasetError
from include.hub.block_list import BlockList
from include.planning.dataset_state import CachedDataset, Job
from include.planning.entry_columns import UnreadableColumnsError
from include.planning.plan import NO_ARTIFACTS, Artifacts, Plan, plan_dataset
from include.planning.processing_graph import Release
from include.planning.screening import proven_up_to_date
from include.storage.asset_storage import dataset_folder

#: The maximum number of cache entries that are objects in memory at the same time; a dataset with more of
#: them is read alone.
ENTRIES_AT_A_TIME = 50_000
#: So many datasets are not merged with more: the Hub is asked about each, and its answers become old.
ENOUGH_DATASETS = 50
#: A plan is made again, from a new state, if it is not written within this time: the workers go on.
STATE_LASTS_SECONDS = 5.0


class Planner(Protocol):
    """Plans one dataset, as :func:`include.planning.plan.plan_dataset` does."""

    def __call__(
        self, release: Release, cached: CachedDataset, jobs: Sequence[Job], revision: str, *, rebuild: bool
    ) -> Plan:
        """Return the plan; ``rebuild`` if a rebuild of the dataset was cut short."""


@dataclass(frozen=True, slots=True)
class Known:
    """What our own database holds of some datasets: the listed revisions, and the unfinished rebuilds.

    ``revisions`` has the datasets that the Hub's listing proves to be supported.
    """

    revisions: Mapping[str, str]
    rebuilds: Set[str]


@dataclass(frozen=True, slots=True)
class UnreadPart:
    """Datasets to read together: at most ``ENTRIES_AT_A_TIME`` cache entries, or a single dataset."""

    names: Sequence[str]
    entries: int
    known: Known

    def with_more(self, other: UnreadPart) -> UnreadPart:
        """Return the datasets of both, to read together."""
        revisions = {**self.known.revisions, **other.known.revisions}
        known = Known(revisions, self.known.rebuilds | other.known.rebuilds)
        return UnreadPart([*self.names, *other.names], self.entries + other.entries, known)


def merged(parts: Iterable[UnreadPart]) -> Iterator[UnreadPart]:
    """Merge small parts: to read and write a few datasets takes as long as many."""
    merged: UnreadPart | None = None
    for part in parts:
        if merged is None:
            merged = part
        elif merged.entries + part.entries <= ENTRIES_AT_A_TIME:
            merged = merged.with_more(part)
        else:
            yield merged
            merged = part
        if len(merged.names) >= ENOUGH_DATASETS:
            yield merged
            merged = None
    if merged is not None:
        yield merged


@dataclass(frozen=True, slots=True)
class Screened:
    """A batch after the screening.

    :param recorded: the datasets that an earlier run proves to be up to date.
    :param proofs: those that this screening proves to be so.
    :param parts: all others.
    """

    recorded: Mapping[str, Proof]
    proofs: Mapping[str, Proof]
    parts: Sequence[UnreadPart]

    @property
    def proven(self) -> int:
        """The number of datasets that are up to date."""
        return len(self.recorded) + len(self.proofs)

    @property
    def artifacts(self) -> Artifacts:
        """The artifacts of the datasets that are up to date."""
        proofs = chain(self.recorded.values(), self.proofs.values())
        return Artifacts(up_to_date=sum(proof.artifacts for proof in proofs))


@dataclass(frozen=True, slots=True)
class State:
    """What the queue and the cache hold of some datasets, and when its reading began (monotonic seconds)."""

    cached: Mapping[str, CachedDataset | DatasetError]
    jobs: Mapping[str, list[Job] | DatasetError]
    read_at: float

    @property
    def is_fresh(self) -> bool:
        """Whether it is recent enough to write jobs by it."""
        return time.monotonic() - self.read_at < STATE_LASTS_SECONDS

    @property
    def job_ids(self) -> set[ObjectId]:
        """The ids of all jobs."""
        readable = (jobs for jobs in self.jobs.values() if not isinstance(jobs, DatasetError))
        return {job.id for jobs in readable for job in jobs}


@dataclass(frozen=True, slots=True)
class Part:
    """Datasets that were read together.

    ``names`` are those to ask the Hub about; ``up_to_date`` counts the others, and ``artifacts`` are theirs.
    ``plans`` are for the listed revisions. Without a listing there is nothing to plan for: then ``state`` is
    None. ``jobs_before`` are the ids of the jobs that were pending before the Hub was asked: its answers are
    no reason to delete others. ``proofs`` are of the datasets that need no job and have none: of another, a
    job that fails to run would leave no trace in the entries.
    """

    names: Sequence[str]
    up_to_date: int
    known: Known
    state: State | None
    plans: Mapping[str, Plan]
    jobs_before: Set[ObjectId]
    proofs: Mapping[str, Proof] = field(default_factory=dict)
    artifacts: Artifacts = NO_ARTIFACTS

    @property
    def size(self) -> int:
        """The number of datasets."""
        return len(self.names) + self.up_to_date


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads datasets, and plans them.

    :param trust_listing: prove datasets to be up to date by the Hub's listing.
    :param proofs: what earlier runs have proven; None to read everything.
    :param planner: what screening and proofs prove is that the plan of a backfill would be empty: another
        planner needs a reader that does not trust the listing.
    """

    release: Release
    cache: CacheStore
    queue: QueueStore
    maintenance: MaintenanceStore
    blocked: BlockList
    trust_listing: bool
    proofs: Proofs | None = None
    planner: Planner = plan_dataset

    def screen(self, names: Sequence[str]) -> Screened:
        """Find the datasets of a batch that are up to date, without a plan for each."""
        return retried(partial(self._screen, names))

    def _screen(self, names: Sequence[str]) -> Screened:
        revisions = self.maintenance.listed_revisions(names) if self.trust_listing else {}
        known = Known(revisions, self.maintenance.unfinished_rebuilds_among(names))
        candidates = self._candidates(names, known) if revisions else []
        recorded = self._recorded(candidates, revisions)
        proofs = self._proven([name for name in candidates if name not in recorded], revisions)
        rest = [name for name in names if name not in recorded and name not in proofs]
        sizes = self.cache.entry_counts(rest) if rest else {}
        parts = [
            UnreadPart(part, sum(sizes[name] for name in part), _known_of(part, known))
            for part in batched_by_weight(sizes, ENTRIES_AT_A_TIME)
        ]
        return Screened(recorded, proofs, parts)

    def _candidates(self, names: Sequence[str], known: Known) -> list[str]:
        """Return the datasets that are up to date if all their entries are."""
        excluded = known.rebuilds | self.queue.with_pending_jobs(names)
        return [name for name in known.revisions if name not in excluded and not self.blocked.blocks(name)]

    def _recorded(self, names: Sequence[str], revisions: Mapping[str, str]) -> dict[str, Proof]:
        """Return the datasets whose record holds: it has the listed revision and the number of entries."""
        found = self.proofs.of(names) if self.proofs else {}
        at_revision = [name for name, proof in found.items() if proof.revision == revisions[name]]
        counts = self.cache.entry_counts(at_revision) if at_revision else {}
        return {name: found[name] for name in at_revision if counts[name] == found[name].entries}

    def _proven(self, names: Sequence[str], revisions: Mapping[str, str]) -> dict[str, Proof]:
        if not names:
            return {}
        columns, lists = self.cache.columns(names), self.cache.lists(names)
        try:
            proven = proven_up_to_date(self.release, columns, lists, revisions)
        except UnreadableColumnsError:
            return {}  # The plan of each dataset finds the malformed entries.
        # Each of these datasets has one entry for each artifact.
        return {name: Proof(revisions[name], number, number) for name, number in proven.items()}

    def read_part(self, part: UnreadPart) -> Part:
        """Read datasets and plan their listed revisions: an empty plan needs no answer of the Hub."""
        if not self.trust_listing:
            jobs_before = retried(partial(self.queue.pending_job_ids, part.names))
            return Part(part.names, 0, part.known, None, {}, jobs_before)
        state = self._read(part.names)
        plans = dict(self._listed_plans(part, state))
        undecided = [name for name in part.names if name not in plans or not plans[name].is_empty]
        return Part(
            undecided,
            len(part.names) - len(undecided),
            part.known,
            state,
            plans,
            state.job_ids,
            dict(_proofs(part.names, plans, state)),
            sum((plan.artifacts for plan in plans.values() if plan.is_empty), NO_ARTIFACTS),
        )

    def asked_again(self, part: Part, names: Sequence[str]) -> Part:
        """Return a part of which the Hub is to be asked again about some datasets."""
        return replace(part, jobs_before=retried(partial(self.queue.pending_job_ids, names)))

    def _listed_plans(self, part: UnreadPart, state: State) -> Iterator[tuple[str, Plan]]:
        for name in part.names:
            revision = part.known.revisions.get(name)
            if revision is not None and not self.blocked.blocks(name):
                plan = self._plan(name, revision, state, part.known)
                if isinstance(plan, Plan):  # An error comes up again, and is counted, after the Hub's answer.
                    yield name, plan

    def plans(self, part: Part, revisions: Mapping[str, str]) -> dict[str, Plan | DatasetError]:
        """Return the plans for the revisions on the Hub; read the state again if it is no longer fresh.

        A job that has come since the Hub was asked may be of a newer revision: it is not deleted, and then no
        jobs are created for the older one.

        An incoherent dataset is read and planned a second time, at one moment: it also looks incoherent if a
        worker adds a config between the two queries of the first reading.
        """
        if not revisions:
            return {}
        state, known_plans = part.state, part.plans
        if state is None or not state.is_fresh:
            state, known_plans = self._read(list(revisions)), {}
        plans = {
            name: plan
            if (plan := known_plans.get(name)) and plan.revision == revision
            else self._plan(name, revision, state, part.known)
            for name, revision in revisions.items()
        }
        plans = _sparing_new_jobs(plans, state, part.jobs_before)
        in_doubt = [
            name
            for name, plan in plans.items()
            if isinstance(plan, Plan) and plan.incoherent and name not in part.known.rebuilds
        ]
        if in_doubt:
            state = self._read(in_doubt, at_one_moment=True)
            second = {name: self._plan(name, revisions[name], state, part.known) for name in in_doubt}
            plans |= _sparing_new_jobs(second, state, part.jobs_before)
        return plans

    def _read(self, names: Sequence[str], *, at_one_moment: bool = False) -> State:
        return retried(partial(self._read_once, names, at_one_moment))

    def _read_once(self, names: Sequence[str], at_one_moment: bool) -> State:
        """Read the jobs before the entries: whoever creates a job has written first what makes it necessary.

        The other way round, the job of a child, created between the two, would look as if nobody needed it.
        """
        read_at = time.monotonic()
        jobs = self.queue.pending_jobs(names)
        return State(self.cache.read(names, at_one_moment=at_one_moment), jobs, read_at)

    def _plan(self, name: str, revision: str, state: State, known: Known) -> Plan | DatasetError:
        cached, jobs = state.cached[name], state.jobs.get(name, [])
        if isinstance(cached, DatasetError):
            return cached
        if isinstance(jobs, DatasetError):
            return jobs
        try:
            plan = self.planner(self.release, cached, jobs, revision, rebuild=name in known.rebuilds)
            if plan.incoherent:
                dataset_folder(name)  # An unsafe name must fail before anything of the dataset is removed.
        except DatasetError as error:
            return error
        return plan


def _known_of(names: Sequence[str], known: Known) -> Known:
    revisions = {name: known.revisions[name] for name in names if name in known.revisions}
    return Known(revisions, known.rebuilds & set(names))


def _proofs(names: Iterable[str], plans: Mapping[str, Plan], state: State) -> Iterator[tuple[str, Proof]]:
    for name in names:
        cached, plan = state.cached[name], plans.get(name)
        if plan and plan.is_empty and not state.jobs.get(name) and isinstance(cached, CachedDataset):
            yield name, Proof(plan.revision, len(cached.entries), plan.artifacts.up_to_date)


def _sparing_new_jobs(
    plans: Mapping[str, Plan | DatasetError], state: State, jobs_before: Set[ObjectId]
) -> dict[str, Plan | DatasetError]:
    return {
        name: plan if isinstance(plan, DatasetError) else _sparing_new_jobs_of(plan, state, jobs_before)
        for name, plan in plans.items()
    }


def _sparing_new_jobs_of(plan: Plan, state: State, jobs_before: Set[ObjectId]) -> Plan:
    jobs = state.jobs.get(plan.dataset, [])
    new = [] if isinstance(jobs, DatasetError) else [job for job in jobs if job.id not in jobs_before]
    if not new:
        return plan
    deleted = tuple(job for job in plan.deleted_jobs if job.id in jobs_before)
    is_outdated = any(job.revision != plan.revision for job in new)
    return replace(plan, deleted_jobs=deleted, new_jobs=() if is_outdated else plan.new_jobs)
