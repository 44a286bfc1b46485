"""Which datasets a run need not read, because nothing has changed since they were proven to be up to date."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from include.databases.cache_store import CacheStore
from include.databases.mongo import DOCUMENTS_PER_TRANSACTION, retried
from include.databases.proof_store import Proof, ProofStore
from include.databases.right_to_write import UNRESTRICTED, RightToWrite
from include.planning.processing_graph import Release

#: To be raised when ``plan_dataset`` judges entries by other rules: then no earlier record holds.
RULES = 1


def fingerprint(release: Release) -> str:
    """Return a text that differs for releases by which a dataset could be judged differently."""
    rules = {
        "rules": RULES,
        "steps": [
            (step.name, step.input_type, step.job_runner_version, [parent.name for parent in step.parents])
            for step in release.steps
        ],
        "max_failed_runs": sorted(release.max_failed_runs.items()),
        "null_version_is_obsolete": release.null_version_is_obsolete,
        "rebuilds_incoherent_caches": release.rebuilds_incoherent_caches,
    }
    return hashlib.sha256(json.dumps(rules).encode()).hexdigest()[:16]


def look_for_changes(
    cache: CacheStore, store: ProofStore, clock_tolerance: timedelta, right: RightToWrite = UNRESTRICTED
) -> None:
    """Withdraw the records of the datasets that have changed since the last look.

    :param clock_tolerance: by how much the clocks of the workers and of the database may differ at most.
    :param right: only a run that has it may look.
    :raises ServiceError: if the right is lost.
    """
    begun_at = retried(store.now)
    last = retried(store.last_look)
    if last is None:
        store.withdraw_all()
    else:
        store.withdraw(cache.names_changed_since(last.begun_at - clock_tolerance))
    store.note_look(begun_at, right)


def changed_since_last_look(cache: CacheStore, store: ProofStore, clock_tolerance: timedelta) -> Set[str]:
    """Return the datasets whose records a look would withdraw: all, if there was none yet."""
    last = retried(store.last_look)
    since = datetime.min.replace(tzinfo=UTC) if last is None else last.begun_at - clock_tolerance
    return set(cache.names_changed_since(since))


def time_since_all_was_read(store: ProofStore) -> timedelta | None:
    """Return how long ago the last run began that read every dataset; None if that is not known."""
    last = retried(store.last_look)
    if last is None or last.all_read_at is None:
        return None
    return retried(store.now) - last.all_read_at


@dataclass(slots=True)
class Proofs:
    """The records that a run may use, and those that it keeps.

    :param rules: the :func:`fingerprint` of the rules of the run.
    :param right: checked in each transaction.
    :param used: whether the run leaves out what the records prove; otherwise it reads everything.
    :param kept: whether the run keeps records; a dry run does not.
    :param changed: datasets whose records do not hold: a dry run withdraws none.
    """

    store: ProofStore
    rules: str
    right: RightToWrite = UNRESTRICTED
    used: bool = True
    kept: bool = True
    changed: Set[str] = frozenset()
    _new: dict[str, Proof] = field(default_factory=dict, init=False)

    def of(self, names: Collection[str]) -> dict[str, Proof]:
        """Return the records that hold, if the number of entries is still the same."""
        if not self.used:
            return {}
        found = self.store.among(names, self.rules)
        return {name: proof for name, proof in found.items() if name not in self.changed}

    def add(self, proofs: Mapping[str, Proof]) -> None:
        """Keep the proofs of some datasets, soon.

        :raises ServiceError: if the right is lost.
        """
        self._new.update(proofs)
        if len(self._new) >= DOCUMENTS_PER_TRANSACTION // 2:  # Each is a deletion and an insertion.
            self.flush()

    def flush(self) -> None:
        """Keep those that were added.

        :raises ServiceError: if the right is lost.
        """
        if self.kept:
            self.store.keep(self._new, self.rules, self.right)
        self._new.clear()
