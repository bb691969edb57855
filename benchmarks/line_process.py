"""Runs a worker in a separate process that prints lines and obeys a command on each line of its input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent


class LineProcess:
    """A process of ``python -m benchmarks.workers.NAME``; it is killed on leaving the ``with`` block if it still runs."""

    def __init__(self, name: str, *arguments: str) -> None:
        """Start the process."""
        command = [sys.executable, "-m", f"benchmarks.workers.{name}", *arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name = f"{name} {arguments[0]}"

    def line(self) -> str:
        """Return the next line that the process prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: expected a line, but it ended with status {self.process.wait()}")
        return line.strip()

    def send(self, command: str) -> None:
        """Send a command, without waiting for its end."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def __enter__(self) -> Self:
        """Return the process."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Kill the process, and wait for its end."""
        self.process.kill()
        self.process.communicate()
