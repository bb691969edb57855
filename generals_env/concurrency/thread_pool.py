"""Divides large tasks among the threads of a shared pool; kernels release the interpreter lock."""

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
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def divided(run: Callable[[int, int], Any], count: int, min_count: int) -> list[Any]:
    """Call ``run(low, high)`` for ranges that divide ``range(count)``, on all cores, and return the results in order.

    Args:
        run: Function to call; the caller must not hold a lock that it needs.
        count: Number of items.
        min_count: Minimum number of items a range: waking a thread takes some hundred microseconds.
    """
    parts = max(min(available_cores(), count // min_count), 1)
    if parts == 1:
        return [run(0, count)]
    edges = [count * k // parts for k in range(parts + 1)]
    process = os.getpid()  # the threads of the pool do not exist in a forked child
    if process not in _pools:
        _pools.clear()
        _pools[process] = ThreadPoolExecutor(available_cores() - 1, thread_name_prefix="generals_env")
    others: list[Future[Any]] = []
    try:
        for low, high in pairwise(edges[1:]):
            others.append(begun(_pools[process], run, low, high))
        first = run(0, edges[1])
    finally:  # wait for all threads also after an exception: the caller may reuse the arrays they write to
        rest = joined(others)
    return [first, *rest]


def begun(pool: ThreadPoolExecutor, run: Callable[[int, int], Any], low: int, high: int) -> Future[Any]:
    """Submit a range to the pool; run it here if the pool is shut down, as at exit, when recorders are closed."""
    try:
        return pool.submit(run, low, high)
    except RuntimeError as error:
        if "cannot schedule" not in str(error):  # a thread could not be started, but another one may run the range
            raise
        done: Future[Any] = Future()
        done.set_result(run(low, high))
        return done
