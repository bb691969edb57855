"""Runs clients of a stream in processes of their own, which tests kill: forked, as the servers are, where systems can fork."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from generals_env.recorders import ExperienceConsumer, ExperienceLog, Retry
from generals_env.recorders.stream.client.log_cache import cached
from generals_env.recorders.stream.client.position import Position
from support.helpers import PATIENCE
from support.stream_process import CONTEXT

__all__ = ["ClientProcess", "keep", "read_on"]


class ClientProcess:
    """A client that says after each batch that it is going on; the end of the block kills it (SIGKILL), wherever it is."""

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        """Start ``target``, which gets a connection and the arguments."""
        self._connection, other = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=target, args=(other, *arguments), daemon=True)
        self._process.start()
        other.close()

    def wait_for_batch(self) -> None:
        """Wait until it has finished another batch."""
        assert self._connection.poll(PATIENCE)
        assert self._connection.recv() == "going on"

    def __enter__(self) -> Self:
        """Return the process."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Kill it."""
        self._process.kill()
        self._process.join(PATIENCE)
        self._connection.close()


def read_on(connection: Connection, address: str, path: str, out: str) -> None:
    """Append the numbers of experiences to a file, from the saved position on, and save the position after each batch."""
    consumer = ExperienceConsumer(address)
    with Path(out).open("ab", buffering=0) as file:
        for batch in consumer.stream_experiences(batch_size=7, resume=Position.load(Path(path)), max_batch_wait_ms=1):
            file.write(b"".join(b"%d\n" % number for number in batch.sequence.tolist()))
            assert consumer.position is not None
            consumer.position.save(Path(path))
            connection.send("going on")


def keep(connection: Connection, address: str, folder: str) -> None:
    """Keep the stream in a log."""
    log = ExperienceLog(folder, "normal")
    consumer = ExperienceConsumer(address, retry=Retry(tries=1000, first_wait=0.02, max_wait=0.1))
    for _ in cached(consumer, log, batch_size=7, max_batch_wait_ms=1):
        connection.send("going on")
