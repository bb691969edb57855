"""Opens the sink of each task of a rollout, from a place that every process of the rollout knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from generals_env.errors import ConfigError
from generals_env.recorders.datasets.writer import DatasetWriter
from generals_env.recorders.distributed.ray_actors.ray_buffer import RayBuffer
from generals_env.recorders.experience.sink import AnySink, Sink
from generals_env.recorders.sinks.multi import is_server, open_sink

__all__ = ["RolloutSink", "TaskSinks", "check_elsewhere"]

#: A sink, or the place or function from which each process opens one.
RolloutSink = AnySink | Callable[[], Sink]


class TaskSinks:
    """Gives the tasks of one process their sinks: a dataset has a writer for each task, other places have one sink for all."""

    def __init__(self, place: RolloutSink, began: float) -> None:
        """Write to ``place``, which is opened with the first task.

        Args:
            place: The place.
            began: When the rollout began, in seconds since 1970: the hour in whose folder all files of a dataset are. A task
                that is played again writes files of the same names and contents, which count as written.
        """
        self._began = began
        self._place = place
        self._sink: Sink | None = None
        self._opened = not is_sink(place)

    @contextmanager
    def of(self, run: str) -> Iterator[Sink]:
        """Yield the sink of the task that records with this run id; when the block ends, everything is stored."""
        place = self._place
        if isinstance(place, (str, Path)) and not is_server(place):
            with DatasetWriter(place, writer_id=run, clock=lambda: self._began) as writer:
                yield writer
            return
        if self._sink is None:
            self._sink = place() if callable(place) and not is_sink(place) else open_sink(place)  # type: ignore[arg-type]
        yield self._sink

    def close(self) -> None:
        """Close the sink, unless the caller has opened it."""
        sink, self._sink = self._sink, None
        if sink is not None and self._opened:
            sink.close()


def is_sink(place: object) -> bool:
    """Return whether a place is a sink, not a class of sinks."""
    return isinstance(place, Sink) and not isinstance(place, type)


def check_elsewhere(place: RolloutSink) -> None:
    """Raise ``ConfigError`` unless other processes can write to a place."""
    parts = place if isinstance(place, (list, tuple)) and place else [place]
    for part in parts:
        if not isinstance(part, (str, Path, RayBuffer)) and (is_sink(part) or not callable(part)):
            raise ConfigError(
                f"sink: expected a RayBuffer, a path, a URL or a function that opens a sink in a worker, got {part!r:.200}, "
                "which stays in this process: pass RayBuffer(capacity), or num_workers=0"
            )
