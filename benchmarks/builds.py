"""Runs scripts with this checkout and with an older one side by side, so that both are measured in one run.

Ratios of pairs of such measurements mean something on a shared machine, where the speed of minutes differs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, Self

from rich.console import Console

from benchmarks.peers import environment, last_lines

ROOT = Path(__file__).resolve().parent.parent
WORKERS = Path(__file__).parent / "workers"


class Build(NamedTuple):
    """A checkout with the interpreter that has what it requires."""

    name: str
    folder: Path
    python: Path


def builds(before: Path | None, console: Console) -> list[Build]:
    """Return the older build and this one; only this one, with the reason printed, if the older cannot be measured.

    Args:
        before: A checkout of an older build with a virtual environment ``.venv``, or None.
        console: Where the reason is printed.
    """
    now = Build("now", ROOT, Path(sys.executable))
    if before is None:
        console.print("the build before is left out: expected --before PATH, a checkout with a .venv, got none", style="yellow")
        return [now]
    older = Build(
        "before", before.resolve(), before.resolve() / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    )
    for needed in (older.folder / "generals_env" / "__init__.py", older.python):
        if not needed.exists():
            console.print(
                f"the build before is left out: expected {needed} in the checkout of --before, found none", style="yellow"
            )
            return [now]
    return [older, now]


class Worker:
    """A process that answers questions, see ``workers/answers.py``; it waits while others are measured."""

    def __init__(self, python: Path, folder: Path, script: str, *arguments: object) -> None:
        """Start ``workers/script`` with an interpreter that imports from ``folder`` first."""
        self.script = script
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker
        self.process = subprocess.Popen(
            [str(python), str(WORKERS / script), *map(str, arguments)],
            env={**environment(), "PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def __enter__(self) -> Self:
        """Return the worker."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.process.communicate()
        self.errors.close()

    def ask(self, name: str, *arguments: object) -> dict[str, Any]:
        """Return the answer to a question.

        Raises:
            RuntimeError: The worker ended; the message has the last lines of its errors.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps([name, *arguments]) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.wait()
            self.errors.seek(0)
            raise RuntimeError(f"{self.script}: expected an answer to {name!r}, but it ended\n{last_lines(self.errors.read())}")
        answer: dict[str, Any] = json.loads(line)
        return answer
