"""Puts signals off while something changes that must change whole.

Python runs the handlers of signals in the main thread, between any two of its bytecodes, and the handler of Ctrl-C raises
``KeyboardInterrupt`` there: after a turn was played, say, and before it is recorded.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from threading import get_ident
from types import FrameType, TracebackType
from typing import Any

try:  # what the functions of ``signal`` call, without their enums, which take ten times as long
    from _signal import getsignal
    from _signal import signal as set_handler
except ImportError:  # pragma: no cover - CPython and PyPy have it
    from signal import getsignal
    from signal import signal as set_handler

__all__ = ["deferred", "pending", "raise_pending"]

#: The signals that ask a program to end in good order.
SIGNALS = (int(signal.SIGINT), int(signal.SIGTERM))

#: Seconds after which a second signal shows that a block does not end. Keys are pressed twice in less.
PATIENCE = 1.0


class Nothing:
    """A block that puts nothing off: one inside another, or in a thread in which no handler runs."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Do nothing."""


class Deferral:
    """A block in which signals are noted."""

    __slots__ = ("_handlers", "_leaves", "_left", "_note", "_noted")

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}  # those that are replaced
        self._noted: dict[int, tuple[FrameType | None, float]] = {}  # where the program was, and when
        self._leaves = False
        self._left = False
        self._note = self.note  # every look at ``self.note`` makes another object

    def __enter__(self) -> None:
        """Begin to note signals."""
        try:
            for number in SIGNALS:
                handler = getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    set_handler(number, self._note)
            state.outermost = self
        except BaseException:  # from a handler that is not replaced yet
            self._leave()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Put the handlers back, and call those whose signals came."""
        self._leave()

    def note(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; one more of its kind is handled at once if the block has not ended long after the first."""
        if self._left:  # a signal kept ``_leave`` from putting this handler back
            self._handlers[number](number, frame)
            return
        now = time.monotonic()
        if number not in self._noted:
            self._noted[number] = frame, now
        elif now - self._noted[number][1] >= PATIENCE and not self._leaves:
            self.deliver()

    def deliver(self) -> None:
        """Call the handlers of the signals noted, each once, also if one of them raises."""
        while self._noted:
            number, (frame, _) = self._noted.popitem()
            try:
                self._handlers[number](number, frame)
            finally:
                self.deliver()

    @property
    def noted(self) -> bool:
        """Whether a signal came."""
        return bool(self._noted)

    def forget(self) -> None:
        """Drop the signals noted."""
        self._noted.clear()

    def _leave(self) -> None:
        self._leaves = True
        state.outermost = None
        try:
            for number in reversed(self._handlers):
                if getsignal(number) is self._note:  # otherwise the program has set another one meanwhile
                    set_handler(number, self._handlers[number])
        finally:
            self._left = True
            self.deliver()


class State:
    """What the main thread does.

    Attributes:
        main_thread: In which Python runs handlers.
        outermost: The block in force.
    """

    def __init__(self) -> None:
        self.main_thread = threading.main_thread().ident
        self.outermost: Deferral | None = None


state = State()
NOTHING = Nothing()


def deferred() -> Deferral | Nothing:
    """Return a context manager that puts off the handlers of Ctrl-C (SIGINT) and SIGTERM until its block ends.

    They are called at the end, in the main thread, and may raise: ``KeyboardInterrupt`` leaves the block when all of it was
    done. One more of the same kind, ``PATIENCE`` seconds after the first, is handled at once, whatever it leaves half done:
    the block does not end. Signals that the system handles or ignores are left alone. Inside another such block, and in
    other threads, in which Python runs no handlers, nothing is done.

    Example:
        >>> with deferred():
        ...     pass  # play a turn, and record it
    """
    if get_ident() != state.main_thread or state.outermost is not None:
        return NOTHING
    return Deferral()


def pending() -> bool:
    """Return whether a signal waits for the end of the block that this thread is in."""
    return state.outermost is not None and get_ident() == state.main_thread and state.outermost.noted


def raise_pending() -> None:
    """Handle the signals that were put off, now: to be called where a block waits and has changed nothing yet."""
    if state.outermost is not None and get_ident() == state.main_thread:
        state.outermost.deliver()


def after_fork() -> None:
    """Let the only thread of a forked child be its main thread, whose parent's signals are not its own."""
    outermost, same = state.outermost, state.main_thread == get_ident()
    state.main_thread = get_ident()
    if outermost is not None:
        outermost.forget()
        if not same:  # the block's thread is not in the child
            outermost.__exit__(None, None, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)
