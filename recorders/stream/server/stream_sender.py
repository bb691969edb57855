"""The messages of a stream, each made when the consumer has taken the one before: so none can pile up."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import zstandard
from grpc import StatusCode

from generals_env.errors import StorageError
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.batch_kind import BatchKind
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.record_encoder import record_bytes, records_within, with_records
from generals_env.recorders.stream.server.grpc_status import CallRejectedError
from generals_env.recorders.stream.server.message_batcher import TICK, MessagePart, gathered
from generals_env.recorders.stream.server.source import ExperienceSource, SourceCursor
from generals_env.recorders.stream.server.subscription import Subscription

__all__ = ["Stream", "StreamStatus"]

SMALL = 4096  # bytes that all but the experiences take in a message, at the most

BLOCK = 64  # records that are made together where each is a message


class StreamStatus(NamedTuple):
    """How far a consumer is.

    Attributes:
        peer: Its address, as gRPC tells it.
        next_sequence: Number of the next experience that is read for it.
        lag: How many are there from that one on, wanted by it or not.
        missed: How many were not kept any more when their turn came.
    """

    peer: str
    next_sequence: int
    lag: int
    missed: int


class Stream:
    """What one consumer is sent."""

    def __init__(
        self,
        feed: ExperienceSource,
        subscription: Subscription,
        max_message_bytes: int,
        peer: str,
        active: Callable[[], bool],
        stopping: threading.Event,
    ) -> None:
        """Prepare a stream.

        Args:
            feed: What to read.
            subscription: What is wanted of it.
            max_message_bytes: Of a message.
            peer: Address of the consumer.
            active: Tells whether the consumer is still there.
            stopping: Set when the server is to end: what is there by then is sent, and no more.
        """
        self._feed, self._subscription = feed, subscription
        self._most_bytes = max_message_bytes - SMALL
        self._peer, self._active, self._stopping = peer, active, stopping
        self._last = None if subscription.follow else feed.span[1]
        self._reading: SourceCursor | None = None
        self._number = 0  # of the next message
        self._ratio: float | None = None

    def records(self) -> Iterator[bytes]:
        """Yield one experience a message."""
        with self._cursor() as cursor:
            for part in gathered(cursor, BLOCK, 0.0, self._end):
                missed = part.missed
                for batch in part.batches:
                    for record in record_bytes(batch, self._subscription.full_actions):
                        self._check_size(record)
                        yield record + lost(missed) if missed else record
                        missed = 0

    def batches(self) -> Iterator[bytes]:
        """Yield many experiences a message."""
        wanted = self._subscription
        with self._cursor() as cursor:
            if not wanted.size:
                yield from self._pieces(cursor)
                return
            for part in gathered(cursor, wanted.size, wanted.wait, self._end):
                yield from self._packed(part) if wanted.packed else self._recorded(part)

    @property
    def status(self) -> StreamStatus:
        """How far the consumer is."""
        cursor = self._reading
        place, missed = (self._subscription.first, 0) if cursor is None else (cursor.position, cursor.missed)
        return StreamStatus(self._peer, place, max(self._feed.span[1] - place, 0), missed)

    # --- Reading --------------------------------------------------------------------------------------------------

    @contextmanager
    def _cursor(self) -> Iterator[SourceCursor]:
        """Hand out a cursor, and end as the stream has to end."""
        cursor = self._reading = self._feed.cursor(self._subscription.first, self._subscription.wanted, consumer=True)
        try:
            yield cursor
            if self._active():
                cursor.settle()
        except StorageError as error:
            raise CallRejectedError(StatusCode.DATA_LOSS, str(error)) from error
        finally:
            cursor.close()
        if self._stopping.is_set():
            raise CallRejectedError(
                StatusCode.UNAVAILABLE, "server: expected to go on, got a request to stop; all so far was sent"
            )

    def _end(self) -> int | None:
        """Return the number to stop before, None as long as there is none."""
        if not self._active():
            return 0
        if self._last is None and self._stopping.is_set():
            self._last = self._feed.span[1]
        return self._last

    def _pieces(self, cursor: SourceCursor) -> Iterator[bytes]:
        """Yield pieces as they are stored."""
        told = 0
        while True:
            end = self._end()
            if end is not None and cursor.position >= end:
                return
            piece = cursor.piece(0 if end is not None else TICK, 0 if end is not None else self._subscription.wait)
            if piece is None and end is not None:
                return
            if piece is None:
                continue
            missed, told = cursor.missed - told, cursor.missed
            if len(piece.data) > self._most_bytes:
                yield from self._packed(MessagePart([piece.batch()], piece.next, missed))
            else:
                yield self._message(piece.next, missed, "zstd", packed=piece.data, first_sequence=piece.first)

    # --- Messages -------------------------------------------------------------------------------------------------

    def _packed(self, part: MessagePart) -> Iterator[bytes]:
        """Yield a part as boards, in as many messages as it takes."""
        missed = part.missed
        together = alike(part.batches)
        for group in together:
            batch = ExperienceBatch.concat(group).compact()
            last = group is together[-1]
            for first, following, data in self._encoded(batch, part.next if last else int(batch.sequence[-1]) + 1):
                yield self._message(following, missed, "zstd", packed=data, first_sequence=first)
                missed = 0
        if missed:
            yield self._message(part.next, missed, "zstd")

    def _encoded(self, batch: ExperienceBatch, following: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield a batch as bytes that fit into a message, each with its first number and the one after it."""
        data = encode_batch(batch)
        if len(data) <= self._most_bytes:
            yield int(batch.sequence[0]), following, data
            return
        middle = len(batch) // 2
        if not middle:
            self._check_size(data)
        low, high = batch.slice(0, middle).compact(), batch.slice(middle, len(batch)).compact()
        yield from self._encoded(low, int(low.sequence[-1]) + 1)
        yield from self._encoded(high, following)

    def _recorded(self, part: MessagePart) -> Iterator[bytes]:
        """Yield a part as records, in as many messages as it takes."""
        missed = part.missed
        numbers = iter([number for batch in part.batches for number in batch.sequence.tolist()])
        made = (record for batch in part.batches for record in record_bytes(batch, self._subscription.full_actions))
        left = sum(map(len, part.batches))
        for group in records_within(made, self._most_bytes):
            for record in group:
                self._check_size(record)
                following = next(numbers) + 1
            left -= len(group)
            yield self._message(following if left else part.next, missed, records=group)
            missed = 0
        if missed:
            yield self._message(part.next, missed)

    def _message(
        self, following: int, missed: int, compression: str = "none", records: Sequence[bytes] = (), **fields: Any
    ) -> bytes:
        """Return a batch as a message, with what it tells about itself."""
        message = pb.ExperienceBatch(
            batch_id=self._number, stream_id=self._feed.stream_id, next_sequence=following, missed=missed, **fields
        )
        message.created_at.FromNanoseconds(time.time_ns())
        self._number += 1
        ratio = 1.0
        if message.packed:
            ratio = zstandard.frame_content_size(message.packed) / len(message.packed)
        elif self._subscription.compress:
            compression = "gzip"
            if self._ratio is None and records:  # gRPC does it later and tells nobody
                plain = b"".join(records)
                self._ratio = len(plain) / len(zlib.compress(plain))
            ratio = self._ratio or 1.0
        message.metadata["compression"] = compression
        message.metadata["ratio"] = f"{ratio:.3g}"
        return with_records(message, records)

    def _check_size(self, data: bytes) -> None:
        if len(data) > self._most_bytes:
            raise CallRejectedError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"max_message_bytes: expected room for an experience of {len(data)} bytes, got {self._most_bytes}",
            )


def alike(batches: Sequence[ExperienceBatch]) -> list[list[ExperienceBatch]]:
    """Return batches in groups of neighbours that can be one batch without a change."""
    groups: list[list[ExperienceBatch]] = []
    for batch in batches:
        if groups and BatchKind.of(batch) == BatchKind.of(groups[-1][-1]):
            groups[-1].append(batch)
        else:
            groups.append([batch])
    return groups


def lost(missed: int) -> bytes:
    """Return what tells of lost experiences, to be put behind a record."""
    data: bytes = pb.Experience(metadata={"missed": str(missed)}).SerializeToString()
    return data
