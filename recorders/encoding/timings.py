"""Tells one observer how long encoding and writing of files take; without an observer this costs nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from generals_env.recorders.experience.data import ExperienceData

__all__ = ["Observer", "Timing", "measured", "set_observer"]

Result = TypeVar("Result")


class Timing(NamedTuple):
    """A measured call.

    Attributes:
        operation: ``"log"``, ``"file"`` or ``"stream"`` for encoding, ``"write"`` for writing a file.
        seconds: How long it took.
        batch: The experiences.
        nbytes: Size of the encoded bytes; 0 if the call failed.
        failed: Whether it raised an error.
    """

    operation: str
    seconds: float
    batch: ExperienceData
    nbytes: int
    failed: bool

    @property
    def tensor_bytes(self) -> int:
        """Size of the experiences as float32 tensors: state and next state of each."""
        return 2 * len(self.batch) * math.prod(self.batch.state_shape) * 4

    @property
    def packed_bytes(self) -> int:
        """Size of the batch in memory."""
        return self.batch.nbytes


class Observer(Protocol):
    """Takes measurements; its method is called in any thread, and must not raise."""

    def measured(self, timing: Timing) -> None:
        """Take the measurement of a call."""


_observer: Observer | None = None


def set_observer(new: Observer | None) -> None:
    """Set the observer of this process; None for none."""
    global _observer  # noqa: PLW0603 - one per process, so that no argument passes through every layer
    _observer = new


def observer() -> Observer | None:
    """Return the observer of this process."""
    return _observer


def measured(operation: str, batch: ExperienceData, call: Callable[[], Result], nbytes: int | None = None) -> Result:
    """Call a function, and tell the observer how long it took.

    Args:
        operation: As of ``Timing``.
        batch: The experiences.
        call: The function; it returns bytes unless ``nbytes`` is given.
        nbytes: Size of the data.

    Returns:
        The result of the function. Its errors are raised.
    """
    current = _observer
    if current is None:
        return call()
    begun = time.perf_counter()
    try:
        result = call()
    except FileExistsError:  # the name is taken: the writer tries the next one
        raise
    except Exception:
        current.measured(Timing(operation, time.perf_counter() - begun, batch, 0, True))
        raise
    size = len(result) if nbytes is None else nbytes  # type: ignore[arg-type]
    current.measured(Timing(operation, time.perf_counter() - begun, batch, size, False))
    return result
