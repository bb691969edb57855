"""Runs ``generals-env run`` in a process of its own, which tests watch by its log lines, change, stop and kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.helpers import PATIENCE

__all__ = ["SMALL", "RunProcess", "heed_signals"]

#: Settings of small games on free ports.
SMALL = (
    *("games.height=6", "games.width=6", "games.max_turns=40", "games.parallel=8", "games.policies=[expander, random]"),
    *("games.seed=1", "collection.turns_per_second=4000", "streaming.address=127.0.0.1:0", "metrics.address=127.0.0.1:0"),
    *("storage.file.format=games", "streaming.grace_seconds=20"),
)


def heed_signals() -> None:
    """Let processes started from now on be interrupted: they inherit ignored signals, as from nohup or a background job."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


class RunProcess:
    """A run whose log lines are read as JSON.

    Attributes:
        lines: The log lines so far.
        process: The process of the supervisor.
    """

    def __init__(self, folder: Path, *options: str, settings: tuple[str, ...] = SMALL, **environment: str) -> None:
        """Start it in ``folder``."""
        command = [sys.executable, "-m", "generals_env.cli", "run", "--json"]
        for setting in settings:
            command += ["--set", setting]
        self.lines: list[dict[str, Any]] = []
        self.other: list[str] = []  # lines that are no JSON, such as tracebacks
        self._changed = threading.Condition()
        self._ended = False
        heed_signals()
        self.process = subprocess.Popen(
            [*command, *options],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for text in output:
                with self._changed:
                    if text.startswith("{"):
                        self.lines.append(json.loads(text))
                    else:
                        self.other.append(text)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[dict[str, Any]], bool], after: int = 0) -> dict[str, Any]:
        """Return the first log line from number ``after`` on that meets a condition."""
        number, deadline = after, time.monotonic() + PATIENCE
        with self._changed:
            while True:
                for line in self.lines[number:]:
                    number += 1
                    if condition(line):
                        return line
                assert not self._ended, self.report()
                assert self._changed.wait(max(deadline - time.monotonic(), 0.0)), self.report()

    def ready(self, worker: str, after: int = 0) -> dict[str, Any]:
        """Wait until a worker is ready, and return the line, with ``pid`` and ``address``."""
        return self.wait_for(lambda line: line["message"] == f"worker {worker} is ready", after)

    @property
    def http(self) -> str:
        """Address of metrics and health."""
        return str(self.wait_for(lambda line: line["message"].startswith("metrics and health at"))["address"])

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of a page of metrics or health."""
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stop(self, number: int = signal.SIGTERM) -> dict[str, Any]:
        """Ask the run to end, wait for its end, and return the figures of its last line."""
        self.process.send_signal(number)
        return self.figures()

    def figures(self) -> dict[str, Any]:
        """Wait for the end, and return the figures of all workers."""
        line = self.wait_for(lambda line: line["message"] == "the run has ended")
        assert self.process.wait(PATIENCE) == 0, self.report()
        figures: dict[str, Any] = line["figures"]
        return figures

    def report(self) -> str:
        """Return all lines, for failures."""
        return "\n".join([*(json.dumps(line) for line in self.lines[-40:]), *self.other[-40:]])

    def __enter__(self) -> Self:
        """Return the process."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Kill what still runs of the run."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._thread.join()
