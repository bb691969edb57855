"""The threads on which large work is divided; kernels let go of the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from generals_env.engine.simulation.interruptible_spans import joined

__all__ = ["available_cores", "divided"]

_pools: dict[int, ThreadPoolExecutor] = {}


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def divided(run: Callable[[int, int], Any], count: int, least: int) -> list[Any]:
    """Call ``run(low, high)`` for parts of ``range(count)`` on all cores, and return what each part gave.

    Args:
        run: What to do; it holds no lock that it needs itself.
        count: How much there is to do.
        least: Of a part: waking a thread takes some hundred microseconds.
    """
    parts = max(min(available_cores(), count // least), 1)
    if parts == 1:
        return [run(0, count)]
    edges = [count * k // parts for k in range(parts + 1)]
    process = os.getpid()  # a fork has none of its parent's threads
    if process not in _pools:
        _pools.clear()
        _pools[process] = ThreadPoolExecutor(available_cores() - 1, thread_name_prefix="generals_env")
    others: list[Future[Any]] = []
    try:
        for low, high in pairwise(edges[1:]):
            others.append(begun(_pools[process], run, low, high))
        first = run(0, edges[1])
    finally:  # no thread works on after an exception: what it writes to may be put to another use
        rest = joined(others)
    return [first, *rest]


def begun(pool: ThreadPoolExecutor, run: Callable[[int, int], Any], low: int, high: int) -> Future[Any]:
    """Let the pool do a part; do it here where it takes no more, as at the end of the program, when recorders are closed."""
    try:
        return pool.submit(run, low, high)
    except RuntimeError as error:
        if "cannot schedule" not in str(error):  # no thread can be made, and the part may be done by another one
            raise
        done: Future[Any] = Future()
        done.set_result(run(low, high))
        return done
