"""Defers signals while a block of code runs that must not be interrupted.

Python runs signal handlers in the main thread, between any two bytecodes, and the handler of Ctrl-C raises
``KeyboardInterrupt`` there: for example after a turn was played and before it is recorded.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from threading import get_ident
from types import FrameType, TracebackType
from typing import Any

try:  # the functions that ``signal`` wraps: without its enums they are ten times faster
    from _signal import getsignal
    from _signal import signal as set_handler
except ImportError:  # pragma: no cover - CPython and PyPy have it
    from signal import getsignal
    from signal import signal as set_handler

__all__ = ["deferred", "pending", "raise_pending"]

#: Signals that ask a program to end.
SIGNALS = (int(signal.SIGINT), int(signal.SIGTERM))

#: Seconds after which a second signal is taken as a sign that the block hangs; a double key press is faster.
PATIENCE = 1.0


class Nothing:
    """Context manager without effect, for a nested block or a thread in which no handlers run."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Do nothing."""


class Deferral:
    """Context manager that records signals and calls their handlers at its end."""

    __slots__ = ("_handlers", "_leaves", "_left", "_note", "_noted")

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}  # the replaced handlers
        self._noted: dict[int, tuple[FrameType | None, float]] = {}  # frame and time of each signal
        self._leaves = False
        self._left = False
        self._note = self.note  # each access to ``self.note`` creates a new object

    def __enter__(self) -> None:
        """Replace the signal handlers."""
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
        """Restore the handlers, and call those of the signals that came."""
        self._leave()

    def note(self, number: int, frame: FrameType | None) -> None:
        """Record a signal; if it repeats after ``PATIENCE`` seconds, handle it at once."""
        if self._left:  # a signal prevented ``_leave`` from restoring the handler
            self._handlers[number](number, frame)
            return
        now = time.monotonic()
        if number not in self._noted:
            self._noted[number] = frame, now
        elif now - self._noted[number][1] >= PATIENCE and not self._leaves:
            self.deliver()

    def deliver(self) -> None:
        """Call the handler of each recorded signal once, also if one of them raises."""
        while self._noted:
            number, (frame, _) = self._noted.popitem()
            try:
                self._handlers[number](number, frame)
            finally:
                self.deliver()

    @property
    def noted(self) -> bool:
        """Whether a signal was recorded."""
        return bool(self._noted)

    def forget(self) -> None:
        """Discard the recorded signals."""
        self._noted.clear()

    def _leave(self) -> None:
        self._leaves = True
        state.outermost = None
        try:
            for number in reversed(self._handlers):
                if getsignal(number) is self._note:  # otherwise the program has set a new one
                    set_handler(number, self._handlers[number])
        finally:
            self._left = True
            self.deliver()


class State:
    """State of the main thread.

    Attributes:
        main_thread: Id of the thread in which Python runs handlers.
        outermost: Outermost deferral that is active, or None.
    """

    def __init__(self) -> None:
        self.main_thread = threading.main_thread().ident
        self.outermost: Deferral | None = None


state = State()
NOTHING = Nothing()


def deferred() -> Deferral | Nothing:
    """Return a context manager that defers the handlers of SIGINT (Ctrl-C) and SIGTERM until its block ends.

    The handlers are called at the end, in the main thread, and may raise: ``KeyboardInterrupt`` leaves the block after all of
    its code has run. If the same signal repeats ``PATIENCE`` seconds after the first, the block is assumed to hang and the
    signal is handled at once. Signals without a Python handler are not changed. Nested blocks, and blocks in other threads, in
    which Python runs no handlers, have no effect.

    Examples:
        >>> with deferred():
        ...     pass  # play a turn, and record it
    """
    if get_ident() != state.main_thread or state.outermost is not None:
        return NOTHING
    return Deferral()


def pending() -> bool:
    """Return whether a signal is deferred in this thread."""
    return state.outermost is not None and get_ident() == state.main_thread and state.outermost.noted


def raise_pending() -> None:
    """Handle deferred signals now; call it where a block waits and has not changed anything yet."""
    if state.outermost is not None and get_ident() == state.main_thread:
        state.outermost.deliver()


def after_fork() -> None:
    """Make the only thread of a forked child its main thread, and discard signals of the parent."""
    outermost, same = state.outermost, state.main_thread == get_ident()
    state.main_thread = get_ident()
    if outermost is not None:
        outermost.forget()
        if not same:  # the thread of the block does not exist in the child
            outermost.__exit__(None, None, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)
