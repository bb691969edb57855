"""Defines ``RedisSource``: reads experience from a stream of Redis, by position or as a consumer of a group."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from generals_env.arguments import as_config, check_flag, check_integer, is_number
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.distributed.redis_streams.address import parse_redis_address
from generals_env.recorders.distributed.redis_streams.connection import RedisConnection
from generals_env.recorders.distributed.redis_streams.readers import GroupReader, PositionReader
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.filter import ExperienceFilter
from generals_env.recorders.filesystem.retry import Retry
from generals_env.recorders.stream.client.position import Position
from generals_env.recorders.stream.client.rebatch import rebatch

__all__ = ["RedisSource"]

STARTS = ("oldest", "now")

POLL = 0.02  # seconds between questions for new entries


@pickled_as("generals_env.recorders.distributed")
class RedisSource(NotCopied):
    """Reads experience from a stream of Redis, in the order in which the server added it.

    Without a group, a source reads everything from a position on, and continues from a saved ``position`` as an
    ``ExperienceConsumer`` does. The sources of a consumer group (``&group=NAME`` in the address) share a stream: the server
    assigns each entry to one of them, and remembers it as pending until that one acknowledges it. ``acknowledge`` belongs
    after the experiences are stored. What a source did not acknowledge is read again: by itself, if it is opened with the same
    ``consumer``, or by another source of the group after ``min_idle`` seconds.

    So in a group each experience is read at least once; one source never yields an entry twice. After a crash between
    storing and acknowledging, entries are read a second time: a ``DeduplicatingSink`` drops them by their ids.

    Examples:
        >>> with RedisSource("redis://127.0.0.1:6379/0?stream=games&group=learners") as source:  # doctest: +SKIP
        ...     for batch in source.stream_experiences(batch_size=256):
        ...         writer.write(batch)
        ...         writer.flush()
        ...         source.acknowledge()

    Attributes:
        address: The address of the stream.
        consumer: Name of this source in its group; None without a group.
        position: Position after the last experience that was yielded; None before the first one, and in a group, whose
            position the server has.
        written_at: When the last entry was written, in seconds since 1970 by the clock of its producer.
    """

    _instead = "make another RedisSource of its address, and give its position as resume"

    def __init__(
        self,
        address: str,
        *,
        min_idle: float = 600.0,
        on_damage: str = "raise",
        retry: Retry | Mapping[str, Any] | None = None,
        root_certificates: str | Path | None = None,
    ) -> None:
        """Prepare to connect; the first call connects.

        Args:
            address: ``redis://host:port/db?stream=NAME[&group=NAME][&consumer=NAME]``, or ``rediss://`` for TLS. The password
                of the server is read from the environment variable ``GENERALS_ENV_REDIS_PASSWORD``.
            min_idle: Seconds after which entries that another source of the group has not acknowledged are taken over; more
                than the time between two acknowledgements.
            on_damage: What happens with entries that are damaged, or not made by a ``RedisSink``: ``"raise"``, or ``"skip"``
                to log them and leave them out.
            retry: How often, and after which waits, to repeat a call that fails; by default for about two minutes.
            root_certificates: PEM file with CA certificates for the server, with TLS; by default those of the system.

        Raises:
            ConfigError: If an argument is invalid.
            ImportError: Without redis-py (``pip install "generals_env[redis]"``).
        """
        if not is_number(min_idle) or not 0 <= min_idle < 2**31:
            raise ConfigError(f"min_idle: expected seconds, 0 or more, got {min_idle!r}")
        if on_damage not in ("raise", "skip"):
            raise ConfigError(f"on_damage: expected raise or skip, got {on_damage!r:.80}")
        place = parse_redis_address(address)
        self.address = address
        self._closed = threading.Event()
        retry = as_config("retry", Retry, retry, Retry(tries=20, first_wait=0.1, max_wait=10.0))
        retry = replace(retry, sleep=self._rest)
        self._connection = RedisConnection(place, retry, root_certificates)
        self._group: GroupReader | None = None
        self._reader: GroupReader | PositionReader
        self.consumer = place.consumer
        stop = self._closed.is_set
        if place.group is None:
            self._reader = PositionReader(self._connection, on_damage, stop)
        else:
            self.consumer = place.consumer or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
            self._reader = self._group = GroupReader(self._connection, on_damage, stop, self.consumer, float(min_idle))
        self.position: Position | None = None
        self.written_at: float | None = None
        self._owner = Owner()

    def _rest(self, seconds: float) -> None:
        """Wait, or until the source is closed."""
        self._closed.wait(seconds)

    # --- Counters -------------------------------------------------------------------------------------------------

    @property
    def missed(self) -> int:
        """Experiences that were removed from the stream before this source, or its group, had read them."""
        return self._reader.missed

    @property
    def restarts(self) -> int:
        """How often the server had another stream, or had lost entries that were read."""
        return self._reader.restarts

    @property
    def reconnects(self) -> int:
        """How often a call failed, and was tried again."""
        return self._connection.failures

    @property
    def claimed(self) -> int:
        """Experiences that were taken over from other sources of the group."""
        return 0 if self._group is None else self._group.claimed

    @property
    def damaged(self) -> int:
        """Entries that were skipped because they are damaged."""
        return self._reader.damaged

    # --- Reading --------------------------------------------------------------------------------------------------

    def stream_experiences(
        self,
        game_ids: Collection[str] | None = None,
        player_ids: Collection[int] | None = None,
        batch_size: int | None = 32,
        follow: bool = True,
        *,
        min_turn: int = 0,
        start: str | int = "oldest",
        resume: Position | Mapping[str, Any] | None = None,
    ) -> Iterator[ExperienceBatch]:
        """Yield experiences in batches; the column ``sequence`` is their index in the stream.

        A batch counts as handled, and may be acknowledged, when the next one is asked for.

        Args:
            game_ids: Only experiences of these games.
            player_ids: Only experiences of these players.
            batch_size: Experiences of each batch but the last; None for entries as they are, which is the fastest.
            follow: Whether to go on for ever with experiences that are added later; else the stream ends with those that the
                server has now.
            min_turn: Only experiences from this turn on.
            start: ``"oldest"`` experience, ``"now"``, or the sequence of the first one; a group has a start when its first
                source makes it, ``"oldest"`` or ``"now"``.
            resume: A former ``position`` to continue from, instead of ``start``; without a group.

        Raises:
            ConfigError: If an argument is invalid.
            StateError: After ``close``, or in a process forked off the one that created the source.
            StorageError: If the server cannot be reached or refuses, or an entry is damaged.
        """
        self._owner.check("source")
        if self._closed.is_set():
            raise StateError("stream_experiences: expected an open source, got one that is closed: make another")
        if batch_size is not None:
            check_integer("batch_size", batch_size, 1, 2**31)
        if isinstance(start, str) and start not in STARTS:
            raise ConfigError(f"start: expected one of {', '.join(STARTS)}, or a sequence, got {start!r:.80}")
        if not isinstance(start, str):
            check_integer("start", start, 0, 2**53 - 1)
        if self._group is not None and (resume is not None or not isinstance(start, str)):
            raise ConfigError('resume, start: expected None and "oldest" or "now" in a group, whose position the server has')
        check_flag("follow", follow)
        selection = ExperienceFilter.of(game_ids, player_ids, min_turn)
        self.position = None if resume is None else as_config("resume", Position, resume)
        if self.position is not None:
            check_integer("next_sequence", self.position.next_sequence, 0, 2**53 - 1)
            if not isinstance(self.position.stream_id, str):
                raise ConfigError(f"stream_id: expected text, got {self.position.stream_id!r:.80}: pass a saved position")
        return self._batches(selection, batch_size, follow, start, self.position)

    def _batches(
        self, selection: ExperienceFilter, size: int | None, follow: bool, start: str | int, resume: Position | None
    ) -> Iterator[ExperienceBatch]:
        """Yield batches of ``size``, or as they are for None, and update ``position``."""
        received = self._received(selection, follow, start, resume)
        for batch, position in received if size is None else rebatch(received, size):
            if self._group is None:
                self.position = position
            if self._group is not None:
                self._group.yielding(0 if batch is None else len(batch))
            if batch is not None:
                yield batch
            if self._group is not None:
                self._group.handle()

    def _received(
        self, selection: ExperienceFilter, follow: bool, start: str | int, resume: Position | None
    ) -> Iterator[tuple[ExperienceBatch | None, Position]]:
        """Yield the selected experiences of each entry, with the position after them."""
        try:
            self._reader.begin(start, resume)
            while not self._closed.is_set():
                self._owner.check("source")
                idle = True
                for entry, position in self._reader.read():
                    idle = False
                    batch = None
                    if entry is not None:
                        self.written_at = entry.written_at
                        batch = selection.apply(entry.batch)
                        if self._group is not None:
                            self._group.offer(entry, len(batch))
                    yield (batch if batch is not None and len(batch) else None), position
                    if self._closed.is_set():
                        return
                if idle:
                    if not follow:
                        return
                    self._closed.wait(POLL)
        except StorageError:
            if not self._closed.is_set():  # ``close`` ends calls with an error
                raise

    # --- Acknowledging --------------------------------------------------------------------------------------------

    @property
    def handled(self) -> tuple[str, ...]:
        """Ids of the entries that were handled and are not acknowledged; empty without a group."""
        return () if self._group is None else self._group.handled

    def acknowledge(self, entries: Sequence[str] | None = None) -> int:
        """Tell the server that entries are stored: the group does not read them again.

        Args:
            entries: Ids of ``handled`` to acknowledge; by default all of them, and those whose last experience is in the batch
                that was yielded last. Another thread than the one that reads must pass them.

        Returns:
            How many entries were acknowledged.

        Raises:
            StateError: In a process forked off the one that created the source.
            StorageError: If the server cannot be reached.
        """
        self._owner.check("source")
        if self._group is None:
            return 0
        if entries is None:
            self._group.handle()
            entries = self._group.handled
        return self._group.acknowledge(entries)

    def close(self) -> None:
        """End all streams and disconnect; can be called from any thread. In a forked child it does not touch the connection."""
        self._closed.set()
        if self._owner.is_here:
            self._connection.close()

    def __enter__(self) -> Self:
        """Return the source."""
        return self

    def __exit__(self, *details: object) -> None:
        """Close the source."""
        self.close()
