"""Shows that kernels are being compiled: a line on the terminal that is kept current, or one log record elsewhere.

Numba reports the start and end of each function that it compiles, and nothing for a kernel that comes from the cache. Nothing
is written to stdout, which may carry the protocol of a bot. The level of this module's logger switches both off.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba.core import event
from numba.core.dispatcher import Dispatcher

from generals_env.engine.kernel_cache.numba_hook import cache_files
from generals_env.engine.kernel_cache.second_process import SHOWN

__all__ = ["CompileNotice", "reachable_functions", "watch_compilation"]

logger = logging.getLogger(__name__)

#: Seconds of compilation before it is shown. A kernel of many functions is known to take longer and is shown earlier.
PATIENCE, SHORT_PATIENCE = 2.0, 0.5
MANY_FUNCTIONS = 30

#: Kernels of which one is compiled within so many seconds after another count as one compilation.
PAUSE = 1.0

TICK = 0.1  # seconds between two drawings of the line
BAR = 24  # characters


class CompileNotice(event.Listener):
    """Listens to numba's events of compilation, and shows progress while functions of this package are compiled.

    Numba compiles in one thread at a time, under its own lock. Another thread draws.
    """

    def __init__(self) -> None:
        """Show nothing yet."""
        self.depth = 0  # functions that are being compiled: each waits for the one that it calls
        self.started = self.ended = float("-inf")
        self.kernel = ""
        self.done: set[Callable[..., Any]] = set()
        self.expected: set[Callable[..., Any]] = set()
        self.logged = False
        self._prepare()

    def _prepare(self) -> None:
        """Make the lock and the signal of the drawing thread, of which a forked child has none."""
        self.lock = threading.Lock()
        self.finished = threading.Event()
        self.width = 0  # of the line on the terminal
        self.depth = 0

    def on_start(self, event: Any) -> None:
        """Count a function; a kernel that no other function waits for starts the notice."""
        function = event.data["dispatcher"].py_func
        if not is_own(function):
            return
        self.depth += 1
        if self.depth == 1 and SHOWN not in os.environ and logger.isEnabledFor(logging.WARNING):
            self.begin(function)

    def on_end(self, event: Any) -> None:
        """Count a compiled function; the end of the kernel ends the notice."""
        function = event.data["dispatcher"].py_func
        if not is_own(function) or not self.depth:  # 0 in a child that was forked during compilation
            return
        self.depth -= 1
        self.done.add(function)
        if self.depth == 0 and self.kernel:
            self.end()

    def begin(self, function: Callable[..., Any]) -> None:
        """Start a thread that shows the notice if compilation takes long."""
        now = time.monotonic()
        if now - self.ended > PAUSE:
            self.started, self.logged = now, False
            self.done, self.expected = set(), set()
        self.kernel = function.__name__
        self.expected |= reachable_functions(function)
        self.finished = threading.Event()
        os.environ[SHOWN] = "1"
        threading.Thread(target=self.show, args=(self.finished,), name="compile notice", daemon=True).start()

    def end(self) -> None:
        """Take the line from the terminal."""
        self.kernel, self.ended = "", time.monotonic()
        os.environ.pop(SHOWN, None)
        with self.lock:
            self.finished.set()
            self.draw("")
        if self.logged:
            logger.info("compiled kernels in %.1f s", self.ended - self.started)

    def show(self, finished: threading.Event) -> None:
        """Show the notice until ``finished`` is set."""
        patience = SHORT_PATIENCE if len(self.expected) >= MANY_FUNCTIONS else PATIENCE
        wait = self.started + patience - time.monotonic()
        while not finished.wait(max(wait, 0.0)):
            wait = TICK
            if not is_terminal(sys.stderr):
                if not self.logged:
                    self.logged = True
                    logger.warning("compiling kernels (%s, %d functions): %s", self.kernel, len(self.expected), where_kept())
                return
            with self.lock:
                if not finished.is_set():
                    self.draw(self.line())

    def line(self) -> str:
        """Return the text of the line."""
        done, total = len(self.done & self.expected), len(self.expected)
        full = BAR * done // max(total, 1)
        bar = "#" * full + "-" * (BAR - full)
        seconds = time.monotonic() - self.started
        return f"compiling kernels [{bar}] {done} of {total} functions, {seconds:.0f} s; {where_kept()}"

    def draw(self, text: str) -> None:
        """Replace the line on the terminal."""
        if text or self.width:
            text = text[: shutil.get_terminal_size().columns - 1]  # a longer one would take a second row
            with suppress(OSError, ValueError):  # the terminal was closed, or stderr was
                sys.stderr.write(f"\r{text.ljust(self.width)}" + ("" if text else "\r"))
                sys.stderr.flush()
            self.width = len(text)


def is_own(function: Callable[..., Any]) -> bool:
    """Return whether a function is of this package, not one of numba's or the caller's."""
    return str(function.__module__).startswith("generals_env.")


def is_terminal(stream: Any) -> bool:
    """Return whether a line can be rewritten on ``stream``; not where a library has replaced it, as progress bars do."""
    return isinstance(stream, io.TextIOWrapper) and not stream.closed and stream.isatty() and os.environ.get("TERM") != "dumb"


def where_kept() -> str:
    """Return what becomes of compiled kernels."""
    return "each process does this, as no folder can be written" if cache_files() is None else "the next start loads them"


def reachable_functions(function: Callable[..., Any]) -> set[Callable[..., Any]]:
    """Return a function of this package and all that it calls, as far as their names say: those are compiled with it."""
    found, waiting = {function}, [function]
    while waiting:
        caller = waiting.pop()
        for name in caller.__code__.co_names:
            callee = caller.__globals__.get(name)
            if isinstance(callee, Dispatcher) and callee.py_func not in found:
                found.add(callee.py_func)
                waiting.append(callee.py_func)
    return found


def watch_compilation() -> None:
    """Show a notice whenever kernels are compiled from now on."""
    notice = CompileNotice()
    event.register("numba:compile", notice)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=notice._prepare)
