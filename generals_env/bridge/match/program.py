"""Runs a program that plays a game over pipes: bounded output, deadlines, its errors, and the end of all its processes."""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from generals_env.agents.shipped import TRAINED, is_shipped
from generals_env.bridge.builtin_players import PLAYERS
from generals_env.bridge.match.marked_processes import MARK, kill_marked
from generals_env.bridge.peers.peer_programs import PeerSource, is_peer, peer_arguments
from generals_env.bridge.stdio_agent import REMEMBERING
from generals_env.bridge.stdio_protocol import MAX_REPLY
from generals_env.errors import ConfigError

__all__ = ["BUILTIN", "REMEMBERING_PROGRAM", "Program", "program_arguments"]

#: What a command of a policy of the package begins with, as in ``builtin:expander`` and ``builtin:trained``.
BUILTIN = "builtin:"

#: Starts a policy with a memory, whose name follows: it needs the whole package.
REMEMBERING_PROGRAM = [sys.executable, "-P", "-m", "generals_env.bridge.launcher", "--policy"]

READ = 64 * 1024
MAX_LINES = 64  # of replies that wait to be read
ERRORS_KEPT = 4096  # bytes of the end of what a program writes to its standard error
MAX_ERRORS = 2**24  # bytes of it in a game
MAX_UNREAD = 2**20  # bytes of frames that a program has not read

#: One core a program: libraries of linear algebra start no threads.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
)


def program_arguments(command: str, peer: PeerSource | None = None) -> list[str]:
    """Return the arguments of a command.

    Args:
        command: Words as in a shell, ``builtin:NAME`` for a policy of the package, ``peer:NAME`` for one of generals-bots.
        peer: Where generals-bots lies.

    Raises:
        ConfigError: If there is no such policy or agent, or the command has no words.
    """
    if is_peer(command):
        return peer_arguments(command, peer)
    if command.startswith(BUILTIN):
        name = command.removeprefix(BUILTIN)
        if name.partition(":")[0] in REMEMBERING:
            return [*REMEMBERING_PROGRAM, name]
        if name not in PLAYERS and not is_shipped(name):
            known = ", ".join(BUILTIN + known for known in (*PLAYERS, *REMEMBERING, TRAINED))
            raise ConfigError(f"command: expected one of {known}, got {command!r}")
        launcher = Path(__file__).parent.parent / "launcher.py"
        return [sys.executable, "-P", str(launcher), "--policy", name]
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigError(f"command: expected words as in a shell, got {command!r} ({error})") from error
    if not words:
        raise ConfigError("command: expected a program and its arguments, got none")
    return words


class Program:
    """A running program. All methods return at once or by a deadline.

    Attributes:
        failure: Why it can play no further, empty while it can.
        memory: The maximum of the resident memory that a ``MemoryWatch`` saw, bytes.
        process: The process, leader of a group of its own.
        mark: Value of the variable ``MARK`` in its environment, by which processes that it leaves behind are found.
    """

    def __init__(self, arguments: Sequence[str], folder: Path | None = None, environment: dict[str, str] | None = None) -> None:
        """Start it.

        Raises:
            ConfigError: If it cannot be started.
        """
        if os.name != "posix":
            raise ConfigError("match: expected Linux or macOS, whose pipes have time-outs: use WSL on Windows")
        self.mark = uuid.uuid4().hex
        try:
            self.process = subprocess.Popen(  # noqa: S603 - running the user's program is what this is for
                list(arguments),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env={**(os.environ if environment is None else environment), **ONE_THREAD, MARK: self.mark},
                start_new_session=True,
                bufsize=0,
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"command: expected a program that can be started, got {arguments[0]!r} ({error})") from error
        self.failure = ""
        self.memory = 0
        self.others: set[Any] = set()  # processes below it, which a watch of the memory saw
        self._input, self._output, self._errors = (self._stream(name) for name in ("stdin", "stdout", "stderr"))
        self._pending = bytearray()  # for its input
        self._text = bytearray()  # of its output, without an end of line yet
        self._lines: list[bytes] = []
        self._tail = bytearray()
        self._error_bytes = 0
        self._open = {self._output, self._errors}

    def _stream(self, name: str) -> int:
        number: int = getattr(self.process, name).fileno()
        os.set_blocking(number, False)
        return number

    # --- Playing ------------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Add to its input as much as its pipe takes; the rest follows while replies are awaited."""
        self._pending += data
        self._write()
        if len(self._pending) > MAX_UNREAD:
            self._fail("did not read its input")

    def watch(self, selector: selectors.BaseSelector) -> None:
        """Register its streams; their data is this program."""
        for number in self._open:
            selector.register(number, selectors.EVENT_READ, self)

    def on_ready(self, number: int, selector: selectors.BaseSelector) -> None:
        """Read from one of its streams, or write to it, after the selector reported it."""
        if number == self._input:
            self._write()
        else:
            self._read(number)
            if number not in self._open:
                selector.unregister(number)
        self.want_writes(selector)

    def want_writes(self, selector: selectors.BaseSelector) -> None:
        """Let the selector report when its input takes more, as long as there is more."""
        registered = self._input in selector.get_map()
        if self._pending and not self.failure and not registered:
            selector.register(self._input, selectors.EVENT_WRITE, self)
        elif registered and (self.failure or not self._pending):
            selector.unregister(self._input)

    def take_line(self) -> bytes | None:
        """Return its oldest line that was not taken, None if there is none yet."""
        return self._lines.pop(0) if self._lines else None

    def read_now(self) -> None:
        """Read what has arrived."""
        for number in tuple(self._open):
            self._read(number)

    def errors(self) -> str:
        """Return the end of what it wrote to its standard error."""
        return bytes(self._tail).decode(errors="replace").strip()

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason

    def _write(self) -> None:
        try:
            while self._pending:
                del self._pending[: os.write(self._input, self._pending[:READ])]
        except BlockingIOError:
            return
        except OSError:
            self._pending.clear()  # it has closed its input or ended; its output says more

    def _read(self, number: int) -> None:
        try:
            data = os.read(number, READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._open.discard(number)
            if number == self._output:
                self._fail("closed its output")
        elif number == self._errors:
            self._tail = (self._tail + data)[-ERRORS_KEPT:]
            self._error_bytes += len(data)
            if self._error_bytes > MAX_ERRORS:
                self._fail(f"wrote more than {MAX_ERRORS:,} bytes to its standard error")
        else:
            self._split(data)

    def _split(self, data: bytes) -> None:
        """Split output into lines; fail if there are too many, or one does not end."""
        self._text += data
        *lines, rest = bytes(self._text).split(b"\n")
        self._text = bytearray(rest)
        self._lines += lines
        if len(rest) > MAX_REPLY:
            self._fail(f"wrote more than {MAX_REPLY} bytes without an end of line")
        elif len(self._lines) > MAX_LINES:
            self._fail(f"wrote more than {MAX_LINES} lines that were not asked for")

    # --- Its end ----------------------------------------------------------------------------------------------------

    def describe_end(self) -> str:
        """Return why it failed, with its exit status if it has ended."""
        if self.failure == "closed its output":
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.2)  # the status comes shortly after the end of the output
            status = self.process.returncode
            if status is not None:
                return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return self.failure

    def end_input(self) -> None:
        """Close its input: the game is over."""
        self._pending.clear()
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()

    def close(self, deadline: float) -> None:
        """Wait until ``deadline`` (``time.monotonic``) for its end, then kill all of its processes."""
        self.end_input()
        with selectors.DefaultSelector() as selector:
            self.watch(selector)
            while self._open and (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    self._read(key.fd)
                    if key.fd not in self._open:
                        selector.unregister(key.fd)
                if self._error_bytes > MAX_ERRORS:
                    break
                self._lines.clear()
                self._text.clear()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, min(deadline - time.monotonic(), 0.2)))
        self.kill()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def kill(self) -> None:
        """Kill all of its processes and wait for its end."""
        self.kill_processes()
        self.process.wait()
        kill_marked(self.mark)

    def kill_processes(self) -> None:
        """Kill its group and the processes below it that left the group."""
        with suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for other in self.others:
            with suppress(Exception):  # psutil has an error for each reason why it is gone
                if other.is_running():
                    other.kill()
