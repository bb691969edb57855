"""A real server in a process of its own, for tests of both ends: started, told what to do, stopped, killed.

Run as a script it is that server. Its argument is its options as JSON; each line of its standard input is a command as JSON,
which it answers with another.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import generals_env
from generals_env.recorders import ExperienceBatch, ExperienceLog, ExperienceRecorder, ReplayBuffer
from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch
from generals_env.recorders.stream.server.limits import Limits
from generals_env.recorders.stream.server.server import ExperienceServer
from support.paths import TESTS

__all__ = ["ServerProcess"]


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
            address: Where to listen. The port that ``self.port`` tells can be given to the next one.
            limits: Arguments of ``Limits``.
            **options: Other arguments of ``ExperienceServer``; paths as strings.
        """
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error",
                "-m",
                "support.stream_process",
                json.dumps({"log": log, "buffer": buffer, "address": address, "limits": limits, "options": options}),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=TESTS,
        )
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
        """Write a batch to the source, and return the number that comes next."""
        path = Path(self._folder.name) / f"{next(self._numbers)}.batch"
        path.write_bytes(encode_batch(batch))
        return int(self.tell("write", path=str(path))["next"])

    def play(self, turns: int | None = None, *, num_envs: int = 8, pause: float = 0.0, **options: Any) -> None:
        """Record games into the source: some turns before this returns, or, without ``turns``, on and on beside the server.

        Args:
            turns: How many turns of each game.
            num_envs: How many games at once.
            pause: Seconds between two turns, when it goes on and on.
            **options: Of ``make_vec``.
        """
        self.tell("play", turns=turns, num_envs=num_envs, pause=pause, options=options)

    def span(self) -> tuple[int, int]:
        """Return the number of the oldest experience that is kept, and the one that the next will get."""
        first, following = self.tell("span")["span"]
        return first, following

    def memory(self) -> int:
        """Return the bytes of memory that the process has; 0 where the system does not tell."""
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
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def _ended(self) -> int:
        code = self._process.wait(600)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._folder.cleanup()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._process.poll() is None:
            self.kill()
        else:
            self._ended()


class Commands:
    """What the process does when it is told to."""

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


def say(answer: dict[str, Any]) -> None:
    """Answer."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main(arguments: dict[str, Any]) -> None:
    """Be the server until told to stop."""
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
    say({"address": server.address})
    for line in sys.stdin:
        try:
            answer = commands.run(**json.loads(line))
        except Exception as error:  # whatever it is, the test is to see it
            answer = {"error": f"{type(error).__name__}: {error}"}
        say(answer)
        if commands.stopped.is_set():
            return
    commands.do_stop(0.0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
