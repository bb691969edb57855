"""Finds the processes of a program that left its process group and its parents, by a variable of their environment.

Only Linux shows the environment of processes (``/proc``); elsewhere no process is found. A process that was started with
another environment is not found either.
"""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

__all__ = ["MARK", "kill_marked", "marked_processes"]

#: Variable of the environment whose value differs for each program.
MARK = "GENERALS_ENV_PROGRAM"

PROC = Path("/proc")

#: Rounds of a search, as a process may start another one while it is being killed, and seconds between two of them.
ROUNDS, PAUSE = 20, 0.01


def marked_processes() -> dict[str, list[int]]:
    """Return the processes with a mark, by the mark."""
    found: dict[str, list[int]] = defaultdict(list)
    start = f"{MARK}=".encode()
    for entry in PROC.iterdir() if PROC.is_dir() else ():
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended, or belongs to another user
                for variable in (entry / "environ").read_bytes().split(b"\0"):
                    if variable.startswith(start):
                        found[variable[len(start) :].decode(errors="replace")].append(int(entry.name))
    return found


def kill_marked(mark: str) -> None:
    """Kill the processes with a mark, and those that they start meanwhile."""
    for _ in range(ROUNDS):
        pids = marked_processes().get(mark)
        if not pids:
            return
        for pid in pids:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE)
