"""A run in a process of its own, which stops itself between its last look at its lease and its write."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from datetime import timedelta
from multiprocessing.process import BaseProcess
from typing import Any

import psutil
from pymongo import MongoClient

from include.databases import lease
from include.databases.fence import LostRightError
from include.databases.lease import Lease
from include.databases.queue_store import QueueStore
from include.planning.dataset_state import Priority
from include.planning.plan import Plan
from include.planning.processing_graph import load_release
from tests.conftest import Databases

LOST_ITS_RIGHT = 3


def start(mongo_uri: str, databases: Databases, plan: Plan, lasts: float) -> BaseProcess:
    """Start a run that has a lease of so many seconds and is to write a plan."""
    names = databases.queue.name, databases.maintenance.name
    process = multiprocessing.get_context("forkserver").Process(
        target=_write_after_a_pause, args=(mongo_uri, *names, plan, lasts)
    )
    process.start()
    return process


def is_paused(process: BaseProcess) -> bool:
    return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


def resume(process: BaseProcess) -> None:
    psutil.Process(process.pid).resume()


def _write_after_a_pause(uri: str, queue_name: str, maintenance_name: str, plan: Plan, lasts: float) -> None:
    lease.LASTS = timedelta(seconds=lasts)
    with MongoClient[dict[str, Any]](uri) as client:
        queue = QueueStore(client[queue_name], load_release("2024-03"))
        with Lease(client[maintenance_name], "backfill", "our run").held() as right:
            right.check()
            os.kill(os.getpid(), signal.SIGSTOP)
            try:
                queue.apply([plan], Priority.LOW, right=right)
            except LostRightError:
                sys.exit(LOST_ITS_RIGHT)
