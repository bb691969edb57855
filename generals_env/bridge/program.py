"""Runs one program of a match: its pipes, its time, its memory and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Self

from generals_env.bridge.match_limits import MatchLimits
from generals_env.bridge.stdio_protocol import MAX_REPLY, decode_reply
from generals_env.errors import ActionError, ConfigError

__all__ = ["Forfeit", "Program", "split_command"]

BUILTIN = "builtin:"
MAX_STDERR = 4096  # bytes that are kept, the last ones
MAX_UNREAD = 256 * 1024  # bytes of frames that a program may leave unread
MEMORY_INTERVAL = 0.25  # seconds between two measurements of memory
GRACE = 1.0  # seconds that a program has to end once its input is closed
LATE, UNREADABLE = "late", "unreadable"


class Forfeit(Exception):  # noqa: N818 - no error of the package: a result of a game
    """The program has lost the game by the rules of the match; the text says why."""


def split_command(command: str) -> list[str]:
    """Return the words of a command; ``builtin:NAME`` is a policy of the package.

    Raises:
        ConfigError: If the command is empty, or its quotes are not closed.
    """
    if command.startswith(BUILTIN):
        return [sys.executable, "-m", "generals_env.bridge.agent_program", command.removeprefix(BUILTIN)]
    try:
        words = shlex.split(command, posix=os.name == "posix")
    except ValueError as error:
        raise ConfigError(f"command: expected words of a shell, got {command!r} ({error}): close the quotes") from None
    if not words:
        raise ConfigError("command: expected a program, got an empty text: pass a command, or builtin:expander")
    return words


class Program:
    """A program that plays one game over pipes.

    Attributes:
        times: Seconds of each reply that came in time; the first one includes the start of the program.
        faults: Number of late and unreadable replies so far.
        peak: Bytes of memory, the maximum that was measured.
    """

    def __init__(self, words: Sequence[str], limits: MatchLimits, folder: str | None, env: Mapping[str, str] | None) -> None:
        """Prepare a program; ``start`` starts it.

        Args:
            words: Program and arguments.
            limits: What it may use.
            folder: Folder to run it in; None for the current one.
            env: Its environment variables; None for those of this process.
        """
        self._words, self._limits, self._folder, self._env = list(words), limits, folder, env
        self._process: asyncio.subprocess.Process | None = None
        self._started = 0.0
        self._owed = 0  # replies to earlier frames that have not come
        self._stderr = bytearray()
        self._forfeit = ""
        self._tasks: list[asyncio.Task[None]] = []
        self.times: list[float] = []
        self.faults = 0
        self.peak = 0

    async def start(self) -> None:
        """Start the program.

        Raises:
            ConfigError: If it cannot be started.
        """
        pipe = asyncio.subprocess.PIPE
        self._started = time.monotonic()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._words,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                cwd=self._folder,
                env=self._env,
                limit=MAX_REPLY,
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            raise ConfigError(
                f"command: expected a program that can be started, got {self._words[0]!r} ({error}): correct the path"
            ) from None
        self._tasks = [asyncio.create_task(self._keep_stderr()), asyncio.create_task(self._watch_memory())]

    async def ask(self, data: bytes) -> tuple[int, int, int, int, int] | None:
        """Send a frame, and return the reply; None for a late or unreadable one, which counts as a fault.

        Args:
            data: The frame; before the first one also the handshake.

        Raises:
            Forfeit: If the program loses the game: it has ended, writes a line without end, reached the limit of faults, or
                holds too much memory.
        """
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None  # noqa: S101, PT018
        first = not self.times and not self.faults
        begun = self._started if first else time.monotonic()
        if process.stdin.transport.get_write_buffer_size() < MAX_UNREAD:
            process.stdin.write(data)
            self._owed += 1
        deadline = begun + (self._limits.first_move if first else self._limits.move)
        while True:
            self._check_forfeit()
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline - time.monotonic()):
                    line = await process.stdout.readuntil(b"\n")
            except TimeoutError:
                self._count_fault(LATE)
                return None
            except asyncio.IncompleteReadError:
                raise Forfeit(await self._describe_end()) from None
            except asyncio.LimitOverrunError:
                raise Forfeit(f"wrote a line of more than {MAX_REPLY} bytes") from None
            except ConnectionError:
                raise Forfeit(await self._describe_end()) from None
            self._owed -= 1
            if self._owed > 0:
                continue  # the late reply to an earlier frame
            try:
                reply = decode_reply(line)
            except ActionError:
                self._count_fault(UNREADABLE)
                return None
            self.times.append(time.monotonic() - begun)
            return reply

    def _count_fault(self, kind: str) -> None:
        self.faults += 1
        if self.faults >= self._limits.faults:
            raise Forfeit(f"made {self.faults} faults, the last reply was {kind}")

    def _check_forfeit(self) -> None:
        if self._forfeit:
            raise Forfeit(self._forfeit)

    async def _describe_end(self) -> str:
        """Return how the program ended, for a program whose output is closed."""
        assert self._process is not None  # noqa: S101
        try:
            async with asyncio.timeout(GRACE):
                status = await self._process.wait()
        except TimeoutError:
            return "closed its output"
        self._check_forfeit()
        return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"

    async def _keep_stderr(self) -> None:
        """Keep the last bytes that the program writes to stderr."""
        assert self._process is not None and self._process.stderr is not None  # noqa: S101, PT018
        while data := await self._process.stderr.read(MAX_STDERR):
            self._stderr = (self._stderr + data)[-MAX_STDERR:]

    async def _watch_memory(self) -> None:
        """Measure the memory of the program and its children; end a program that holds too much."""
        import psutil  # type: ignore[import-untyped]

        assert self._process is not None  # noqa: S101
        while True:
            with contextlib.suppress(psutil.Error):
                parent = psutil.Process(self._process.pid)
                held = 0
                for process in (parent, *parent.children(recursive=True)):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        held += process.memory_info().rss
                self.peak = max(self.peak, held)
                if held > self._limits.memory:
                    self._forfeit = f"held {held:,} bytes of memory, more than {self._limits.memory:,}"
                    self._kill()
                    return
            await asyncio.sleep(MEMORY_INTERVAL)

    @property
    def stderr(self) -> str:
        """The end of what the program wrote to stderr."""
        return self._stderr.decode(errors="replace")

    def _kill(self) -> None:
        """Kill the program and its children."""
        import psutil

        assert self._process is not None  # noqa: S101
        processes = []
        with contextlib.suppress(psutil.Error):
            processes = psutil.Process(self._process.pid).children(recursive=True)
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        for process in processes:  # those that left the group
            with contextlib.suppress(psutil.Error):
                process.kill()

    async def __aenter__(self) -> Self:
        """Start the program."""
        await self.start()
        return self

    async def __aexit__(self, *details: object) -> None:
        """Close the program's input, wait a moment for its end, and kill what is left of it."""
        process = self._process
        if process is None:
            return
        try:
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await self._drained(process)
        finally:
            self._kill()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, process.wait(), return_exceptions=True)

    async def _drained(self, process: asyncio.subprocess.Process) -> None:
        """Read and drop the output until the program ends, so that a full pipe does not hold it."""
        assert process.stdout is not None  # noqa: S101
        while await process.stdout.read(2**16):
            pass
        await process.wait()
