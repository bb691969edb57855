"""Starts the servers of a stream: a gRPC server over a log, and Redis with its append-only file, each on loopback."""

from __future__ import annotations

import itertools
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from benchmarks.line_process import LineProcess

__all__ = ["SERVERS", "WORKER", "StreamServer", "ask", "missing"]

WORKER = "scale"


def ask(process: LineProcess, command: str) -> Any:
    """Return the answer of a process to a command."""
    process.send(command)
    return json.loads(process.line())


class StreamServer(Protocol):
    """A server in a process of its own.

    Attributes:
        address: Its URL.
        pid: Its process.
    """

    address: str
    pid: int

    def clear(self) -> None:
        """Forget what was noted."""

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used."""

    def costs(self) -> list[float]:
        """Return the seconds of CPU from each piece that it has stored to the next one; empty if it does not note them."""


class GrpcServer:
    """An ``ExperienceServer`` over a log."""

    def __init__(self, process: LineProcess) -> None:
        self.process, self.pid = process, process.process.pid
        self.address = process.line()

    def clear(self) -> None:
        """Forget what was noted."""
        ask(self.process, "clear")

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used."""
        return float(ask(self.process, "cpu")["cpu"])

    def costs(self) -> list[float]:
        """Return the seconds of CPU from each piece to the next one."""
        notes = ask(self.process, "tell")["notes"]
        return [after - before for before, after in itertools.pairwise(notes)]


@contextmanager
def grpc_server() -> Iterator[GrpcServer]:
    """Start a server over a log in a folder of the current directory."""
    with tempfile.TemporaryDirectory(dir=".") as folder, LineProcess(WORKER, "server", str(Path(folder).resolve())) as process:
        yield GrpcServer(process)


class RedisServer:
    """A ``redis-server``."""

    def __init__(self, port: int, pid: int) -> None:
        import redis

        self.address, self.pid = f"redis://127.0.0.1:{port}/0?stream=scale", pid
        self.client = redis.Redis(port=port, socket_timeout=30)

    def clear(self) -> None:
        """Do nothing: it notes nothing."""

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used."""
        told: dict[str, float] = self.client.info("cpu")  # type: ignore[assignment]
        return float(told["used_cpu_user"] + told["used_cpu_sys"])

    def costs(self) -> list[float]:
        """Return an empty list."""
        return []


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Start ``redis-server`` with an append-only file in a folder of the current directory, synced once a second."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(dir=".") as folder:
        options = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "yes", "appendfsync": "everysec"}
        command = ["redis-server", *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if time.monotonic() > deadline or process.poll() is not None:
                        raise
                    time.sleep(0.02)
            yield RedisServer(port, process.pid)
        finally:
            process.kill()
            process.wait()


#: Servers by name.
SERVERS = {"grpc": grpc_server, "redis": redis_server}


def missing(name: str) -> str:
    """Return why a kind of server cannot be measured here, "" if it can."""
    if name == "redis" and shutil.which("redis-server") is None:
        return "expected the program redis-server, found none: install it (Debian: apt-get install redis-server)"
    return ""
