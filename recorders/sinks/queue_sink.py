"""One of several sinks that are written to at once: what it has not taken yet, and the thread that gives it to it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from generals_env.errors import ConfigError, StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import Sink
from generals_env.recorders.sinks.pending_batches import PendingBatch, PendingBatches

__all__ = ["QueueSink"]

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds until a sink that refuses is tried again, though nothing new is written

CLOSING_PAUSES = (0.1, 0.2, 0.4, 0.8)  # seconds between the last tries


class QueueSink:
    """A sink, a queue of the batches that it has not taken yet, and a thread, so that other sinks do not wait for it.

    A batch that the sink refuses stays in the queue, with those behind it, and is given again: once for every batch that is
    written, by ``flush`` and ``close``, and from time to time. One for which the sink raises ``ConfigError`` is wrong and
    will always be: it is given up, and the next one follows.

    Attributes:
        sink: The sink.
        lost: Experiences that it will never have.
        error: What it raised last, None if all went well.
    """

    def __init__(self, sink: Sink, max_batches: int, max_bytes: int) -> None:
        self.sink = sink
        self.lost = 0
        self.error: BaseException | None = None
        self._name = type(sink).__name__
        self._changed = threading.Condition()
        self._waiting = PendingBatches(max_bytes, max_batches)  # each with a future for what becomes of it
        self._is_giving = False  # whether the first of them is with the sink
        self._refuses = False
        self._wrong = 0  # experiences given up since ``flush`` has told of such
        self._tries = 0  # that were asked for
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._is_over = False
        threading.Thread(target=self._run, daemon=True, name=f"sink {self._name}").start()

    # --- What others call -----------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Experiences that wait."""
        return self._waiting.experiences

    def is_full(self, size: int) -> bool:
        """Return whether there is no room for a batch that takes ``size`` bytes."""
        with self._changed:
            return self._waiting.is_full(size)

    def wait_for_room(self, size: int, seconds: float) -> bool:
        """Return whether there is room, after waiting for it."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting.is_full(size), seconds)

    def drop_oldest(self, size: int) -> None:
        """Give up the oldest batches until there is room, but not the one that is with the sink."""
        with self._changed:
            kept = int(self._is_giving)
            while self._waiting.is_full(size) and len(self._waiting) > kept:
                text = f"sink: expected {self._name} to keep up, got {len(self._waiting)} batches waiting"
                dropped = self._waiting.drop(kept)
                self.lost += len(dropped.batch)
                settle(dropped, error=StorageError(text))
                logger.warning("%s: %d experiences are given up", text, len(dropped.batch))

    def put(self, batch: ExperienceBatch) -> Future[Any]:
        """Put a batch into the queue.

        Returns:
            What becomes of it: what ``write`` returns, or what the sink raises at its next try; then the batch waits on.
        """
        if self._refuses:  # it may wait for long, and its arrays may be parts of larger ones
            batch = batch.compact()
        future: Future[Any] = Future()
        with self._changed:
            self._waiting.append(batch, future)
            self._tries = min(self._tries + 1, len(self._waiting))
            self._changed.notify_all()
        return future

    def offer(self) -> Future[Any]:
        """Let the thread give the sink what waits, now."""
        return self._call(self._give)

    def flush(self) -> Future[Any]:
        """Let the thread give the sink what waits, and flush it."""
        return self._call(self._flush)

    def close(self) -> Future[Any]:
        """Let the thread give the sink what waits, with some patience, close it, and end."""
        return self._call(self._close)

    def _call(self, function: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        with self._changed:
            self._calls.append((function, future))
            self._changed.notify_all()
        return future

    # --- In the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._is_over:
            with self._changed:
                self._changed.wait_for(lambda: self._calls or self._tries, pause if self._waiting else None)
                call = self._calls.popleft() if self._calls else None
                self._tries = max(self._tries - 1, 0)
            if call is None:
                pause = FIRST_PAUSE if self._give() is None else min(2 * pause, LONGEST_PAUSE)
                continue
            function, future = call
            try:
                future.set_result(function())
            except BaseException as error:  # the caller is told; the thread has to go on
                future.set_exception(error)

    def _give(self) -> BaseException | None:
        """Give the sink what waits, in order; return what it raised, None if it has taken all."""
        while True:
            with self._changed:
                self._changed.notify_all()
                if not self._waiting:
                    self._tries = 0
                    if self._refuses:
                        logger.warning("%s takes experiences again", self._name)
                    self._refuses = False
                    return None
                waiting = self._waiting.first
                self._is_giving = True
            try:
                answer = self.sink.write(waiting.batch)
            except BaseException as error:  # a sink may raise anything; the thread has to go on
                if not self._has_refused(waiting, error):
                    return error
            else:
                with self._changed:
                    self._is_giving = False
                    settle(self._waiting.pop(), answer)

    def _has_refused(self, waiting: PendingBatch, error: BaseException) -> bool:
        """Take note of a batch that the sink has not taken; return whether it is given up."""
        with self._changed:
            self._is_giving = False
            self._changed.notify_all()
            self.error = error
            if isinstance(error, ConfigError):
                count = len(self._waiting.pop().batch)
                self.lost += count
                self._wrong += count
                logger.error("%s can never take %d experiences: %s", self._name, count, error)
                settle(waiting, error=error)
                return True
            if not self._refuses:
                logger.warning("%s refuses %d experiences, which wait: %s", self._name, self.waiting, error)
            self._refuses = True
            for each in self._waiting:
                settle(each, error=error)
            return False

    def _flush(self) -> None:
        refusal = self._give()
        failure = self._failure_of(self.sink.flush)
        if refusal is not None:
            raise StorageError(f"{refusal} ({self.waiting} experiences wait)") from refusal
        self._raise_if_any(failure)

    def _close(self) -> None:
        refusal = self._give()
        for pause in CLOSING_PAUSES:
            if refusal is None:
                break
            time.sleep(pause)
            refusal = self._give()
        self._is_over = True
        with self._changed:
            lost = self._waiting.clear()
            self.lost += lost
        failure = self._failure_of(self.sink.close)
        if refusal is not None:
            logger.error("%s never took %d experiences: %s", self._name, lost, refusal)
            raise StorageError(f"{refusal} ({lost} experiences were not taken, and are lost)") from refusal
        self._raise_if_any(failure)

    def _failure_of(self, function: Callable[[], None]) -> BaseException | None:
        """Call a method of the sink, and return what it raises."""
        try:
            function()
        except BaseException as error:  # the caller raises it when all else is done
            self.error = error
            return error
        return None

    def _raise_if_any(self, failure: BaseException | None) -> None:
        """Raise what went wrong: a failure, or experiences that the sink can never take."""
        if failure is not None:
            raise failure
        wrong, self._wrong = self._wrong, 0
        if wrong:
            raise StorageError(f"{self.error} ({wrong} experiences can never be taken)") from self.error


def settle(waiting: PendingBatch, answer: Any = None, error: BaseException | None = None) -> None:
    """Tell what became of a batch at its first try."""
    future: Future[Any] = waiting.beside
    if future.done():
        return
    if error is None:
        future.set_result(answer)
    else:
        future.set_exception(error)
