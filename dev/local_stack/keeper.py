"""Work in a process of its own, of whose descendants none is left behind, whatever ends it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_STOP_SECONDS = 5
_POLL_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>, as the next
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None)


def keep(work: Callable[[], int], *, on_signal: Callable[[], None]) -> int | None:
    """Do the work in a child process, and in the end stop every process that descends from it.

    A signal that is turned into an exception may get lost, or leave a lock behind: it hits the work anywhere.
    So this process does nothing but wait for one. SIGINT, SIGTERM and SIGHUP (not under nohup) end the child
    at once, and the servers that it started end with it, because the system tells them.

    :param work: it gives the child's exit code, with which the child raises SystemExit.
    :param on_signal: called when one of the signals has come.
    :return: the child's exit code; None if a signal has ended it.
    """
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.add(signal.SIGHUP)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    child = os.fork()
    if child == 0:
        os.setsid()  # Ctrl-C is for the parent alone.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        sys.exit(work())
    exit_code = None
    while exit_code is None and signal.sigwait(signals) == signal.SIGCHLD:
        exit_code = _reap().get(child)
    if exit_code is None:
        on_signal()
        os.kill(child, signal.SIGTERM)
    _stop_descendants()
    return exit_code


def _reap() -> dict[int, int]:
    """Return the exit codes of the children that have ended since the last time."""
    exit_codes = {}
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            exit_codes[ended[0]] = os.waitstatus_to_exitcode(ended[1])
    return exit_codes


def _stop_descendants() -> None:
    """Wait for those that are ending, and kill them if they take too long.

    A process whose parent has ended becomes our own child, so that in the end all of them have been.
    """
    deadline = time.monotonic() + _STOP_SECONDS
    while children := _children():
        if time.monotonic() > deadline:
            for child in children:
                os.kill(child, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
        _reap()


def _children() -> list[int]:
    own = os.getpid()
    return [int(pid) for pid in Path(f"/proc/self/task/{own}/children").read_text(encoding="ascii").split()]
