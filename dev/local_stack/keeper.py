"""Work in a child process that leaves no process behind, no matter how it ends."""

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
_PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>, like the next one
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None)


def keep(work: Callable[[], int], *, on_signal: Callable[[], None]) -> int | None:
    """Do the work in a child process, and stop all of its descendants at the end.

    A signal handler that raises an exception can interrupt the work anywhere: the exception may get lost, or
    leave a lock behind. So this process only waits for signals. SIGINT, SIGTERM and SIGHUP (except under
    nohup) end the child at once. The servers that it started end with it, because Linux signals them.

    :param work: returns the exit code of the child.
    :param on_signal: called after one of the signals.
    :return: the exit code of the child, None if a signal ended it.
    """
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.add(signal.SIGHUP)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    child = os.fork()
    if child == 0:
        os.setsid()  # Ctrl-C reaches only the parent.
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
    """Return the exit codes of the children that have ended since the last call."""
    exit_codes = {}
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            exit_codes[ended[0]] = os.waitstatus_to_exitcode(ended[1])
    return exit_codes


def _stop_descendants() -> None:
    """Wait until all descendants have ended, and kill them if they take too long.

    A process whose parent has ended becomes our own child, so every descendant becomes one.
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
