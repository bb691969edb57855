"""Divides what a stream of Redis holds into parts of a dataset: ranges of entries that are read at once."""

from __future__ import annotations

from dataclasses import dataclass

from generals_env.errors import StorageError
from generals_env.recorders.distributed.redis_streams.address import parse_redis_address
from generals_env.recorders.distributed.redis_streams.chunks import MAX_ENTRY, decode_entry, entry_span, fields_of
from generals_env.recorders.distributed.redis_streams.connection import RedisConnection
from generals_env.recorders.distributed.redis_streams.scripts import IDS, READ
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.filter import EVERYTHING, ExperienceFilter
from generals_env.recorders.filesystem.retry import Retry

__all__ = ["RedisPart", "redis_parts"]

EXPERIENCES = 65_536  # of a part at least: 31 MB of memory at 20x20

PAGE = 64  # entries that are listed, or read, at once: the server does nothing else meanwhile


@dataclass(frozen=True)
class RedisPart:
    """Entries of a stream that follow each other.

    Attributes:
        address: The address of the stream.
        stream_id: The id of the stream.
        first: Sequence of the first experience.
        last: Sequence of the last experience.
        experiences: Number of experiences.
        size: Bytes in the server.
        retry: How often calls are tried.
        format: Always ``"redis"``.
    """

    address: str
    stream_id: str
    first: int
    last: int
    experiences: int
    size: int
    retry: Retry
    format: str = "redis"

    @property
    def place(self) -> str:
        """Address and range, for messages."""
        return f"{self.address} [{self.first} to {self.last}]"

    def may_hold(self, selection: ExperienceFilter) -> bool:
        """Return True: entries have no index."""
        return True

    def read(self, selection: ExperienceFilter = EVERYTHING) -> ExperienceBatch | None:
        """Return the selected experiences, None if there are none.

        Raises:
            StorageError: If the server cannot be reached, an entry is damaged, or some were removed since.
        """
        connection = RedisConnection(parse_redis_address(self.address), self.retry)
        found, following, held = [], self.first, 0
        try:
            while following <= self.last:
                stream_id, _, _, entries = connection.run(READ, [following, PAGE, MAX_ENTRY, "", 0, "", b""])
                entries = [] if stream_id.decode() != self.stream_id else entries
                for name, flat in entries:
                    first, count = entry_span(name)
                    following = first + max(count, 1)
                    if first <= self.last:
                        batch = decode_entry(name, fields_of(flat), connection.place).batch
                        held += len(batch)
                        found.append(selection.apply(batch))
                if not entries:
                    break
        finally:
            connection.close()
        if held != self.experiences:
            raise StorageError(
                f"path: expected {self.experiences} experiences in {self.place!r}, got {held}: the others were removed since; "
                "open the dataset again"
            )
        found = [batch for batch in found if len(batch)]
        return ExperienceBatch.concat(found) if found else None


def redis_parts(address: str, retry: Retry | None = None) -> list[RedisPart]:
    """Return the parts of a stream as it is now.

    Raises:
        ConfigError: If the address is invalid.
        ImportError: Without redis-py (``pip install "generals_env[redis]"``).
        StorageError: If the server cannot be reached, or there is no such stream.
    """
    retry = retry or Retry()
    connection = RedisConnection(parse_redis_address(address), retry)
    spans: list[tuple[int, int, int]] = []
    stream_id, after = "", "-"
    try:
        while True:
            answered, names, sizes = connection.run(IDS, [after, PAGE])
            stream_id = answered.decode()
            spans += [(*entry_span(name), int(size)) for name, size in zip(names, sizes, strict=True)]
            if len(names) < PAGE:
                break
            after = f"({names[-1].decode()}"
    finally:
        connection.close()
    if not stream_id:
        raise StorageError(f"path: expected a stream of experiences, got none at {connection.place}: record into it first")
    parts: list[RedisPart] = []
    low = held = size = 0
    for number, (first, count, bytes_of_entry) in enumerate(spans):
        low = first if not held else low
        held, size = held + count, size + bytes_of_entry
        if held >= EXPERIENCES or number == len(spans) - 1:
            parts.append(RedisPart(address, stream_id, low, first + count - 1, held, size, retry))
            held = size = 0
    return parts
