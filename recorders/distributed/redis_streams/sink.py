"""Defines ``RedisSink``: writes experience to a stream of Redis, each experience once, however often it is sent."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from generals_env.arguments import as_config, check_integer
from generals_env.concurrency.interrupts import deferred
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.distributed.redis_streams.address import parse_redis_address
from generals_env.recorders.distributed.redis_streams.chunks import MAX_ENTRY, RunTracker, digest_of, pieces
from generals_env.recorders.distributed.redis_streams.connection import RedisConnection
from generals_env.recorders.distributed.redis_streams.scripts import ADD
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import ClosingSink, checked_sink
from generals_env.recorders.filesystem.retry import Retry

__all__ = ["RedisSink", "open_redis"]

logger = logging.getLogger(__name__)

VERSION = (7, 0)  # of Redis: the first whose XAUTOCLAIM tells which entries were removed


@pickled_as("generals_env.recorders.distributed")
class RedisSink(NotCopied, ClosingSink):
    """Writes experience to a stream of Redis; ``write`` returns when the server has it.

    A batch becomes one entry, or several if it is large. The server numbers all experiences in the order in which they
    arrive, whatever the clocks of the producers say. It remembers which experiences of each producer it has, so nothing is
    written twice when a call is repeated after a lost answer, or when another process plays a task of a ``RolloutPlan``
    again: by ``metadata["run"]`` and ``sequence`` where this sink has seen the run from its first experience on, and by a
    digest of the chunk where it has not.

    The stream is bounded: beyond ``max_experiences`` the oldest entries are removed, whether they were read or not; readers
    count what they missed.

    In a process that was forked off the one that made the sink, ``write`` and ``flush`` raise ``StateError``, and ``close``
    does nothing.

    Examples:
        >>> with ExperienceRecorder(env, "redis://127.0.0.1:6379/0?stream=games") as env:  # doctest: +SKIP
        ...     env.reset(seed=1)

    Attributes:
        address: The address of the stream.
        accepted: Experiences that the server has added, of the batches for which ``write`` has returned.
        repeated: Experiences of these batches that it had before.
        restarts: How often the server had a new stream, without what it had before.
        reconnects: How often a call failed, and was tried again.
    """

    _instead = "make another RedisSink of its address"

    def __init__(
        self,
        address: str,
        *,
        max_experiences: int = 10_000_000,
        chunk_size: int = 16_384,
        max_chunk_bytes: int = 2**24,
        remembered_runs: int = 10_000,
        retry: Retry | Mapping[str, Any] | None = None,
        root_certificates: str | Path | None = None,
    ) -> None:
        """Prepare to connect; the first call connects.

        Args:
            address: ``redis://host:port/db?stream=NAME``, or ``rediss://`` for TLS. The password of the server is read from
                the environment variable ``GENERALS_ENV_REDIS_PASSWORD``.
            max_experiences: Maximum number of experiences in the stream, some 12 bytes each. With several sinks, each one
                applies its own with every chunk.
            chunk_size: Maximum number of experiences of an entry.
            max_chunk_bytes: Maximum bytes of an entry.
            remembered_runs: How many runs, and digests of other chunks, the server remembers to recognise repeats, some 200
                bytes each; those written last.
            retry: How often, and after which waits, to repeat a call that fails; by default for some ten seconds. ``write``
                blocks for this time while the server is gone.
            root_certificates: PEM file with CA certificates for the server, with TLS; by default those of the system.

        Raises:
            ConfigError: If an argument is invalid.
            ImportError: Without redis-py (``pip install "generals_env[redis]"``).
        """
        check_integer("max_experiences", max_experiences, 1, 2**50)
        check_integer("chunk_size", chunk_size, 1, 2**20)
        check_integer("max_chunk_bytes", max_chunk_bytes, 2**10, MAX_ENTRY - 2**10)  # it has other fields, too
        check_integer("remembered_runs", remembered_runs, 1, 2**24)
        retry = as_config("retry", Retry, retry, Retry(tries=10, first_wait=0.1, max_wait=2.0))
        self.address = address
        self._connection = RedisConnection(parse_redis_address(address), retry, root_certificates)
        self._max_experiences, self._remembered = max_experiences, remembered_runs
        self._chunk_size = min(chunk_size, max_experiences)  # the server would remove a larger entry as soon as it has it
        self._max_chunk_bytes = max_chunk_bytes
        self._runs = RunTracker()
        self._stream_id, self._seen = "", 0
        self._partly_written = False  # whether the last ``write`` failed, so that the server may have a part of the batch
        self._writing = threading.Lock()
        self._closed = False
        self._owner = Owner()
        self.accepted = self.repeated = self.restarts = 0

    @property
    def reconnects(self) -> int:
        """How often a call failed, and was tried again."""
        return self._connection.failures

    def check(self) -> None:
        """Check that the server answers, and that the stream can be written.

        Raises:
            StateError: After ``close``, or in a forked process.
            StorageError: If it cannot be reached, is too old, or the key holds another kind of value.
        """
        self._require_open("check")
        version = str(self._connection.call(lambda client: client.info("server"))["redis_version"])
        if tuple(int(part) for part in version.split(".")[:2]) < VERSION:
            raise StorageError(f"{self._connection.place}: expected Redis 7.0 or later, got {version}: use a newer server")
        stream = self._connection.address.stream
        kind = self._connection.call(lambda client: client.type(stream)).decode()
        if kind not in ("none", "stream"):
            raise StorageError(
                f"{self._connection.place}: expected a stream, got a key that holds a {kind}: use another name for the stream"
            )

    def write(self, batch: ExperienceBatch) -> int:
        """Add a batch; return when the server has all of it.

        Returns:
            How many experiences the server has added; those that it had before are not counted.

        Raises:
            ConfigError: If it is no batch, or an experience is larger than ``max_chunk_bytes``.
            StateError: After ``close``, or in a forked process.
            StorageError: If the server cannot be reached, or refuses. The batch may be written again: experiences that the
                server has are not added twice.
        """
        self._require_open("write")
        if not isinstance(batch, ExperienceBatch):
            raise ConfigError(f"batch: expected an ExperienceBatch, got {type(batch).__name__}")
        with self._writing, deferred():
            added = repeated = 0
            try:
                for part, data in pieces(batch, self._chunk_size, self._max_chunk_bytes):
                    key, first = self._runs.key(part)
                    new = self._add(part, data, key, first)
                    self._runs.passed(part, key, first)
                    added, repeated = added + new, repeated + len(part) - new
            except BaseException:
                self._partly_written = True
                raise
            self._partly_written = False
            known, self.repeated = self.repeated, self.repeated + repeated
            self.accepted += added
        if repeated and not known:  # told once: a task that is played again repeats many batches
            logger.warning("%s has had %d of %d experiences before", self._connection.place, repeated, len(batch))
        return added

    def _add(self, chunk: ExperienceBatch, data: bytes, key: str, first: int) -> int:
        """Add a chunk, which begins with sequence ``first`` of the run ``key``; return how many experiences are new."""
        failures = self._connection.failures
        answer = self._connection.run(ADD, self._arguments(chunk, data, key, first))
        said, stream_id, following = answer[0], answer[1].decode(), int(answer[2])
        if self._stream_id and stream_id != self._stream_id:
            logger.warning("%s has another stream: what it had before is gone", self._connection.place)
            self.restarts += 1
        self._stream_id, self._seen = stream_id, following
        new = len(chunk) if said == b"added" else 0
        if said == b"overlap":
            sequences, low, high = chunk.sequence, int(answer[3]), int(answer[4])
            for wanted in (sequences < low, sequences > high):
                if wanted.any():
                    for part, encoded in pieces(chunk.select(wanted).compact(), self._chunk_size, self._max_chunk_bytes):
                        new += self._add(part, encoded, key, int(part.sequence[0]))
        elif said == b"repeat" and (self._partly_written or self._connection.failures > failures):
            new = len(chunk)  # an earlier try has added it, whose answer was lost
        return new

    def _arguments(self, chunk: ExperienceBatch, data: bytes, key: str, first: int) -> list[Any]:
        """Return the arguments of the script that adds a chunk."""
        return [
            uuid.uuid4().hex[:16],
            self._stream_id,
            self._seen,
            len(chunk),
            self._max_experiences,
            self._remembered,
            key,
            first,
            digest_of(chunk),
            round(time.time() * 1000),
            data,
        ]

    def _require_open(self, name: str) -> None:
        self._owner.check("sink")
        if self._closed:
            raise StateError(f"{name}: expected an open sink, got one that is closed: make a new one")

    def flush(self) -> None:
        """Do nothing: the server has all that was written; how durable that is, its settings decide.

        Raises:
            StateError: In a forked process.
        """
        self._owner.check("sink")

    def close(self) -> None:
        """Disconnect. In a forked child it does not touch the connection."""
        if not self._owner.is_here:
            return
        self._closed = True
        self._connection.close()


def open_redis(address: str) -> RedisSink:
    """Return a sink for an address, after ``check``.

    Raises:
        ConfigError: If the address is invalid.
        ImportError: Without redis-py (``pip install "generals_env[redis]"``).
        StorageError: If the server cannot be reached, or the stream cannot be written.
    """
    return checked_sink(RedisSink(address))
