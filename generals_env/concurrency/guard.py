"""Guards an environment against use by two threads at once, and against signals in the middle of a change."""

from __future__ import annotations

from threading import get_ident
from types import TracebackType

from generals_env.concurrency.interrupts import deferred
from generals_env.errors import StateError

__all__ = ["Guard"]


class Guard:
    """Makes the context managers that methods enter to change an environment; its wrappers and recorders share one guard.

    It needs no lock: Python calls no function, and so switches to no other thread, between reading and setting ``thread``.

    Attributes:
        thread: Id of the thread that is changing the environment, or 0.

    Examples:
        >>> guard = Guard()
        >>> with guard("step"):
        ...     pass  # play a turn, and record it
    """

    __slots__ = ("thread",)

    def __init__(self) -> None:
        """Start without a thread."""
        self.thread = 0

    def __call__(self, name: str) -> Guarded:
        """Return a context manager in which the method ``name`` changes the environment and signals are deferred.

        Raises:
            StateError: On entry, if another thread is changing the environment.
        """
        return Guarded(self, name)

    def __reduce__(self) -> tuple[type[Guard], tuple[()]]:
        """Copy and pickle as a new guard."""
        return Guard, ()

    def refuse(self, name: str) -> StateError:
        """Return the error for a thread that calls ``name`` while another thread changes the environment."""
        return StateError(
            f"{name}: expected no other thread inside the environment, got thread {self.thread} still in one of its methods; "
            "an environment and what wraps or records it belong to one thread at a time: give each thread its own"
        )


class Guarded:
    """Context manager of a block that changes an environment."""

    __slots__ = ("_before", "_deferral", "_guard", "_name")

    def __init__(self, guard: Guard, name: str) -> None:
        self._guard = guard
        self._name = name
        self._before = 0
        self._deferral = deferred()

    def __enter__(self) -> None:
        """Defer signals and refuse other threads."""
        guard, me = self._guard, get_ident()
        self._deferral.__enter__()
        before = guard.thread
        if before and before != me:
            self._deferral.__exit__(None, None, None)
            raise guard.refuse(self._name)
        guard.thread = me
        self._before = before  # this thread if the block is nested

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Admit other threads, and handle deferred signals."""
        self._guard.thread = self._before
        self._deferral.__exit__(kind, error, traceback)
