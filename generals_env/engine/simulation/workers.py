"""Runs calls on threads that wait for them at locks: waking a thread by a future costs as much as a hundred turns."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["Workers"]


class Worker:
    """A thread that runs one call at a time."""

    def __init__(self, number: int) -> None:
        """Start the thread; it does not keep the program alive."""
        self.given, self.done = threading.Lock(), threading.Lock()
        self.given.acquire()
        self.done.acquire()
        self.call: Callable[[], Any] | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        threading.Thread(target=self.work, name=f"generals_env_{number}", daemon=True).start()

    def work(self) -> None:
        """Run calls until None is given."""
        while True:
            self.given.acquire()
            call = self.call
            if call is None:
                return
            try:
                self.result, self.error = call(), None
            except BaseException as error:  # ``Workers.run`` raises it in the thread that gave the call
                self.result, self.error = None, error
            self.call = call = None
            self.done.release()

    def give(self, call: Callable[[], Any] | None) -> None:
        """Start a call; None ends the thread."""
        self.call = call
        self.given.release()

    def wait(self) -> None:
        """Wait until the call has ended, also if a signal handler raises meanwhile; raise its exception then."""
        try:
            self.done.acquire()
        except BaseException:
            self.done.acquire()
            raise


class Workers:
    """Threads for all but the first of several calls, which runs on the calling thread."""

    def __init__(self) -> None:
        """Start without threads."""
        self._workers: list[Worker] = []
        self._process = os.getpid()
        self._finalizer: Callable[[], Any] = list

    def run(self, calls: list[Callable[[], Any]]) -> list[Any]:
        """Run the calls at the same time and return their results; all have ended when one of their exceptions is raised."""
        others = self._enough(len(calls) - 1)
        given = 0
        try:
            for worker, call in zip(others, calls[1:], strict=True):
                worker.give(call)
                given += 1
            first = calls[0]()
        finally:
            wait_for(others[:given])
        for worker in others:
            if worker.error is not None:
                raise worker.error
        return [first, *(worker.result for worker in others)]

    def _enough(self, count: int) -> list[Worker]:
        if self._process != os.getpid():  # a forked process has no threads of its parent
            self._workers, self._process = [], os.getpid()
        if len(self._workers) < count:
            self._finalizer()
            self._workers = [Worker(number) for number in range(count)]
            self._finalizer = weakref.finalize(self, end, self._workers)
        return self._workers[:count]

    def close(self) -> None:
        """End the threads."""
        if self._process == os.getpid():
            self._finalizer()
        self._workers, self._finalizer = [], list


def wait_for(workers: list[Worker]) -> None:
    """Wait until all calls have ended, also if a signal handler raises meanwhile."""
    if workers:
        try:
            workers[0].wait()
        finally:
            wait_for(workers[1:])


def end(workers: list[Worker]) -> None:
    """End threads that have no call."""
    for worker in workers:
        worker.give(None)
