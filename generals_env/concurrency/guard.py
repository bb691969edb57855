"""Lets an environment change whole, and by one thread at a time."""

from __future__ import annotations

from threading import get_ident
from types import TracebackType

from generals_env.concurrency.interrupts import deferred
from generals_env.errors import StateError

__all__ = ["Guard"]


class Guard:
    """What stands before every method that changes an environment, one for all the layers over the same games.

    It takes no lock. Between its look at ``thread`` and its note there, Python calls no function, so it runs no other thread.

    Attributes:
        thread: Which thread is changing the environment, 0 for none.

    Example:
        >>> guard = Guard()
        >>> with guard("step"):
        ...     pass  # play a turn, and record it
    """

    __slots__ = ("thread",)

    def __init__(self) -> None:
        """Let everyone in."""
        self.thread = 0

    def __call__(self, name: str) -> Guarded:
        """Return a context manager in which the method ``name`` changes the environment, and signals are put off.

        Raises:
            StateError: On entry, if another thread is changing the environment.
        """
        return Guarded(self, name)

    def __reduce__(self) -> tuple[type[Guard], tuple[()]]:
        """Copy and pickle as one of its own."""
        return Guard, ()

    def refuse(self, name: str) -> StateError:
        """Return the error of a thread that comes while another one changes the environment."""
        return StateError(
            f"{name}: expected no other thread inside the environment, got thread {self.thread} still in one of its methods; "
            "an environment and what wraps or records it belong to one thread at a time: give each thread its own"
        )


class Guarded:
    """A block that changes an environment."""

    __slots__ = ("_before", "_deferral", "_guard", "_name")

    def __init__(self, guard: Guard, name: str) -> None:
        self._guard = guard
        self._name = name
        self._before = 0
        self._deferral = deferred()

    def __enter__(self) -> None:
        """Put signals off, and keep other threads out."""
        guard, me = self._guard, get_ident()
        self._deferral.__enter__()
        before = guard.thread
        if before and before != me:
            self._deferral.__exit__(None, None, None)
            raise guard.refuse(self._name)
        guard.thread = me
        self._before = before  # this thread, in an inner layer

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Let others in, and handle the signals that came."""
        self._guard.thread = self._before
        self._deferral.__exit__(kind, error, traceback)
