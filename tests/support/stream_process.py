"""Runs a real stream server in its own process, which tests start, command, stop and kill.

Tests start hundreds of servers, and the imports of a server take most of its start: a process that has made them is kept, from
which each server is forked. Systems that cannot fork make them for each server.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import warnings
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import generals_env
from generals_env.recorders import ExperienceBatch, ExperienceLog, ExperienceRecorder, ReplayBuffer
from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch
from generals_env.recorders.stream.server.limits import Limits
from generals_env.recorders.stream.server.server import ExperienceServer
from support.helpers import PATIENCE
from support.paths import TESTS

__all__ = ["ServerProcess"]

CAN_FORK = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT: Any = multiprocessing.get_context("forkserver" if CAN_FORK else "spawn")
if CAN_FORK:
    CONTEXT.set_forkserver_preload(
        [module.__module__ for module in (ExperienceLog, ExperienceRecorder, ReplayBuffer, ExperienceServer, encode_batch)]
    )


class ServerProcess:
    """A server over a log or a buffer in another process.

    Example:
        >>> with ServerProcess(log={"folder": str(tmp_path)}) as server:  # doctest: +SKIP
        ...     server.write(batch)
        ...     grpc.insecure_channel(server.address)
    """

    def __init__(
        self,
        *,
        log: dict[str, Any] | None = None,
        buffer: dict[str, Any] | None = None,
        address: str = "127.0.0.1:0",
        limits: dict[str, int] | None = None,
        **options: Any,
    ) -> None:
        """Start it, and wait until it answers.

        Args:
            log: Arguments of ``ExperienceLog``; ``folder`` as a string.
            buffer: Arguments of ``ReplayBuffer``, instead of ``log``.
            address: Where to listen. The port in ``self.port`` can be given to the next server.
            limits: Arguments of ``Limits``.
            **options: Other arguments of ``ExperienceServer``; paths as strings.
        """
        arguments = {"log": log, "buffer": buffer, "address": address, "limits": limits, "options": options}
        self._connection, other = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=serve, args=(other, dict(os.environ), arguments), daemon=True)
        self._process.start()
        other.close()  # the end of the process is the end of the connection
        self._folder = tempfile.TemporaryDirectory()
        self._numbers = count()
        self._asking = threading.Lock()
        try:
            self.address: str = self._answer()["address"]
        except BaseException:
            self.kill()
            raise
        self.port = int(self.address.rpartition(":")[2])
        self.pid = self._process.pid

    def write(self, batch: ExperienceBatch) -> int:
        """Write a batch to the source, and return the next number."""
        path = Path(self._folder.name) / f"{next(self._numbers)}.batch"
        path.write_bytes(encode_batch(batch))
        return int(self.tell("write", path=str(path))["next"])

    def play(self, turns: int | None = None, *, num_envs: int = 8, pause: float = 0.0, **options: Any) -> None:
        """Record games into the source: some turns before this returns, or, without ``turns``, continuously beside the server.

        Args:
            turns: How many turns of each game.
            num_envs: How many games at once.
            pause: Seconds between two turns, if continuous.
            **options: Of ``make_vec``.
        """
        self.tell("play", turns=turns, num_envs=num_envs, pause=pause, options=options)

    def span(self) -> tuple[int, int]:
        """Return the number of the oldest experience that is kept, and the one that the next will get."""
        first, following = self.tell("span")["span"]
        return first, following

    def memory(self) -> int:
        """Return the memory of the process in bytes; 0 where the system does not report it."""
        status = Path(f"/proc/{self._process.pid}/status")
        lines = status.read_text().splitlines() if status.exists() else []
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

    def stop(self, grace: float = 5.0) -> int:
        """Let it stop as a server should, and return how the process ended: 0 if well."""
        self.tell("stop", grace=grace)
        return self._ended()

    def terminate(self) -> int:
        """Ask the process to end, as systems do, and return how it did."""
        self._process.terminate()
        return self._ended()

    def kill(self) -> None:
        """End the process at once, wherever it is (SIGKILL)."""
        self._process.kill()
        self._ended()

    def tell(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Give a command and return the answer."""
        with self._asking:
            self._connection.send({"command": command, **arguments})
            return self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._connection.recv()
        except (EOFError, ConnectionError):
            raise RuntimeError(f"the server ended with {self._ended()}") from None
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def _ended(self) -> int:
        self._process.join(PATIENCE)
        code = self._process.exitcode
        assert code is not None, f"expected the server to end in {PATIENCE} s"
        self._connection.close()
        self._folder.cleanup()
        return int(code)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.kill()


class Commands:
    """The commands of the process."""

    def __init__(self, source: ExperienceLog | ReplayBuffer, server: ExperienceServer) -> None:
        self.source, self.server = source, server
        self.stopped = threading.Event()
        self.players: list[threading.Thread] = []

    def run(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Run a command and return its answer."""
        answer: dict[str, Any] | None = getattr(self, f"do_{command}")(**arguments)
        return answer or {}

    def do_write(self, path: str) -> dict[str, Any]:
        self.source.write(decode_batch(Path(path).read_bytes()))
        return {"next": self.do_span()["span"][1]}

    def do_span(self) -> dict[str, Any]:
        if isinstance(self.source, ReplayBuffer):
            return {"span": self.source.span}
        return {"span": (self.source.first, self.source.last + 1)}

    def do_play(self, turns: int | None, num_envs: int, pause: float, options: dict[str, Any]) -> None:
        if turns is not None:
            self.play(turns, num_envs, 0, options)
            return
        thread = threading.Thread(target=self.play, args=(None, num_envs, pause, options))
        self.players.append(thread)
        thread.start()

    def play(self, turns: int | None, num_envs: int, pause: float, options: dict[str, Any]) -> None:
        env = ExperienceRecorder(generals_env.make_vec(num_envs, **options), Open(self.source))
        policies = ("expander", "random") * 8
        env.reset(seed=1)
        policies = policies[: env.unwrapped.config.players]
        if turns is not None:
            env.play(turns, policies)
        while turns is None and not self.stopped.wait(pause):
            env.play(1, policies)
            env.flush()
        env.close()

    def do_clear(self) -> None:
        assert isinstance(self.source, ReplayBuffer)
        self.source.clear()

    def do_close_source(self) -> None:
        self.source.close()

    def do_stop(self, grace: float) -> None:
        self.stopped.set()
        for player in self.players:
            player.join()
        self.server.stop(grace)
        self.source.close()


class Open:
    """A sink that stays open when a recorder closes."""

    def __init__(self, sink: ExperienceLog | ReplayBuffer) -> None:
        self.write, self.flush = sink.write, sink.flush

    def close(self) -> None:
        """Do nothing."""


def serve(connection: Connection, environment: dict[str, str], arguments: dict[str, Any]) -> None:
    """Run the server until the command to stop, or until the end of the connection."""
    warnings.simplefilter("error")
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(TESTS)
    source: ExperienceLog | ReplayBuffer
    source = ExperienceLog(**arguments["log"]) if arguments["log"] else ReplayBuffer(**arguments["buffer"])
    limits = Limits(**arguments["limits"] or {})
    server = ExperienceServer(source, arguments["address"], limits=limits, **arguments["options"])
    commands = Commands(source, server)

    def leave(*_: Any) -> None:
        commands.do_stop(5.0)
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)
    server.start()
    connection.send({"address": server.address})
    while not commands.stopped.is_set():
        try:
            command = connection.recv()
        except EOFError:
            commands.do_stop(0.0)
            return
        try:
            answer = commands.run(**command)
        except Exception as error:  # the test must see any error
            answer = {"error": f"{type(error).__name__}: {error}"}
        connection.send(answer)
