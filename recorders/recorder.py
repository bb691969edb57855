"""Records an environment and behaves as that environment."""

from __future__ import annotations

import weakref
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.wrappers.base import BaseWrapper
from pettingzoo.utils.wrappers.base_parallel import BaseParallelWrapper

from generals_env.errors import ConfigError
from generals_env.face import Face
from generals_env.recorders.collecting import BatchCollector
from generals_env.recorders.sinks import Sink, open_sink

__all__ = ["AECRecorder", "ExperienceRecorder", "ParallelRecorder"]

Self = TypeVar("Self", bound="ExperienceRecorder")


class ExperienceRecorder:
    """Records every transition of an environment of this package, also below or above other wrappers.

    ``ExperienceRecorder(env, sink)`` gives an ``AECRecorder`` or a ``ParallelRecorder``, as fits. It records the game itself:
    boards, the actions the engine executed, its rewards; what other wrappers make of observations and rewards is not seen.

    Example:
        >>> with ExperienceRecorder(generals_env.make(), "runs/a") as env:  # doctest: +SKIP
        ...     env.reset(seed=1)
    """

    env: Any

    if TYPE_CHECKING:  # everything an environment has

        def __getattr__(self, name: str) -> Any: ...

    def __new__(cls, env: Any, *arguments: Any, **options: Any) -> ExperienceRecorder:
        """Return the recorder that fits the environment.

        Raises:
            ConfigError: If it is no environment of this package.
        """
        if cls is not ExperienceRecorder:
            return object.__new__(cls)
        if isinstance(env, AECEnv):
            return object.__new__(AECRecorder)
        if isinstance(env, ParallelEnv):
            return object.__new__(ParallelRecorder)
        raise ConfigError(f"env: expected an AEC or parallel environment, got {type(env).__name__}")

    def __init__(self, env: Any, sink: str | Path | Sink, run_id: str | None = None) -> None:
        """Record ``env`` from now on.

        Args:
            env: An AEC or parallel environment of this package, wrapped or not.
            sink: A folder for NPZ files, or an object with ``write``, ``flush`` and ``close``.
            run_id: Games are called after it; a random one without.

        Raises:
            ConfigError: If it is no environment of this package, or no sink.
            StorageError: If the folder cannot be written.
        """
        if not isinstance(env.unwrapped, Face):
            raise ConfigError(f"env: expected an environment of generals_env, got {type(env.unwrapped).__name__}")
        super().__init__(env)  # type: ignore[call-arg]  # PettingZoo's wrapper comes after this class
        self.collector = BatchCollector(open_sink(sink), run_id)
        env.unwrapped.add_collector(self.collector)
        # Whoever forgets to close loses nothing: this runs when the recorder is dropped, and at exit.
        self.finalizer = weakref.finalize(self, self.collector.close)

    @property
    def experiences(self) -> int:
        """Experiences recorded so far."""
        return self.collector.experiences

    @property
    def games(self) -> int:
        """Games recorded so far, the one that goes on included."""
        return self.collector.games

    def flush(self) -> None:
        """Write what there is, the game that goes on included.

        Raises:
            StorageError: If it cannot be written.
        """
        self.collector.flush()

    def close(self) -> None:
        """Write what there is, close the sink, record no more, and close the environment.

        Raises:
            StorageError: If it cannot be written.
        """
        if self.collector.closed:
            return
        self.env.unwrapped.remove_collector(self.collector)
        try:
            self.finalizer()
        finally:
            super().close()  # type: ignore[misc]  # PettingZoo's wrapper comes after this class

    def __enter__(self: Self) -> Self:
        """Return the recorder."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the recorder."""
        self.close()


class AECRecorder(ExperienceRecorder, BaseWrapper[str, Any, Any]):
    """Records an AEC environment."""

    def last(self, observe: bool = True) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Return what the environment returns; looking all of it up through the wrapper costs as much as a turn."""
        last: tuple[Any, float, bool, bool, dict[str, Any]] = self.env.last(observe)
        return last


class ParallelRecorder(ExperienceRecorder, BaseParallelWrapper[str, Any, Any]):
    """Records a parallel environment."""
