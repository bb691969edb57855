"""Reads entries of a stream in order: ``PositionReader`` from a position on, ``GroupReader`` as a consumer of a group."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from generals_env.errors import StorageError
from generals_env.recorders.distributed.redis_streams.chunks import MAX_ENTRY, Entry, decode_entry, entry_span, fields_of
from generals_env.recorders.distributed.redis_streams.connection import GroupGoneError, RedisConnection
from generals_env.recorders.distributed.redis_streams.scripts import CLAIM, OPEN_GROUP, PENDING, READ, READ_GROUP
from generals_env.recorders.stream.client.position import Position

__all__ = ["GroupReader", "PositionReader"]

logger = logging.getLogger(__name__)

ENTRIES = 4  # read at once

REMEMBERED = 10_000  # entries that were read last, to recognise what comes a second time

BEYOND = 2**53 - 1  # above all sequences


class Reader:
    """What both readers have.

    Attributes:
        missed: Experiences that were removed from the stream before they were read.
        restarts: How often the server had another stream, or an older state of it.
        damaged: Entries that were skipped because they are damaged.
    """

    def __init__(self, connection: RedisConnection, on_damage: str, stop: Callable[[], bool]) -> None:
        """Read by a connection until ``stop`` returns True."""
        self._connection, self._on_damage, self._stop = connection, on_damage, stop
        self._stream_id = ""
        self.missed = self.restarts = self.damaged = 0

    def _decode(self, name: bytes, flat: list[Any]) -> Entry | None:
        """Return an entry; None if it is damaged, and such entries are skipped."""
        try:
            return decode_entry(name, fields_of(flat), self._connection.place)
        except StorageError as error:
            if self._on_damage == "raise":
                raise
            logger.warning("skipped: %s", error)
            self.damaged += 1
            return None

    def _warn(self, text: str) -> None:
        logger.warning("%s %s", self._connection.place, text)
        self.restarts += 1


class PositionReader(Reader):
    """Reads from a position on; knows what it has read, and finds it again after a restart of the server."""

    def __init__(self, connection: RedisConnection, on_damage: str, stop: Callable[[], bool]) -> None:
        """Read by a connection until ``stop`` returns True."""
        super().__init__(connection, on_damage, stop)
        self._next = -1  # sequence of the next experience; -1 for the oldest one
        self._reached = 0  # what comes before was read, or counted as missed, before the reader went back
        self._recent: deque[tuple[str, bytes]] = deque(maxlen=REMEMBERED)

    def begin(self, start: int | str, resume: Position | None) -> None:
        """Continue after a position, or begin at ``"oldest"``, ``"now"`` or a sequence."""
        self._recent.clear()
        self._reached = 0
        self._stream_id = "" if resume is None else resume.stream_id
        self._next = -1 if isinstance(start, str) else int(start)
        if resume is not None:
            self._next = resume.next_sequence
        elif start == "now":
            self._stream_id, self._next, *_ = self._read(BEYOND)

    def _read(self, first: int) -> tuple[str, int, bool, list[Any]]:
        """Return the stream's id and next sequence, whether the last entry is unchanged, and the next entries."""
        last = self._recent[-1] if self._recent else ("", b"")
        arguments = [first, ENTRIES, MAX_ENTRY, self._stream_id, max(self._next, 0), *last]
        stream_id, following, unchanged, entries = self._connection.run(READ, arguments, self._stop)
        return stream_id.decode(), int(following), bool(unchanged), entries

    def read(self) -> Iterator[tuple[Entry | None, Position]]:
        """Yield the next entries, at most a few, each with the position after it; None where experiences were lost.

        Raises:
            StorageError: If the server cannot be reached, or an entry is damaged; the next call begins with this entry.
        """
        stream_id, following, unchanged, entries = self._read(self._next)
        if not stream_id and not entries:
            return  # no stream yet
        if stream_id != self._stream_id and (self._stream_id or self._recent):
            self._warn(f"has another stream than {self._stream_id}: continuing with its oldest experience")
            self._recent.clear()
            self._next, self._reached = -1, 0
            self._stream_id = stream_id
            yield from self.read()
            return
        self._stream_id = stream_id
        if not unchanged:
            self._go_back()
            yield from self.read()
            return
        for name, flat in entries:
            first, count = entry_span(name)
            entry = self._decode(name, flat)
            if entry is not None:
                if 0 <= self._next < first:
                    self.missed += max(first - max(self._next, self._reached), 0)
                self._recent.append((entry.id, entry.digest))
                if first < self._next:
                    entry = entry._replace(batch=entry.batch.select(entry.batch.sequence >= self._next))
            self._next = first + max(count, 1)
            yield entry, Position(stream_id, self._next)
        if not entries and 0 <= self._next < following:
            self.missed += following - self._next
            self._next = following
            yield None, Position(stream_id, following)

    def _go_back(self) -> None:
        """Go back to the last entry that the server still has as it was read, if others have the places of those after it."""
        reached, kept = self._next, len(self._recent)
        entries: list[Any] = []
        while self._recent:
            self._recent.pop()
            first, count = entry_span(self._recent[-1][0].encode()) if self._recent else (-1, 0)
            self._next = first + count
            _, _, unchanged, entries = self._read(self._next)
            if unchanged:
                break
        if entries and entry_span(entries[0][0])[0] < reached:
            lost = kept - len(self._recent)
            self._warn(f"has lost the last {lost} entries that were read, and has others in their places: reading these")
            self._reached = max(reached, self._reached)
        else:
            self._next = reached


class GroupReader(Reader):
    """Reads as one consumer of a group: each entry is read by one of them, and again by another if that one dies.

    Attributes:
        claimed: Experiences taken over from other consumers.
    """

    def __init__(
        self,
        connection: RedisConnection,
        on_damage: str,
        stop: Callable[[], bool],
        consumer: str,
        min_idle: float,
    ) -> None:
        """Read as ``consumer`` of the address' group until ``stop`` returns True; take over entries idle for ``min_idle`` s."""
        super().__init__(connection, on_damage, stop)
        self.consumer = consumer
        self.claimed = 0
        self._group = str(connection.address.group)
        self._min_idle = min_idle
        self._seen = 0
        self._failures = -1  # of the connection, when the entries of this consumer were read last
        self._claim_at = 0.0
        self._lock = threading.Lock()  # another thread acknowledges
        self._held: dict[str, bytes] = {}  # read, not yet handled: id and digest
        self._handled: dict[str, bytes] = {}  # handled, not yet acknowledged
        self._done: OrderedDict[str, bytes] = OrderedDict()  # acknowledged
        self._queue: deque[tuple[str, int]] = deque()  # held entries, with the number of experiences up to their end
        self._offered = 0
        self._yielded = self._current = 0

    def begin(self, start: int | str, resume: Position | None) -> None:
        """Make the group unless there is one; entries that were read and not handled are read again."""
        with self._lock:
            self._held.clear()
            self._queue.clear()
            self._offered = self._yielded
            self._current = 0
        self._failures, self._claim_at = -1, 0.0
        self._connection.run(OPEN_GROUP, [self._group, int(start != "now")], self._stop)

    # --- Reading --------------------------------------------------------------------------------------------------

    def read(self) -> Iterator[tuple[Entry | None, Position]]:
        """Yield entries, at most a few: those of this consumer, then those of dead ones, then new ones.

        Raises:
            StorageError: If the server cannot be reached, or an entry is damaged; it stays pending.
        """
        try:
            yield from self._read()
        except GroupGoneError:  # the server lost its data, or the stream was deleted
            self._warn(f"has no group {self._group} any more: making it again, from the oldest experience on")
            self._stream_id, self._seen = "", 0
            self._connection.run(OPEN_GROUP, [self._group, 1], self._stop)
            yield from self._read()

    def _read(self) -> Iterator[tuple[Entry | None, Position]]:
        failures = self._connection.failures
        if failures != self._failures:  # an answer may have been lost, with entries that are assigned to this consumer
            yield from self._read_pending()
            self._failures = failures
        if time.monotonic() >= self._claim_at:
            yield from self._claim()
            self._claim_at = time.monotonic() + self._min_idle / 4
        arguments = [self._group, self.consumer, ENTRIES, MAX_ENTRY, self._stream_id, self._seen]
        stream_id, _, missed, entries = self._connection.run(READ_GROUP, arguments, self._stop)
        if self._stream_id and stream_id.decode() != self._stream_id:
            self._warn(f"has another stream than {self._stream_id}")
            self._seen = 0
        self._stream_id = stream_id.decode()
        self.missed += int(missed)
        for name, _ in entries:
            self._seen = max(self._seen, sum(entry_span(name)))
        yield from self._deliver(entries)

    def _read_pending(self) -> Iterator[tuple[Entry | None, Position]]:
        after = "0"
        while True:
            arguments = [self._group, self.consumer, after, ENTRIES, MAX_ENTRY]
            entries = self._connection.run(PENDING, arguments, self._stop)
            if not entries:
                return
            after = entries[-1][0].decode()
            self._count_removed(name for name, flat in entries if flat is None)
            yield from self._deliver([entry for entry in entries if entry[1] is not None])

    def _claim(self) -> Iterator[tuple[Entry | None, Position]]:
        after: Any = "0"
        while after not in (b"0-0", "0-0"):
            arguments = [self._group, self.consumer, round(1000 * self._min_idle), after, ENTRIES, MAX_ENTRY]
            after, entries, removed = self._connection.run(CLAIM, arguments, self._stop)
            self._count_removed(removed)
            for entry, position in self._deliver(entries):
                if entry is not None:
                    self.claimed += len(entry.batch)
                yield entry, position

    def _count_removed(self, names: Iterable[bytes]) -> None:
        """Count entries that were removed before they were acknowledged, unless this consumer has read them."""
        removed = list(names)
        if not removed:
            return
        with self._lock:
            for name in removed:
                text = name.decode()
                if text not in self._held and text not in self._handled and text not in self._done:
                    self.missed += entry_span(name)[1]
        stream, group = self._connection.address.stream, self._group
        self._connection.call(partial(acknowledge, stream=stream, group=group, names=removed), self._stop)

    def _deliver(self, entries: list[Any]) -> Iterator[tuple[Entry | None, Position]]:
        """Yield entries that this consumer has not read before."""
        for name, flat in entries:
            text, digest = name.decode(), fields_of(flat).get(b"h", b"")
            with self._lock:
                if self._held.get(text) == digest or self._handled.get(text) == digest:
                    continue
                if self._done.get(text) == digest:  # the acknowledgement was lost with the end of the server's file
                    self._handled[text] = digest
                    continue
            entry = self._decode(name, flat)
            with self._lock:
                if entry is None:
                    self._handled[text] = digest
                    continue
                self._held[text] = digest
            yield entry, Position(self._stream_id, entry.first + entry.size)

    # --- Acknowledging --------------------------------------------------------------------------------------------

    def offer(self, entry: Entry, count: int) -> None:
        """Note that ``count`` experiences of an entry are offered to the caller."""
        with self._lock:
            self._offered += count
            self._queue.append((entry.id, self._offered))

    def yielding(self, count: int) -> None:
        """Note that ``count`` experiences are yielded to the caller now."""
        with self._lock:
            self._current = count

    def handle(self) -> None:
        """Note that the caller has handled the experiences that were yielded last."""
        with self._lock:
            self._yielded += self._current
            self._current = 0
            while self._queue and self._queue[0][1] <= self._yielded:
                text, _ = self._queue.popleft()
                if text in self._held:
                    self._handled[text] = self._held.pop(text)

    @property
    def handled(self) -> tuple[str, ...]:
        """Ids of the entries that are handled and not acknowledged."""
        with self._lock:
            return tuple(self._handled)

    def acknowledge(self, names: Iterable[str]) -> int:
        """Acknowledge handled entries; return how many."""
        with self._lock:
            known = [name for name in names if name in self._handled]
        stream, group = self._connection.address.stream, self._group
        for low in range(0, len(known), 1000):
            part = known[low : low + 1000]
            self._connection.call(partial(acknowledge, stream=stream, group=group, names=part))
            with self._lock:
                for name in part:
                    self._done[name] = self._handled.pop(name)
                while len(self._done) > REMEMBERED:
                    self._done.popitem(last=False)
        return len(known)


def acknowledge(client: Any, stream: str, group: str, names: Sequence[str | bytes]) -> None:
    """Acknowledge entries of a group."""
    client.xack(stream, group, *names)
