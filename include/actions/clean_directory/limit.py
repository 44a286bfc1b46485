"""How much a cleaning may delete before a person has to approve."""

from __future__ import annotations

from dataclasses import dataclass

from include.actions.clean_directory.report import CleaningSummary


@dataclass(frozen=True, slots=True)
class DeletionLimit:
    """The maximum number of bytes and paths that a run deletes without an approval; None for no limit."""

    bytes: int | None = None
    paths: int | None = None

    @classmethod
    def lowest(cls, configured: DeletionLimit, lowered_to: DeletionLimit) -> DeletionLimit:
        """Return the configured limit, which whoever started the run can only lower."""
        return cls(_lower(configured.bytes, lowered_to.bytes), _lower(configured.paths, lowered_to.paths))

    @property
    def exists(self) -> bool:
        """Whether there is any limit."""
        return self.bytes is not None or self.paths is not None

    def is_exceeded_by(self, total: CleaningSummary) -> bool:
        """Return whether a run would delete more."""
        too_large = self.bytes is not None and total.bytes_freed > self.bytes
        return too_large or (self.paths is not None and total.files + total.folders > self.paths)


def _lower(one: int | None, other: int | None) -> int | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)
