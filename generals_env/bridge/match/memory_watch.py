"""Measures the memory of running programs and of the processes below them, and kills those beyond a limit."""

from __future__ import annotations

import threading
from collections import defaultdict
from types import TracebackType
from typing import Any

from generals_env.bridge.match.marked_processes import marked_processes
from generals_env.bridge.match.program import Program
from generals_env.errors import ConfigError

__all__ = ["MemoryWatch"]

INTERVAL = 0.25  # seconds


class MemoryWatch:
    """Looks at all programs four times a second, in a thread of its own, while a block runs."""

    def __init__(self, limit: int) -> None:
        """Prepare.

        Args:
            limit: Bytes of resident memory that a program may have, its children included.

        Raises:
            ConfigError: If psutil is not installed.
        """
        try:
            import psutil  # type: ignore[import-untyped]
        except ModuleNotFoundError:
            raise ConfigError('match: expected psutil, got none: pip install "generals_env[match]"') from None
        self._psutil = psutil
        self._limit = limit
        self._programs: set[Program] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory of programs", daemon=True)

    def __enter__(self) -> MemoryWatch:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop."""
        self._ended.set()
        self._thread.join()

    def add(self, program: Program) -> None:
        """Watch a program."""
        with self._lock:
            self._programs.add(program)

    def remove(self, program: Program) -> None:
        """Stop watching a program, before it is closed."""
        with self._lock:
            self._programs.discard(program)

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL):
            with self._lock:
                programs = list(self._programs)
            if programs:
                self._look(programs)

    def _look(self, programs: list[Program]) -> None:
        """Measure the programs; each is looked at under the lock, so that it is not closed meanwhile."""
        processes: dict[int, Any] = {}
        children: dict[int, list[int]] = defaultdict(list)
        for process in self._psutil.process_iter(["ppid", "memory_info"]):
            processes[process.pid] = process
            children[process.info["ppid"]].append(process.pid)
        marked = marked_processes()
        for program in programs:
            below = {*descendants(program.process.pid, children), *marked.get(program.mark, ())}
            below &= processes.keys() - {program.process.pid}
            with self._lock:
                if program not in self._programs:
                    continue
                program.others = {processes[pid] for pid in below} | {
                    other for other in program.others if other.pid not in below and other.is_running()
                }
                pids = {program.process.pid, *(other.pid for other in program.others)}
                total = sum(memory_of(processes[pid]) for pid in pids if pid in processes)
                program.memory = max(program.memory, total)
                if total > self._limit:
                    program.failure = program.failure or f"used {total / 10**9:.2f} GB of memory"
                    program.kill_processes()


def descendants(pid: int, children: dict[int, list[int]]) -> list[int]:
    """Return the processes below one."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def memory_of(process: Any) -> int:
    """Return the resident memory of a process, 0 if it may not be read."""
    info = process.info["memory_info"]
    return int(info.rss) if info else 0
