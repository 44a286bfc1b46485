"""The right to write, which a program needs for each of its writes, and may lose on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pymongo.client_session import ClientSession


class RightToWrite(Protocol):
    """The right to write, as long as no other run has taken it over."""

    def check(self, session: ClientSession | None = None) -> None:
        """Make sure that the right is still there. This also reports progress.

        :param session: a session with a transaction. The transaction then cannot be committed if the right is
            lost before its end. Without one, check right before the write.
        :raises ServiceError: if the right is lost.
        """

    def progress(self) -> None:
        """Report that the program is not stuck, which otherwise loses the right after a while."""


class _Unrestricted:
    """The right of a program that shares nothing with others, or writes nothing."""

    def check(self, session: ClientSession | None = None) -> None:
        """Never raise an error."""

    def progress(self) -> None:
        """Do nothing."""


UNRESTRICTED = _Unrestricted()
