"""Queues batches for a sink and writes them from a thread, so that other sinks do not wait for it."""

from __future__ import annotations

import logging
import math
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

FIRST_PAUSE, MAX_PAUSE = 1.0, 30.0  # seconds until a refused batch is offered again if no other is written meanwhile

CLOSING_PAUSES = (0.1, 0.2, 0.4, 0.8)  # seconds between the tries of ``close``


class QueueSink:
    """A sink with a queue of batches and a thread that writes them to it in order.

    A batch that the sink refuses stays at the head of the queue, and is offered again: once for every batch that is written, by
    ``flush`` and ``close``, and from time to time. A batch for which the sink raises ``ConfigError`` can never be written: it
    is dropped, and the next one follows.

    Attributes:
        sink: The sink.
        written: Experiences that the sink has taken.
        lost: Experiences that were dropped.
        error: The last error of the sink, None if there was none.
        changed: Guards the queue and the counts, and is notified when they change.
    """

    def __init__(self, sink: Sink, max_batches: int, max_bytes: int) -> None:
        self.sink = sink
        self.written = 0
        self.lost = 0
        self.error: BaseException | None = None
        self._name = type(sink).__name__
        self.changed = threading.Condition()
        self._queue = PendingBatches(max_bytes, max_batches)  # the attachment of each is the future of its first try
        self._is_writing = False  # whether the sink is writing the first of them
        self._refuses = False
        self._wrong = 0  # experiences dropped after a ConfigError since the last ``flush`` that raised for them
        self._tries = 0  # requested by ``put``
        self._failure: BaseException | None = None  # see ``take_failure``
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._is_over = False
        threading.Thread(target=self._run, daemon=True, name=f"sink {self._name}").start()

    # --- Called from other threads --------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Experiences in the queue."""
        return self._queue.experiences

    @property
    def problem(self) -> str | None:
        """Why the sink refuses the oldest batch of the queue; None if it does not."""
        return f"{self._name}: {self.error}" if self._refuses else None

    def is_full(self, size: int) -> bool:
        """Return whether the queue has no room for a batch of ``size`` bytes."""
        with self.changed:
            return self._queue.is_full(size)

    def wait_for_room(self, size: int, seconds: float) -> bool:
        """Wait up to ``seconds`` for room for a batch of ``size`` bytes; return whether there is room."""
        with self.changed:
            return self.changed.wait_for(lambda: not self._queue.is_full(size), seconds)

    def drop_oldest(self, size: int) -> None:
        """Drop the oldest batches until there is room, but not the one that the sink is writing."""
        with self.changed:
            kept = int(self._is_writing)
            while self._queue.is_full(size) and len(self._queue) > kept:
                text = f"sink: expected {self._name} to keep up, got {len(self._queue)} batches waiting: raise max_waiting"
                dropped = self._queue.drop(kept)
                self.lost += len(dropped.batch)
                settle(dropped, error=StorageError(text))
                logger.warning("%s: %d experiences are dropped", text, len(dropped.batch))

    def drop_experiences(self, count: int) -> int:
        """Drop the oldest ``count`` experiences, but none that the sink is writing, and return how many were dropped."""
        with self.changed:
            kept, left = int(self._is_writing), count
            while left and len(self._queue) > kept:
                oldest = self._queue[kept].batch
                if left < len(oldest):
                    self._queue.cut(kept, left)
                    left = 0
                else:
                    left -= len(oldest)
                    settle(
                        self._queue.drop(kept), error=StorageError(f"sink: expected {self._name} to keep up, got a full queue")
                    )
            return count - left

    def put(self, batch: ExperienceBatch, is_view: bool = False) -> Future[Any]:
        """Put a batch into the queue.

        Args:
            batch: The batch.
            is_view: Whether it is a slice of a larger one: the thread copies what it needs before it writes.

        Returns:
            The future of its first try: the result of the sink's ``write``, or the error that it raises; then the batch stays
            in the queue.
        """
        if self._refuses:  # the batch may be queued for long, and its arrays may be views of larger ones
            batch, is_view = batch.compact(), False
        future: Future[Any] = Future()
        with self.changed:
            self._queue.append(batch, future, is_view)
            self._tries = min(self._tries + 1, len(self._queue))
            self.changed.notify_all()
        return future

    def take_failure(self) -> BaseException | None:
        """Return the last error of the sink that is no ``OSError``, once: such an error does not go away by itself."""
        with self.changed:
            failure, self._failure = self._failure, None
            if isinstance(failure, ConfigError):
                self._wrong = 0
            return failure

    def offer(self) -> Future[Any]:
        """Let the thread offer the batches of the queue to the sink now."""
        return self._call(self._offer_present)

    def flush(self) -> Future[Any]:
        """Let the thread offer the batches of the queue to the sink, and flush it."""
        return self._call(self._flush)

    def close(self) -> Future[Any]:
        """Let the thread offer the batches of the queue to the sink, several times, close it, and end."""
        return self._call(self._close)

    def _call(self, function: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        with self.changed:
            self._calls.append((function, future))
            self.changed.notify_all()
        return future

    # --- In the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._is_over:
            with self.changed:
                self.changed.wait_for(lambda: self._calls or self._tries, pause if self._queue else None)
                call = self._calls.popleft() if self._calls else None
                self._tries = max(self._tries - 1, 0)
            if call is None:
                pause = FIRST_PAUSE if self._offer_all(until_call=True) is None else min(2 * pause, MAX_PAUSE)
                continue
            function, future = call
            try:
                future.set_result(function())
            except BaseException as error:  # raised to the caller by the future; the thread has to continue
                future.set_exception(error)

    def _offer_all(self, until_call: bool = False, until: float = math.inf) -> BaseException | None:
        """Write the batches of the queue to the sink in order; return its error, None if it has taken all or as many as asked.

        Args:
            until_call: Whether to stop for a call of another thread.
            until: Number of batches that must have left the queue: other threads may append further ones all the time.
        """
        while True:
            with self.changed:
                self.changed.notify_all()
                if not self._queue:
                    self._tries = 0
                    self._accept()
                    return None
                if self._queue.removed >= until or (until_call and self._calls):
                    self._tries = max(self._tries, 1)
                    return None
                pending = self._queue.first
                self._is_writing = True
            try:
                if pending.is_view:
                    pending.batch, pending.is_view = pending.batch.compact(), False
                answer = self.sink.write(pending.batch)
            except BaseException as error:  # a sink may raise anything; the thread has to continue
                if not self._has_refused(pending, error):
                    return error
            else:
                with self.changed:
                    self._is_writing = False
                    self.written += len(pending.batch)
                    self._accept()
                    settle(self._queue.pop(), answer)

    def _accept(self) -> None:
        """Note that the sink does not refuse any longer."""
        if self._refuses:
            logger.warning("%s takes experiences again", self._name)
        self._refuses = False

    def _has_refused(self, pending: PendingBatch, error: BaseException) -> bool:
        """Handle an error of the sink; return whether the batch was dropped."""
        with self.changed:
            self._is_writing = False
            self.changed.notify_all()
            self.error = error
            if not isinstance(error, OSError) and not isinstance(self._failure, ConfigError):  # which tells of a loss
                self._failure = error
            if isinstance(error, ConfigError):
                count = len(self._queue.pop().batch)
                self.lost += count
                self._wrong += count
                logger.error("%s can never take %d experiences: %s", self._name, count, error)
                settle(pending, error=error)
                return True
            if not self._refuses:
                logger.warning("%s refuses %d experiences, which stay in its queue: %s", self._name, self.waiting, error)
            self._refuses = True
            for each in self._queue:
                settle(each, error=error)
            return False

    def _offer_present(self) -> BaseException | None:
        """Write the batches that are in the queue now; result as of ``_offer_all``."""
        with self.changed:
            until = self._queue.removed + len(self._queue)
        return self._offer_all(until=until)

    def _flush(self) -> None:
        refusal = self._offer_present()
        failure = self._failure_of(self.sink.flush)
        if refusal is not None:
            raise StorageError(f"{refusal} ({self.waiting} experiences wait)") from refusal
        self._raise_if_any(failure)

    def _close(self) -> None:
        refusal = self._offer_all()
        for pause in CLOSING_PAUSES:
            if refusal is None:
                break
            time.sleep(pause)
            refusal = self._offer_all()
        self._is_over = True
        with self.changed:
            lost = self._queue.clear()
            self.lost += lost
        failure = self._failure_of(self.sink.close)
        if refusal is not None:
            logger.error("%s never took %d experiences: %s", self._name, lost, refusal)
            raise StorageError(f"{refusal} ({lost} experiences were not taken, and are lost)") from refusal
        self._raise_if_any(failure)

    def _failure_of(self, function: Callable[[], None]) -> BaseException | None:
        """Call a method of the sink, and return its error."""
        try:
            function()
        except BaseException as error:  # the caller raises it at its end
            self.error = error
            return error
        return None

    def _raise_if_any(self, failure: BaseException | None) -> None:
        """Raise a failure, or an error for experiences that the sink can never take."""
        if failure is not None:
            raise failure
        wrong, self._wrong = self._wrong, 0
        if wrong:
            raise StorageError(f"{self.error} ({wrong} experiences can never be taken)") from self.error


def settle(pending: PendingBatch, answer: Any = None, error: BaseException | None = None) -> None:
    """Set the future of a batch to the outcome of its first try."""
    future: Future[Any] = pending.attachment
    if future.done():
        return
    if error is None:
        future.set_result(answer)
    else:
        future.set_exception(error)
