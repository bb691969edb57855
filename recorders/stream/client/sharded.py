"""One stream over several connections, each with its share of the games: for lines on which one connection is too slow."""

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

TICK = 0.05  # seconds between looks at whether it is over

AHEAD = 2  # batches of each connection that may wait to be taken

#: What each connection may be told, and each stream.
OF_CONSUMER = tuple(name for name in keywords(ExperienceConsumer) if name != "address")
OF_STREAM = tuple(name for name in keywords(ExperienceConsumer.stream_experiences) if name not in ("resume", "shard", "shards"))

Arrived = Queue[tuple[int, ExperienceBatch, Position | None]]


class ShardedConsumer(NotCopied):
    """Receives the experiences of all games, each once; those of a game in order, games in any.

    Attributes:
        positions: Behind the last experience of each share that was handed out; to be given back as ``resume``.
    """

    _instead = "make another ShardedConsumer of the same address, and give its positions as resume"

    def __init__(self, address: str, shards: int, **options: Any) -> None:
        """Prepare to connect.

        Args:
            address: Host and port.
            shards: How many connections.
            **options: Of ``ExperienceConsumer``.

        Raises:
            ConfigError: If an argument is not what it should be.
            OptionError: If an option is unknown.
        """
        check_integer("shards", shards, 1, 64)
        check_options(ShardedConsumer, options, OF_CONSUMER)
        self._address, self._options = address, options
        self._consumers = [ExperienceConsumer(address, **options) for _ in range(shards)]
        self.positions: list[Position | None] = [None] * shards

    @property
    def missed(self) -> int:
        """Experiences that the server did not keep long enough, since the last stream began."""
        return sum(consumer.missed for consumer in self._consumers)

    def stream_experiences(
        self, *, resume: Sequence[Position | None] | None = None, **options: Any
    ) -> Iterator[ExperienceBatch]:
        """Yield experiences in batches, each of one share.

        Args:
            resume: Where each share is to go on, as ``positions`` was; with as many shards as then.
            **options: Of ``ExperienceConsumer.stream_experiences``, but ``shard`` and ``shards``.

        Raises:
            ConfigError: If an argument is not what it should be.
            OptionError: If an option is unknown.
            StorageError: As ``ExperienceConsumer.stream_experiences``, for any of the shares.
        """
        check_options(ShardedConsumer.stream_experiences, options, OF_STREAM)
        shards = len(self.positions)
        places: list[Position | None] = [None] * shards if resume is None else list(resume)
        if len(places) != shards:
            raise ConfigError(f"resume: expected a position for each of {shards} shards, got {len(places)}")
        self.close()
        self._consumers = [ExperienceConsumer(self._address, **self._options) for _ in range(shards)]
        self.positions = places
        return self._merged(options)

    def _merged(self, options: dict[str, Any]) -> Iterator[ExperienceBatch]:
        """Yield what comes over any connection, and keep the position of its share."""
        arrived: Arrived = Queue(AHEAD * len(self._consumers))
        over = threading.Event()
        readers = []
        try:
            for shard, consumer in enumerate(self._consumers):
                lane = Lane(arrived, shard, consumer, over)
                share = {"resume": self.positions[shard], "shard": shard, "shards": len(self.positions)}
                readers.append(read_into(consumer, lane, **options, **share))
            while True:
                running = any(reader.running for reader in readers)  # before the look at what has come
                for reader in readers:
                    reader.check()
                try:
                    shard, batch, position = arrived.get(timeout=TICK)
                except Empty:
                    if running:
                        continue
                    return
                self.positions[shard] = position
                yield batch
        finally:
            over.set()
            self.close()  # whatever waits, in either direction, ends by that

    def close(self) -> None:
        """End the stream, from any thread."""
        for consumer in self._consumers:
            consumer.close()


class Lane:
    """A sink that hands on what comes over one connection, and waits while nobody takes it."""

    def __init__(self, arrived: Arrived, shard: int, consumer: ExperienceConsumer, over: threading.Event) -> None:
        self._arrived, self._shard, self._consumer, self._over = arrived, shard, consumer, over

    def write(self, batch: ExperienceBatch) -> None:
        """Hand a batch on."""
        arrival = self._shard, batch, self._consumer.position
        while not self._over.is_set():
            try:
                self._arrived.put(arrival, timeout=TICK)
            except Full:
                continue
            return

    def flush(self) -> None:
        """Do nothing: there is no other place."""

    def close(self) -> None:
        """Do nothing."""
