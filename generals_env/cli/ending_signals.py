"""Handles signals that end a command: SIGTERM (from Slurm, Docker, systemd) and SIGHUP (closed terminal) act like Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType, TracebackType
from typing import Any

__all__ = ["REPEAT", "EndingSignals", "ending_at_once"]

#: Seconds in which signals count as one: an ending session sends SIGTERM and SIGHUP, and some launchers send a signal twice.
REPEAT = 1.0

#: Seconds after which a signal that came during compilation is sent again.
LATER = 0.05

SHOW_CURSOR = "\x1b[?25h"

COMPILERS = ("numba", "llvmlite")

#: Active handlers: at most one, that of the command line.
active: list[EndingSignals] = []


class EndingSignals:
    """Raises ``KeyboardInterrupt`` on SIGINT, SIGTERM and SIGHUP while a block runs, unless a signal is ignored.

    Recorded experience is thus written, as after Ctrl-C. A signal more than a second after the last one raises again, and ends
    the writing, too. During the compilation of a kernel the exception is delayed, as llvmlite loses exceptions and numba would
    keep an incomplete kernel.

    Attributes:
        received: Number of the first signal, or 0.
    """

    def __init__(self) -> None:
        self.received = 0
        self._last = -REPEAT
        self._waiting = False  # whether a signal will be sent again
        self._at_once = False
        self._before: dict[int, Any] = {}

    @property
    def status(self) -> int:
        """Exit status of a process that a signal ended, as shells report it."""
        return 128 + self.received

    def __enter__(self) -> EndingSignals:
        """Install the handlers."""
        active.append(self)
        for name, handler in (("SIGINT", self._end), ("SIGTERM", self._end), ("SIGHUP", self._hang_up)):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
                self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Restore the previous handlers."""
        active.remove(self)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def _ending_at_once(self) -> Iterator[None]:
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number
        if self._at_once:
            end_process(self.status)
        if is_compiling(frame):
            self._again(number)
            return
        now = time.monotonic()
        is_another = now - self._last >= REPEAT
        self._last = now
        if is_another:
            raise KeyboardInterrupt

    def _again(self, number: int) -> None:
        """Send a signal again after ``LATER`` seconds."""

        def send() -> None:
            self._waiting = False
            signal.raise_signal(number)

        if not self._waiting:
            self._waiting = True
            timer = threading.Timer(LATER, send)
            timer.daemon = True
            timer.start()

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        """Raise SIGTERM instead, so that its current handler is called, also if it is deferred or replaced."""
        self.received = self.received or number
        signal.raise_signal(signal.SIGTERM)


def is_compiling(frame: FrameType | None) -> bool:
    """Return whether a signal interrupted the compilation of a kernel."""
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in COMPILERS:
            return True
        frame = frame.f_back
    return False


def ending_at_once() -> AbstractContextManager[None]:
    """Return a context manager in which signals end the process at once, for compilation, which can take a minute."""
    return active[-1]._ending_at_once() if active else nullcontext()


def end_process(status: int) -> None:
    """End the process immediately."""
    with suppress(OSError):  # the terminal was closed
        if sys.stdout.isatty():
            sys.stdout.write(SHOW_CURSOR)  # a spinner hides the cursor
        sys.stdout.flush()
        if sys.stderr.isatty():
            sys.stderr.write("\n")  # below the line that shows compilation
            sys.stderr.flush()
    os._exit(status)
