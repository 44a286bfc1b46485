"""The three kinds of failures, by what to do about them."""

from __future__ import annotations


class ConfigurationError(Exception):
    """Something that a person must fix: a retry would fail in the same way."""


class ServiceError(Exception):
    """A service cannot be reached or answers with an error: a retry, later, may succeed."""


class DatasetError(Exception):
    """One dataset cannot be handled: the run counts it, leaves it unchanged, and goes on with the others."""
