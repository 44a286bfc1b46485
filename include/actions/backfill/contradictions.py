"""What the Hub's listing says against the Hub's answer about one dataset."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from include.databases.maintenance_store import MaintenanceStore
from include.databases.mongo import retried
from include.errors import DatasetError
from include.hub.answers import Support, Unsupported

Supports = Mapping[str, Support | DatasetError]


def without_contradictions(supports: Supports, maintenance: MaintenanceStore) -> Supports:
    """Return the answers, with an error for each dataset that is listed but not found.

    :param maintenance: with the listing of the run, if it has one.
    """
    not_found = [
        name for name, answer in supports.items() if isinstance(answer, Unsupported) and answer.not_found
    ]
    listed = retried(partial(maintenance.listed_among, not_found))
    return {name: _contradiction() if name in listed else answer for name, answer in supports.items()}


def _contradiction() -> DatasetError:
    return DatasetError(
        "the Hub does not find it, but lists it: the next listing will tell whether it was deleted meanwhile"
    )
