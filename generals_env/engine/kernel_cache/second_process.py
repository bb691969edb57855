"""Compiles kernels in a second process while this one compiles another kernel: numba compiles in one thread at a time.

The first game needs three kernels, one after the other. When the first one must be compiled, a second process compiles the two
others into the same folder, and this process waits for their files. If it cannot be started, fails or is killed, this process
compiles them itself.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

__all__ = ["SHOWN", "SecondProcess", "end_with_parent"]

#: Set in the environment of processes whose parent shows that kernels are compiled.
SHOWN = "GENERALS_ENV_COMPILATION_SHOWN"

#: The kernel that starts the process, the module that the process runs, and the kernels that this compiles.
FIRST = "generate_map"
MODULE = "generals_env.engine.simulation.first_turn"
OTHERS = ("view_board", "play_turn")

#: Held by the one process whose second process compiles into the folder: many processes may start at once.
LOCK = "second-process.tmp"
STALE = 120.0  # seconds after which the lock of a killed process is ignored

GLANCE = 0.01  # seconds between two looks for a file


class SecondProcess:
    """Starts the process, at most once, and waits for its files."""

    def __init__(self) -> None:
        """Start without a process."""
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: Path | None = None
        self._started = False
        self._owner = os.getpid()

    def begin(self, kernel: str, folder: Path) -> None:
        """Start the process if ``kernel`` is the first one of a game; the process compiles into ``folder``."""
        if kernel != FIRST or self._started or not may_start():
            return
        self._started, self._owner = True, os.getpid()
        lock = folder / LOCK
        with contextlib.suppress(OSError):  # another process holds the lock, or the folder cannot be written
            if lock.exists() and time.time() - lock.stat().st_mtime > STALE:
                lock.unlink()
            lock.touch(exist_ok=False)
            self._lock = lock
            atexit.register(self.end)
            path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of this package
                [sys.executable, "-m", MODULE],
                env=os.environ | {SHOWN: "1", "PYTHONPATH": path},
                stdin=subprocess.PIPE,  # its end tells the process that this one has ended
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def wait_for(self, kernel: str, file: Path) -> None:
        """Wait until the process has written ``file``, or has ended, if it compiles ``kernel``."""
        if kernel in OTHERS and self._process is not None and self._owner == os.getpid():
            while not file.exists() and self._process.poll() is None:
                time.sleep(GLANCE)
            if kernel == OTHERS[-1] or self._process.poll() is not None:
                self.end()

    def end(self) -> None:
        """End the process and release the lock."""
        process, lock = self._process, self._lock
        self._process = self._lock = None
        if self._owner != os.getpid():
            return  # a fork of the process that started it
        if process is not None:
            process.kill()
            process.wait()
            if process.stdin:
                process.stdin.close()
        if lock is not None:
            lock.unlink(missing_ok=True)


def may_start() -> bool:
    """Return whether a second process helps here: there is a second core, and an interpreter to run."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    is_python = Path(sys.executable or "").stem.lower().startswith(("python", "pypy"))
    return cores > 1 and is_python and not getattr(sys, "frozen", False)


def end_with_parent() -> None:
    """End this process as soon as its parent has ended."""

    def watch() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
