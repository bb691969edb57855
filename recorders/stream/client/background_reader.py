"""A thread that moves experience from where it comes to where it is to go, while the program does something else."""

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
    """Writes batches into a sink in a thread of its own; what goes wrong there is raised by ``check`` and ``join``.

    A sink that blocks lets it wait, and the source with it. The sink stays open.

    Attributes:
        experiences: How many were written.
        position: Where in the stream the last one of them ends; None if nobody tells.
    """

    _instead = "begin another with read_into(consumer, sink)"

    def __init__(
        self,
        batches: Iterable[ExperienceBatch],
        sink: Sink,
        *,
        position: Callable[[], Position | None] = lambda: None,
        interrupt: Callable[[], Any] = lambda: None,
    ) -> None:
        """Begin.

        Args:
            batches: What to write.
            sink: Where to.
            position: Tells where in its stream the batch ends that came last.
            interrupt: Makes ``batches`` end, from another thread, if it would wait for more.
        """
        self._batches, self._sink, self._tell, self._interrupt = batches, sink, position, interrupt
        self.experiences = 0
        self.position = position()
        self._error: BaseException | None = None
        self._stopping = threading.Event()
        # A daemon: a sink that nobody empties would keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="reading experience", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether there may be more to come."""
        return self._thread.is_alive()

    def check(self) -> None:
        """Raise what has gone wrong, if something has.

        Raises:
            Exception: What reading or writing raised, as it was.
        """
        if self._error is not None:
            raise self._error

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, and return whether it came; errors as ``check``.

        Args:
            timeout: Seconds to wait at most.
        """
        self._thread.join(timeout)
        self.check()
        return not self.running

    def stop(self, timeout: float = 30.0) -> None:
        """End after the batch that is being written; errors as ``check``.

        Raises:
            StateError: If the sink takes longer than ``timeout`` seconds for that batch, or blocks: it is to be closed first.
        """
        self._stopping.set()
        self._interrupt()
        if not self.join(timeout):
            raise StateError(f"stop: expected the sink to take a batch in {timeout:g} s, got {type(self._sink).__name__} busy")

    def _run(self) -> None:
        try:
            for batch in self._batches:
                self._sink.write(batch)
                self.position = self._tell()
                self.experiences += len(batch)
                if self._stopping.is_set():
                    return
        except BaseException as error:  # whatever it is, the caller gets it
            self._error = error


def read_into(consumer: ExperienceConsumer, sink: Sink, **options: Any) -> BackgroundReader:
    """Write a stream into any sink, in the background.

    Args:
        consumer: Where from; ``stop`` closes it.
        sink: Where to.
        **options: Of ``ExperienceConsumer.stream_experiences``; batches come as they are by default.

    Raises:
        ConfigError: If an option is not what it should be.
        OptionError: If an option is unknown.
    """
    check_options(read_into, options, keywords(consumer.stream_experiences))
    batches = consumer.stream_experiences(**{"batch_size": None, **options})
    return BackgroundReader(batches, sink, position=lambda: consumer.position, interrupt=consumer.close)
