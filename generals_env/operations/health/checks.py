"""Makes the checks of a ``HealthReport``: a log that takes writes, work that progresses, a worker that answers."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from generals_env.engine.boards import empty_boards
from generals_env.engine.packed.packing import pack
from generals_env.operations.health.health_report import Check
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.log import ExperienceLog

__all__ = ["log_check", "progress_check", "worker_check"]


def log_check(log: ExperienceLog) -> Check:
    """Return a check that the log takes writes: an empty batch fails for the same reasons as any other."""
    empty = ExperienceBatch((), np.zeros(0, EXPERIENCE), pack(empty_boards(0, 4, 4, 2)), (4, 4))

    def check() -> None:
        _ = log.last  # a closed log, or a folder that cannot be read
        log.write(empty)

    return check


def progress_check(name: str, waiting: Callable[[], int], done: Callable[[], int], seconds: float) -> Check:
    """Return a check that work which waits gets done: it fails if nothing of it was done for some time.

    Args:
        name: What does the work, for example ``storage``.
        waiting: Number of experiences that wait now.
        done: Number of experiences done so far.
        seconds: Time without progress after which the check fails.
    """
    last, moved = -1, time.monotonic()

    def check() -> str | None:
        nonlocal last, moved
        count, left = done(), waiting()
        if count != last or left == 0:
            last, moved = count, time.monotonic()
        still = time.monotonic() - moved
        if still <= seconds:
            return None
        return f"{name}: expected progress within {seconds:g} s, got none for {still:.0f} s with {left:,} experiences waiting"

    return check


def worker_check(name: str, alive: Callable[[], bool], answered: Callable[[], float], seconds: float) -> Check:
    """Return a check that a worker process lives and answers.

    Args:
        name: Name of the worker.
        alive: Whether its process runs.
        answered: When it answered last, by ``time.monotonic``.
        seconds: Time without an answer after which the check fails.
    """

    def check() -> str | None:
        if not alive():
            return f"{name}: expected a running process, got one that ended: it is started again"
        silent = time.monotonic() - answered()
        if silent <= seconds:
            return None
        return f"{name}: expected an answer within {seconds:g} s, got none for {silent:.0f} s: look at /debug/threads"

    return check
