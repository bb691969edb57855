"""A sink that writes to several at once, and one that tries again."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from pathlib import Path
from typing import Any

from generals_env.arguments import as_config, check_integer
from generals_env.copies import NotCopied
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.sinks import ClosingSink, Sink, open_sink
from generals_env.recorders.storage.retry import Retry

__all__ = ["MultiSink", "RetryingSink"]

logger = logging.getLogger(__name__)

POLICIES = ("all", "any")

Call = tuple[Callable[[], Any], Future[Any]]


class Branch:
    """One of the sinks, with a thread of its own, so that others do not wait for it.

    Attributes:
        sink: The sink.
        lost: Experiences that it refused, or that were not given to it because too much waited.
        error: The last one, None if all went well.
    """

    def __init__(self, sink: Sink, most_waiting: int) -> None:
        self.sink = sink
        self.lost = 0
        self.error: Exception | None = None
        self._calls: queue.Queue[Call | None] = queue.Queue(most_waiting)
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"sink {type(sink).__name__}")
        self._thread.start()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            function, future = call
            try:
                future.set_result(function())
            except Exception as error:
                # A sink may raise anything; whoever waits for the future is told.
                self.error = error
                future.set_exception(error)

    def call(self, function: Callable[[], Any], waits: bool) -> Future[Any]:
        """Let the thread call a function after what waits already."""
        future: Future[Any] = Future()
        try:
            self._calls.put((function, future), block=waits)
        except queue.Full:
            error = StorageError(
                f"sink: expected {type(self.sink).__name__} to keep up, got {self._calls.maxsize} batches waiting"
            )
            self.error = error
            future.set_exception(error)
        return future

    def count(self, experiences: int, future: Future[Any]) -> None:
        """Take note of a batch that was refused."""
        error = future.exception()
        if error is not None:
            self.lost += experiences
            logger.warning("%s did not take %d experiences: %s", type(self.sink).__name__, experiences, error)

    def stop(self) -> None:
        """Let the thread end after what waits already."""
        self._calls.put(None)
        self._thread.join()


class MultiSink(NotCopied, ClosingSink):
    """Writes every batch to several sinks at once, each in a thread of its own.

    ``write`` returns a result for each sink: what its ``write`` returned, or the exception that it raised. With
    ``policy="all"`` it waits for all and raises if one has failed; the others have taken the batch. With ``policy="any"`` it
    returns as soon as one has taken it: others that are slow go on in their threads, and miss batches (``lost`` counts
    experiences) when more than ``most_waiting`` wait; it raises only if all have failed. A sink that fails is given the next
    batch all the same.

    Attributes:
        sinks: The sinks.
        policy: ``"all"`` or ``"any"``.
    """

    _instead = "make another MultiSink of sinks of its own"

    def __init__(self, sinks: Sequence[str | Path | Sink], policy: str = "all", most_waiting: int = 64) -> None:
        """Write to ``sinks``.

        Args:
            sinks: Sinks, or what ``open_sink`` makes sinks of.
            policy: ``"all"`` or ``"any"``.
            most_waiting: Batches that wait for a slow sink with ``"any"``.

        Raises:
            ConfigError: If an argument is not what it should be.
            StorageError: If a place cannot be written.
        """
        if isinstance(sinks, (str, Path)) or not sinks:
            raise ConfigError(f"sinks: expected one or more, got {sinks!r}")
        if policy not in POLICIES:
            raise ConfigError(f"policy: expected one of {', '.join(POLICIES)}, got {policy!r}")
        check_integer("most_waiting", most_waiting, 1, 2**31)
        self.sinks: list[Sink] = []
        try:
            for sink in sinks:
                self.sinks.append(open_sink(sink))
        except BaseException:
            for opened in self.sinks:
                opened.close()
            raise
        self.policy = policy
        self._branches = [Branch(sink, most_waiting) for sink in self.sinks]
        self._closed = False

    @property
    def lost(self) -> list[int]:
        """How many experiences each sink has not taken."""
        return [branch.lost for branch in self._branches]

    @property
    def errors(self) -> list[Exception | None]:
        """The last error of each sink."""
        return [branch.error for branch in self._branches]

    def write(self, batch: ExperienceBatch) -> list[Any]:
        """Give a batch to all sinks, which share its arrays.

        Returns:
            For each sink what its ``write`` returned, the exception that it raised, or a ``Future`` that will tell.

        Raises:
            StateError: After ``close``.
            StorageError: If a sink has failed, with ``"all"``; if all have, with ``"any"``.
        """
        if self._closed:
            raise StateError("write: expected an open sink, got one that is closed")
        futures = []
        for branch in self._branches:
            future = branch.call(partial(branch.sink.write, batch), self.policy == "all")
            future.add_done_callback(partial(branch.count, len(batch)))
            futures.append(future)
        return self._results("write", futures)

    def _results(self, verb: str, futures: list[Future[Any]]) -> list[Any]:
        if self.policy == "all":
            wait(futures)
        else:
            left = set(futures)
            while left:
                done, left = wait(left, return_when=FIRST_COMPLETED)
                if any(future.exception() is None for future in done):
                    break
        results = [future if not future.done() else future.exception() or future.result() for future in futures]
        failed = [future.exception() for future in futures if future.done() and future.exception() is not None]
        if failed and (self.policy == "all" or len(failed) == len(futures)):
            told = "; ".join(
                f"{type(sink).__name__}: {result}"
                for sink, result in zip(self.sinks, results, strict=True)
                if isinstance(result, Exception)
            )
            raise StorageError(f"{verb}: expected {self.policy} of {len(futures)} sinks to succeed, got {told}") from failed[0]
        return results

    def flush(self) -> None:
        """Flush all sinks, after what waits for them.

        Raises:
            StorageError: As in ``write``.
        """
        self._results("flush", [branch.call(branch.sink.flush, True) for branch in self._branches])

    def close(self) -> None:
        """Close all sinks, after what waits for them, also if one of them fails.

        Raises:
            StorageError: As in ``write``.
        """
        if self._closed:
            return
        self._closed = True
        futures = [branch.call(branch.sink.close, True) for branch in self._branches]
        for branch in self._branches:
            branch.stop()
        self._results("close", futures)


class RetryingSink(NotCopied, ClosingSink):
    """Passes batches on to a sink, and tries again what fails: by default 5 times, after 0.1, 0.2, 0.4 and 0.8 seconds.

    It relies on a sink that raises not having taken the batch.

    Attributes:
        sink: The sink.
        retry: How often, and when.
    """

    _instead = "make another RetryingSink of a sink of its own"

    def __init__(self, sink: str | Path | Sink, retry: Retry | Mapping[str, Any] | None = None) -> None:
        """Write to ``sink``.

        Args:
            sink: A sink, or what ``open_sink`` makes one of.
            retry: How often, and when: a ``Retry``, or a mapping of its fields.
        """
        self.sink = open_sink(sink)
        self.retry = as_config("retry", Retry, retry, Retry())

    def write(self, batch: ExperienceBatch) -> Any:
        """Pass a batch on; what the sink raises at last is raised here."""
        return self.retry.call("write", lambda: self.sink.write(batch))

    def flush(self) -> None:
        """Flush the sink, likewise."""
        self.retry.call("flush", self.sink.flush)

    def close(self) -> None:
        """Close the sink, likewise."""
        self.retry.call("close", self.sink.close)
