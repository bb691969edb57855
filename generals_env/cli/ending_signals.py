"""Signals that end a command: SIGTERM of Slurm, Docker and systemd, and SIGHUP of a terminal that closes, are as Ctrl-C."""

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

#: Seconds in which signals count as one: a session that ends sends SIGTERM and SIGHUP, some launchers send each one twice.
REPEAT = 1.0


#: Seconds after which a signal comes again that came at a bad time.
LATER = 0.05

SHOW_CURSOR = "\x1b[?25h"

COMPILERS = ("numba", "llvmlite")


#: Those that listen: one at most, that of the command line.
listening: list[EndingSignals] = []


class EndingSignals:
    """Makes a ``KeyboardInterrupt`` of SIGINT, SIGTERM and SIGHUP while a block runs, as far as they are not ignored.

    So what is recorded is written, as after Ctrl-C. A signal that comes more than a second after the last one raises again, and
    ends that, too. While a kernel is compiled nothing is raised, as llvmlite loses exceptions and numba keeps half a kernel:
    then the exception comes after that.

    Attributes:
        received: The number of the first signal, 0 if none has come.
    """

    def __init__(self) -> None:
        self.received = 0
        self._last = -REPEAT
        self._waiting = False  # whether a signal comes once more
        self._at_once = False
        self._before: dict[int, Any] = {}

    @property
    def status(self) -> int:
        """The exit status of a process that a signal ended, as shells tell it."""
        return 128 + self.received

    def __enter__(self) -> EndingSignals:
        """Listen to the signals."""
        listening.append(self)
        for name, handler in (("SIGINT", self._end), ("SIGTERM", self._end), ("SIGHUP", self._hang_up)):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup has it ignored
                self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Put back what was there before."""
        listening.remove(self)
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
        """Let a signal come once more in a moment."""

        def send() -> None:
            self._waiting = False
            signal.raise_signal(number)

        if not self._waiting:
            self._waiting = True
            timer = threading.Timer(LATER, send)
            timer.daemon = True
            timer.start()

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        """Do what SIGTERM does, also where that is put off, or means something else for a time."""
        self.received = self.received or number
        signal.raise_signal(signal.SIGTERM)


def is_compiling(frame: FrameType | None) -> bool:
    """Return whether what a signal has interrupted belongs to the compilation of a kernel."""
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in COMPILERS:
            return True
        frame = frame.f_back
    return False


def ending_at_once() -> AbstractContextManager[None]:
    """Let signals end the process at once while a block runs that has nothing to lose: kernels take a minute to compile."""
    return listening[-1]._ending_at_once() if listening else nullcontext()


def end_process(status: int) -> None:
    """End the process where it stands."""
    with suppress(OSError):  # a terminal that is gone
        if sys.stdout.isatty():
            sys.stdout.write(SHOW_CURSOR)  # which a spinner hides
        sys.stdout.flush()
    os._exit(status)
