"""The three ways in which maintenance can fail, told apart by what helps."""

from __future__ import annotations


class ConfigurationError(Exception):
    """Something that a person must mend: another attempt would fail in the same way."""


class ServiceError(Exception):
    """A service cannot be reached or answers with an error: another attempt, later, may succeed."""


class DatasetError(Exception):
    """One dataset cannot be handled: it is counted and left as it is, and the others go on."""
