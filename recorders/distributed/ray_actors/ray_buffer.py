"""Defines ``RayBuffer``: a replay buffer in an actor of Ray, which workers write to and learners read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_flag, check_integer, check_options, positive
from generals_env.concurrency.interrupts import deferred
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import ConfigError, StateError
from generals_env.pickling import pickled_as
from generals_env.recorders.buffers.buffer_stats import BufferStats
from generals_env.recorders.buffers.prioritized import PrioritizedSample
from generals_env.recorders.distributed.ray_actors.buffer_actor import CONCURRENCY, BufferActor, create_buffer
from generals_env.recorders.distributed.ray_actors.buffer_arguments import (
    actor_of,
    buffer_options,
    check_name,
    check_places,
    sample_options,
)
from generals_env.recorders.distributed.ray_actors.ray_session import NAMESPACE, RaySession, cause_of, import_ray, running_ray
from generals_env.recorders.distributed.ray_actors.shared_arrays import writeable_batch, writeable_view
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import ClosingSink

__all__ = ["RayBuffer", "RayBufferStats"]

WAIT = 0.5  # seconds that a call of a reader waits in the actor for experiences

#: Methods of the actor, with the threads that run them; see ``CONCURRENCY``.
THREADS = {
    "write": "write",
    "flush": "write",
    "sample": "read",
    "update_priorities": "read",
    "read": "read",
    "leave": "control",
    "stats": "control",
    "finish": "control",
    "process": "control",
    "close": "control",
}


@pickled_as("generals_env.recorders.distributed")
class RayBufferStats(NamedTuple):
    """Result of ``RayBuffer.stats``.

    Attributes:
        buffer: What the buffer holds, and what became of the other experiences.
        repeats: Experiences that were sent again and dropped, since the actor was started last.
        reloaded: Experiences that the actor has taken from its log when it was started last.
    """

    buffer: BufferStats
    repeats: int
    reloaded: int


@pickled_as("generals_env.recorders.distributed")
class RayBuffer(ClosingSink):
    """A replay buffer in an actor of Ray: a sink for any number of workers, and a source for any number of learners.

    Ray's tasks and actors get handles of the same buffer as arguments; only the first one, which made the actor, ends it. A
    handle is for one thread.

    Batches travel as arrays through Ray's object store. A batch that was written is *acknowledged* when ``flush`` or the next
    ``write`` returns. What a producer sends again after a death, its own or that of the actor, is dropped: repeats of the last
    8 million experiences, or of the capacity if it is larger, are recognised by game, player and turn, in any order. Samples,
    whose sequences have no order, and batches of no run are always taken. With ``log``, what was acknowledged survives the
    actor: Ray starts it again, and it takes its newest experiences from the log. Without, **a death of the actor loses what it
    held**: it goes on with an empty buffer.

    Examples:
        >>> with RayBuffer(1_000_000, log="runs/log") as buffer:  # doctest: +SKIP
        ...     with rollout(4, buffer, tasks=8) as games:
        ...         games.wait()
        ...     batch = buffer.sample(256)
    """

    def __init__(
        self,
        capacity: int | None = None,
        *,
        prioritized: bool = False,
        log: str | Path | None = None,
        log_options: Mapping[str, Any] | None = None,
        name: str | None = None,
        ray_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Start the actor, in the Ray of this program, or in one that is started and ends with ``close``.

        Args:
            capacity: Maximum number of experiences.
            prioritized: Whether to sample by priorities, as ``PrioritizedReplayBuffer`` does.
            log: Folder of an ``ExperienceLog``, which the actor writes before the buffer. It must be on a disk of the machine
                where the actor runs, see ``ray_options``.
            log_options: Further arguments of ``ExperienceLog``.
            name: Name for ``RayBuffer.find``.
            ray_options: Options of Ray's actor, for example ``{"resources": {"disk": 1}}``.
            **options: Further arguments of ``ReplayBuffer`` or ``PrioritizedReplayBuffer``.

        Raises:
            ConfigError: If an argument has an invalid value, or another buffer has the name.
            ImportError: If Ray is not installed.
            OptionError: If an option is unknown.
            StateError: If the actor cannot start.
            StorageError: If the log cannot be opened.
        """
        check_options(RayBuffer, options, buffer_options(check_flag("prioritized", prioritized)))
        create_buffer(capacity, prioritized, options)  # raises for wrong arguments
        check_places(log, log_options, name, ray_options)
        if log is not None and (
            options.get("overflow", "drop_oldest") != "drop_oldest" or options.get("keep_probability", 1) != 1
        ):
            raise ConfigError(
                f"log: expected a buffer that takes all experiences and drops the oldest, got {options}: leave overflow and "
                "keep_probability out, so that what the log has is never refused by the buffer"
            )
        ray = import_ray()
        self._session: RaySession | None = RaySession()
        settings = {"max_restarts": -1, "max_task_retries": -1, **(ray_options or {}), "concurrency_groups": CONCURRENCY}
        if name is not None:
            settings |= {"name": name, "namespace": NAMESPACE}
        self._begin()
        try:
            place = None if log is None else str(Path(log).absolute())
            self._start(settings, (capacity, prioritized, dict(options), place, dict(log_options or {})))
            self._call("stats")  # raises what the log raises
        except BaseException:
            if hasattr(self, "_actor"):
                ray.kill(self._actor)
            self._session.close()
            raise
        self._owns = True

    def _start(self, settings: dict[str, Any], arguments: tuple[Any, ...]) -> None:
        """Start the actor."""
        name = settings.get("name")
        if name is not None and actor_of(name) is not None:
            raise ConfigError(f"name: expected one that no running buffer has, got {name!r}: RayBuffer.find returns that one")
        try:
            self._actor = import_ray().remote(**settings)(BufferActor).remote(*arguments)
        except (TypeError, ValueError) as error:  # of Ray: it does not know an option, or cannot pickle a value
            raise ConfigError(
                f"ray_options: expected options of Ray's actors, and arguments that Ray can send, got {settings} and "
                f"{arguments}: {error}"
            ) from error

    def _begin(self) -> None:
        self._owner = Owner()
        self._owns = self._closed = False
        self._batch: Any = None  # reference of the batch that was written last and is not acknowledged yet
        self._answer: Any = None  # reference of the actor's answer for it
        self._size = 0

    @classmethod
    def find(cls, name: str) -> RayBuffer:
        """Return a handle of the buffer of this name, in the Ray of this program.

        Raises:
            ConfigError: If the name is no text.
            StateError: If there is none, or Ray was not started.
        """
        actor = actor_of(check_name("name", name))
        if actor is None:
            raise StateError(f"name: expected a running buffer, got {name!r}: start RayBuffer(name={name!r}) first")
        buffer = cls.__new__(cls)
        buffer._session = None
        buffer._begin()
        buffer._actor = actor
        return buffer

    # --- For producers --------------------------------------------------------------------------------------------

    def write(self, batch: ExperienceBatch) -> None:
        """Send a batch, after the batch before was acknowledged: so at most one batch of a handle waits for the actor.

        Raises:
            ConfigError: If it is no batch, or the buffer cannot hold the batch before.
            StateError: After ``finish`` or ``close``, or if the buffer is full and raises; the batch was not taken.
            StorageError: If the log cannot be written; the batch was not taken.
        """
        self._owner.check("buffer")
        if self._closed:
            raise StateError("write: expected an open buffer, got one that is closed: make a new one")
        if not isinstance(batch, ExperienceBatch):
            raise ConfigError(f"batch: expected an ExperienceBatch, got {type(batch).__name__}")
        ray = running_ray("buffer")
        self._settle()
        with deferred():
            self._batch, self._size = ray.put(batch), len(batch)
            self._answer = self._submit("write", self._batch)

    def _settle(self) -> None:
        """Wait until the batch that was written last is acknowledged; it stays, and is sent again, if the actor refuses it."""
        if self._batch is None:
            return
        if self._answer is None:
            self._answer = self._submit("write", self._batch)
        answer, self._answer = self._answer, None
        try:
            self._wait(answer)
        except ConfigError:  # the buffer can never take it
            self._batch = None
            raise
        except KeyboardInterrupt:
            self._answer = answer
            raise
        self._batch = None

    @property
    def waiting(self) -> int:
        """Experiences that were written by this handle and not acknowledged yet."""
        return 0 if self._batch is None else self._size

    def flush(self) -> None:
        """Wait until all experiences that this handle has written are acknowledged, and the log is flushed.

        Raises:
            ConfigError: As ``write``.
            StateError: As ``write``.
            StorageError: As ``write``.
        """
        self._owner.check("buffer")
        self._settle()
        self._call("flush")

    def process(self) -> int:
        """Return the id of the process of the actor."""
        number: int = self._call("process")
        return number

    def finish(self) -> None:
        """Refuse further batches: iterators of ``batches`` end after the last experience."""
        self._call("finish")

    # --- For learners ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of experiences in the buffer."""
        return self.stats().buffer.size

    def stats(self) -> RayBufferStats:
        """Return the counts of the buffer."""
        return RayBufferStats(*self._call("stats"))

    def sample(self, n: int, **options: Any) -> Any:
        """Return what ``sample`` of the buffer returns: an ``ExperienceBatch``, or with priorities a ``PrioritizedSample``.

        Its arrays lie in Ray's object store, in an object that no other process has.

        Args:
            n: Number of experiences.
            **options: Further arguments of ``sample`` of the buffer, except ``out``.

        Raises:
            ConfigError: If an argument has an invalid value.
            OptionError: If an option is unknown.
            StateError: If the buffer is empty.
        """
        return as_sampled(self._call("sample", positive("n", n), sample_options(options)))

    def samples(self, n: int, ahead: int = 2, **options: Any) -> Iterator[Any]:
        """Yield samples without end; the actor prepares the next ones in the meantime.

        Args:
            n: Number of experiences of each.
            ahead: How many are prepared.
            **options: As of ``sample``.

        Raises:
            ConfigError: As ``sample``.
            StateError: As ``sample``.
        """
        check_integer("ahead", ahead, 1, 1024)
        return self._samples(positive("n", n), ahead, sample_options(options))

    def _samples(self, n: int, ahead: int, options: dict[str, Any]) -> Iterator[Any]:
        drawn = self._call("sample", n, options)  # raises before others are prepared, whose errors Ray would print
        answers = [self._submit("sample", n, options) for _ in range(ahead)]
        while True:
            yield as_sampled(drawn)
            drawn = self._wait(answers.pop(0))
            answers.append(self._submit("sample", n, options))

    def update_priorities(self, keys: npt.NDArray[np.int64], priorities: npt.NDArray[Any]) -> int:
        """Set priorities of experiences; arguments, result and errors as of ``PrioritizedReplayBuffer``.

        A key of a sample that was drawn before the actor died may name another experience after it.
        """
        stale: int = self._call("update_priorities", keys, priorities)
        return stale

    def batches(self, batch_size: int, reader: str | None = None, follow: bool = True) -> Iterator[ExperienceBatch]:
        """Yield all experiences in the order in which they were stored, the next batch being fetched in the meantime.

        Their ``sequence`` counts the experiences of the buffer: a gap are experiences that were dropped before they were read.

        Args:
            batch_size: Maximum number of experiences of a batch.
            reader: A name, if a buffer with ``overflow="block"`` is to keep experiences until this reader has taken them.
            follow: Whether to wait for more, until ``finish``, instead of ending after those that are there.

        Raises:
            ConfigError: If an argument has an invalid value.
            StateError: If the buffer was closed.
        """
        check_integer("batch_size", batch_size, 1, 2**31)
        if reader is not None:
            check_name("reader", reader)
        return self._batches(batch_size, reader, check_flag("follow", follow))

    def _batches(self, batch_size: int, reader: str | None, follow: bool) -> Iterator[ExperienceBatch]:
        epoch, first = "", 0
        answer = self._submit("read", epoch, first, batch_size, WAIT if follow else 0.0, reader)
        try:
            while True:
                epoch, batch, is_over = self._wait(answer)
                if batch is not None:
                    first = int(batch.sequence[-1]) + 1
                elif is_over or not follow:
                    return
                answer = self._submit("read", epoch, first, batch_size, WAIT if follow else 0.0, reader)
                if batch is not None:
                    yield writeable_batch(batch)
        finally:
            if reader is not None:
                self._submit("leave", reader)

    # --- Calls, ends and copies -----------------------------------------------------------------------------------

    def _call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the actor and return its result."""
        return self._wait(self._submit(method, *arguments))

    def _submit(self, method: str, *arguments: Any) -> Any:
        """Call a method of the actor and return the reference of its result."""
        running_ray("buffer")
        return getattr(self._actor, method).options(concurrency_group=THREADS[method]).remote(*arguments)

    def _wait(self, answer: Any) -> Any:
        """Return the result of a call, or raise its error."""
        ray = import_ray()
        try:
            return ray.get(answer)
        except ray.exceptions.RayTaskError as error:
            raise cause_of(error) from None
        except ray.exceptions.RayActorError as error:
            cause = getattr(error, "cause", None) or error
            raise StateError(
                f"buffer: expected its actor to run, got none: it was closed or has never started ({cause})"
            ) from None

    def close(self) -> None:
        """Wait until everything written is acknowledged; the first handle also closes the log and ends the actor.

        The handle takes no further batches then, and a second call does nothing.
        """
        if not self._owner.is_here or self._closed:
            return
        self._closed = True
        owns, self._owns = self._owns, False
        try:
            self._settle()
            if owns:
                self._call("close")
        finally:
            if owns:
                import_ray().kill(self._actor)
            if self._session is not None:
                self._session.close()

    def __getstate__(self) -> dict[str, Any]:
        """Copy the reference of the actor only."""
        return {"_actor": self._actor}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make a handle of its own."""
        self._session = None
        self._begin()
        self.__dict__.update(state)


def as_sampled(drawn: Any) -> Any:
    """Return a sample whose arrays kernels take."""
    if isinstance(drawn, ExperienceBatch):
        return writeable_batch(drawn)
    return PrioritizedSample(writeable_batch(drawn.batch), writeable_view(drawn.keys), writeable_view(drawn.weights))
