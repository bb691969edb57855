"""Reads batches from a stream into a sink in a background thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from generals_env.arguments import check_options, keywords
from generals_env.errors import StateError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import Sink

if TYPE_CHECKING:
    from generals_env.recorders.stream.client.consumer import ExperienceConsumer, Position

__all__ = ["BackgroundReader", "read_into"]


@pickled_as("generals_env.recorders")
class BackgroundReader(NotCopied):
    """Writes batches into a sink in a background thread; ``check`` and ``join`` raise the errors of the thread.

    While the sink blocks, nothing is read from the source. The sink is not closed.

    Attributes:
        experiences: How many were written.
        position: Position in the stream after the last one; None if the source has none.
    """

    _instead = "start another with read_into(consumer, sink)"

    def __init__(
        self,
        batches: Iterable[ExperienceBatch],
        sink: Sink,
        *,
        position: Callable[[], Position | None] = lambda: None,
        interrupt: Callable[[], Any] = lambda: None,
    ) -> None:
        """Start the thread.

        Args:
            batches: The batches to write.
            sink: Where to write them.
            position: Returns the position in the stream after the last batch.
            interrupt: Called by ``stop`` from another thread: must end the iteration over ``batches`` if it waits.
        """
        self._batches, self._sink, self._get_position, self._interrupt = batches, sink, position, interrupt
        self.experiences = 0
        self.position = position()
        self._error: BaseException | None = None
        self._stopping = threading.Event()
        # A daemon: else a sink that blocks for ever would keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="reading experience", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def check(self) -> None:
        """Raise the error of the thread, if there was one.

        Raises:
            Exception: The error that reading or writing raised, unchanged.
        """
        if self._error is not None:
            raise self._error

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end, and return whether it did; errors as ``check``.

        Args:
            timeout: Maximum seconds to wait.
        """
        self._thread.join(timeout)
        self.check()
        return not self.running

    def stop(self, timeout: float = 30.0) -> None:
        """End after the current batch is written; errors as ``check``.

        Raises:
            StateError: If writing that batch takes longer than ``timeout`` seconds; close a sink that blocks first.
        """
        self._stopping.set()
        self._interrupt()
        if not self.join(timeout):
            raise StateError(
                f"stop: expected the sink to take a batch in {timeout:g} s, got {type(self._sink).__name__} busy: close it"
            )

    def _run(self) -> None:
        try:
            for batch in self._batches:
                self._sink.write(batch)
                self.position = self._get_position()
                self.experiences += len(batch)
                if self._stopping.is_set():
                    return
        except BaseException as error:  # raised again by ``check``
            self._error = error


def read_into(consumer: ExperienceConsumer, sink: Sink, **options: Any) -> BackgroundReader:
    """Write a stream into a sink in the background.

    Args:
        consumer: Where to read; ``stop`` closes it.
        sink: Where to write.
        **options: Arguments of ``ExperienceConsumer.stream_experiences``; ``batch_size`` is None by default.

    Raises:
        ConfigError: If an option is invalid.
        OptionError: If an option is unknown.
    """
    check_options(read_into, options, keywords(consumer.stream_experiences))
    batches = consumer.stream_experiences(**{"batch_size": None, **options})
    return BackgroundReader(batches, sink, position=lambda: consumer.position, interrupt=consumer.close)
