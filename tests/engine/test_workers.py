"""Tests the threads that play parts of a batch."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from generals_env.engine.simulation.workers import Workers


def barrier_calls(count: int) -> list[Callable[[], Any]]:
    meeting = threading.Barrier(count, timeout=60)

    def meet(number: int) -> tuple[int, int]:
        meeting.wait()  # ends only if all calls run at the same time
        return number, threading.get_ident()

    return [partial(meet, number) for number in range(count)]


def test_calls_run_at_the_same_time_and_return_in_order() -> None:
    workers = Workers()
    for count in (1, 2, 4, 2):
        results = workers.run(barrier_calls(count))
        assert [number for number, _ in results] == list(range(count))
        assert results[0][1] == threading.get_ident()
        assert len({thread for _, thread in results}) == count
    workers.close()


@pytest.mark.parametrize("failing", range(3))
def test_exception_is_raised_after_all_calls_have_ended(failing: int) -> None:
    workers = Workers()
    ended = []

    def call(number: int) -> None:
        if number == failing:
            raise ValueError(f"call {number}")
        threading.Event().wait(0.05)
        ended.append(number)

    with pytest.raises(ValueError, match=f"call {failing}"):
        workers.run([partial(call, number) for number in range(3)])
    assert sorted(ended) == [number for number in range(3) if number != failing]
    assert len(workers.run(barrier_calls(3))) == 3  # an error of an earlier call is not raised again
    workers.close()


def test_close_and_garbage_collection_end_the_threads() -> None:
    before = set(threading.enumerate())  # other tests of this process may have threads that go on
    workers = Workers()
    workers.run(barrier_calls(3))
    others = Workers()
    others.run(barrier_calls(2))
    threads = [thread for thread in threading.enumerate() if thread not in before]
    assert len(threads) >= 2
    workers.close()
    workers.close()
    del others
    gc.collect()
    for thread in threads:
        thread.join(60)
    assert set(threads).isdisjoint(threading.enumerate())
    assert len(workers.run(barrier_calls(2))) == 2  # new threads after close
    workers.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_process_starts_its_own_threads() -> None:
    workers = Workers()
    workers.run(barrier_calls(2))
    child = os.fork()
    if child == 0:
        try:
            os._exit(len(workers.run(barrier_calls(2))))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    workers.close()
