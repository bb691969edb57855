"""Receives one stream over several connections, one shard of the games each: for networks where one is too slow."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from queue import Empty, Full, Queue
from typing import Any

from generals_env.arguments import check_integer, check_options, keywords
from generals_env.errors import ConfigError
from generals_env.pickling import NotCopied
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.stream.client.background_reader import read_into
from generals_env.recorders.stream.client.consumer import ExperienceConsumer, Position

__all__ = ["ShardedConsumer"]

TICK = 0.05  # seconds between checks for the end

AHEAD = 2  # batches per connection that are received ahead

#: Options that are passed on to each consumer, and to each stream.
CONSUMER_OPTIONS = tuple(name for name in keywords(ExperienceConsumer) if name != "address")
STREAM_OPTIONS = tuple(
    name for name in keywords(ExperienceConsumer.stream_experiences) if name not in ("resume", "shard", "shards")
)

ReceivedQueue = Queue[tuple[int, ExperienceBatch, Position | None]]


class ShardedConsumer(NotCopied):
    """Receives the experiences of all games, each once; in order within a game, in any order between games.

    Attributes:
        positions: Position after the last yielded experience of each shard; pass it as ``resume`` to continue.
    """

    _instead = "make another ShardedConsumer of the same address, and give its positions as resume"

    def __init__(self, address: str, shards: int, **options: Any) -> None:
        """Prepare to connect.

        Args:
            address: Host and port.
            shards: Number of connections.
            **options: Arguments of ``ExperienceConsumer``.

        Raises:
            ConfigError: If an argument is invalid.
            OptionError: If an option is unknown.
        """
        check_integer("shards", shards, 1, 64)
        check_options(ShardedConsumer, options, CONSUMER_OPTIONS)
        self._address, self._options = address, options
        self._consumers = [ExperienceConsumer(address, **options) for _ in range(shards)]
        self.positions: list[Position | None] = [None] * shards

    @property
    def missed(self) -> int:
        """Experiences of the current stream that the server dropped before they were sent."""
        return sum(consumer.missed for consumer in self._consumers)

    def stream_experiences(
        self, *, resume: Sequence[Position | None] | None = None, **options: Any
    ) -> Iterator[ExperienceBatch]:
        """Yield experiences in batches, each of one shard.

        Args:
            resume: Former ``positions`` to continue from; the number of shards must be the same.
            **options: Arguments of ``ExperienceConsumer.stream_experiences`` other than ``shard`` and ``shards``.

        Raises:
            ConfigError: If an argument is invalid.
            OptionError: If an option is unknown.
            StorageError: As ``ExperienceConsumer.stream_experiences``, for any shard.
        """
        check_options(ShardedConsumer.stream_experiences, options, STREAM_OPTIONS)
        shards = len(self.positions)
        positions: list[Position | None] = [None] * shards if resume is None else list(resume)
        if len(positions) != shards:
            raise ConfigError(
                f"resume: expected a position for each of {shards} shards, got {len(positions)}: pass positions as they were"
            )
        self.close()
        self._consumers = [ExperienceConsumer(self._address, **self._options) for _ in range(shards)]
        self.positions = positions
        return self._merge(options)

    def _merge(self, options: dict[str, Any]) -> Iterator[ExperienceBatch]:
        """Yield batches of all connections as they arrive, and update the position of their shard."""
        queue: ReceivedQueue = Queue(AHEAD * len(self._consumers))
        stopping = threading.Event()
        readers = []
        try:
            for shard, consumer in enumerate(self._consumers):
                sink = QueueSink(queue, shard, consumer, stopping)
                shard_options = {"resume": self.positions[shard], "shard": shard, "shards": len(self.positions)}
                readers.append(read_into(consumer, sink, **options, **shard_options))
            while True:
                # Asked before the queue, so that batches of a reader that ends in between are still taken.
                running = any(reader.running for reader in readers)
                for reader in readers:
                    reader.check()
                try:
                    shard, batch, position = queue.get(timeout=TICK)
                except Empty:
                    if running:
                        continue
                    return
                self.positions[shard] = position
                yield batch
        finally:
            stopping.set()
            self.close()  # ends all waits of the readers, for the server or for the queue

    def close(self) -> None:
        """End the stream; can be called from any thread."""
        for consumer in self._consumers:
            consumer.close()


class QueueSink:
    """Sink that puts the batches of one connection into a shared queue, and blocks while it is full."""

    def __init__(self, queue: ReceivedQueue, shard: int, consumer: ExperienceConsumer, stopping: threading.Event) -> None:
        self._queue, self._shard, self._consumer, self._stopping = queue, shard, consumer, stopping

    def write(self, batch: ExperienceBatch) -> None:
        """Put a batch into the queue, with its shard and position."""
        item = self._shard, batch, self._consumer.position
        while not self._stopping.is_set():
            try:
                self._queue.put(item, timeout=TICK)
            except Full:
                continue
            return

    def flush(self) -> None:
        """Do nothing: batches are in memory only."""

    def close(self) -> None:
        """Do nothing."""
