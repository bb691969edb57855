"""Runs a real Redis server in a folder of its own, kills it, and cuts its append-only file; makes runs for its streams."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from generals_env.recorders import ExperienceBatch
from support.helpers import wait_until
from support.recorded import facts, games_of, renamed

MISSING = "redis-server is not on this machine: apt-get install redis-server"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A server on loopback that keeps an append-only file.

    Attributes:
        port: Its port.
        client: A client without a password, for checks beside the code under test.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        """Start the program, or skip the test without it."""
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip(MISSING)
        redis = pytest.importorskip("redis", reason="redis is not installed: pip install generals_env[redis]")
        self.folder, self._program, self._options = folder, program, options
        self.port = free_port()
        retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        self.client: Any = redis.Redis(port=self.port, protocol=2, retry=retry)
        self.start()

    def start(self) -> None:
        """Start the program, also again with the append-only file of before, and wait until it answers."""
        settings = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": "", "appendonly": "yes"}
        arguments = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
        with (self.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen([self._program, *arguments, *self._options], stdout=log, stderr=log)
        wait_until(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log.txt").read_text()
        try:
            return bool(self.client.ping())
        except Exception as error:
            return "uthentication" in str(error)  # any other error: it is not ready

    def kill(self) -> None:
        """Kill the program."""
        self._process.kill()
        self._process.wait()

    @property
    def file(self) -> Path:
        """The append-only file that is written now."""
        return max((self.folder / "appendonlydir").glob("*.incr.aof"))

    def cut(self, size: int) -> None:
        """Kill the program, cut its append-only file to ``size`` bytes, as a loss of power may do, and start it again."""
        self.kill()
        os.truncate(self.file, size)
        self.start()

    def address(self, stream: str | None = None, **options: str) -> str:
        """Return the address of a stream, by default of a new one."""
        return self.at(self.port, stream or uuid4().hex, **options)

    @staticmethod
    def at(port: int, stream: str, **options: str) -> str:
        """Return the address of a stream at a port of loopback."""
        return f"redis://127.0.0.1:{port}/0?stream={stream}" + "".join(f"&{name}={value}" for name, value in options.items())


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Return a server that tests share, each with streams of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.client.close()
    server.kill()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a server of one test, which may kill it."""
    server = RedisServer(tmp_path)
    yield server
    server.client.close()
    server.kill()


def a_run(name: str, first: int = 0, count: int = 200, kind: str = "two players") -> ExperienceBatch:
    """Return experiences ``first`` to ``first + count`` of a run as its recorder writes them."""
    parts: list[ExperienceBatch] = []
    for number, game in enumerate(games_of(kind)):
        parts.append(renamed(game, f"{name}-{number}", sum(map(len, parts))))
    whole = replace(ExperienceBatch.concat(parts), metadata={"run": name, "seed": "several"})
    assert first + count <= len(whole)
    return whole.select(np.arange(first, first + count))


def told(batches: Iterable[ExperienceBatch]) -> list[tuple[Any, ...]]:
    """Return all facts of experiences but their sequences, which a stream numbers anew."""
    return [(*fact[:2], *fact[3:]) for batch in batches for fact in facts(batch)]
