"""Sends a stream: reads experiences for one consumer and encodes them as messages.

Each message is made when gRPC asks for it, after the consumer has received the one before, so messages do not pile up.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import zstandard
from grpc import StatusCode

from generals_env.errors import StorageError
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.encoding.timings import measured
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.batch_kind import BatchKind
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.grpc_status import CallRejectedError
from generals_env.recorders.stream.protocol.record_encoder import append_records, encode_records, split_by_size
from generals_env.recorders.stream.server.experience_source import Consumer, ExperienceSource, SourceCursor
from generals_env.recorders.stream.server.lag_limit import LagLimitedCursor
from generals_env.recorders.stream.server.message_batcher import TICK, MessagePart, batch_messages
from generals_env.recorders.stream.server.stream_counters import StreamCounters
from generals_env.recorders.stream.server.subscription import Subscription

__all__ = ["StreamSender", "StreamStatus"]

MESSAGE_OVERHEAD = 4096  # maximum bytes of a message besides its experiences

BLOCK = 64  # records that are encoded together where each is a message of its own


class StreamStatus(NamedTuple):
    """Position of a consumer.

    Attributes:
        peer: Its address, in gRPC's format.
        next_sequence: Sequence of the next experience to read for it.
        lag: How many experiences the source has from there on, filtered out or not.
        missed: How many experiences were not sent, as the source had dropped them, or by the stream's policy.
        lag_seconds: Age of the next experience in seconds, from ``collected_at`` (in a log: since it was written); else 0.
        sent: How many experiences were sent.
        messages: How many messages.
        sent_bytes: Their bytes, compressed.
        latency_seconds: Age of the first experience of the last message when it was handed to gRPC.
        mean_latency_seconds: Mean of this of all messages.
        policy: What happens when the consumer cannot keep up.
        max_lag: How many experiences it may be behind; None without a limit.
        dropped: How many of ``missed`` were skipped by the policy.
    """

    peer: str
    next_sequence: int
    lag: int
    missed: int
    lag_seconds: float
    sent: int
    messages: int
    sent_bytes: int
    latency_seconds: float
    mean_latency_seconds: float
    policy: str
    max_lag: int | None
    dropped: int


class StreamSender:
    """The stream of one consumer."""

    def __init__(
        self,
        source: ExperienceSource,
        subscription: Subscription,
        max_message_bytes: int,
        peer: str,
        active: Callable[[], bool],
        stopping: threading.Event,
    ) -> None:
        """Prepare a stream.

        Args:
            source: Where to read.
            subscription: The validated request.
            max_message_bytes: Maximum size of a message.
            peer: Address of the consumer.
            active: Returns whether the consumer is still connected.
            stopping: Set when the server stops: experiences held by then are sent, later ones are not.
        """
        self._source, self._subscription = source, subscription
        self._max_bytes = max_message_bytes - MESSAGE_OVERHEAD
        self._peer, self._active, self._stopping = peer, active, stopping
        self._stop = None if subscription.follow else source.span[1]
        self._reader: SourceCursor | None = None
        self._limit: LagLimitedCursor | None = None
        self._next_time: tuple[int, int] | None = None  # a position, and when the experience there was collected
        self.counters = StreamCounters()
        self._batch_id = 0  # of the next message
        self._ratio: float | None = None

    def records(self) -> Iterator[bytes]:
        """Yield messages with one experience each."""
        with self._cursor() as cursor:
            for part in batch_messages(cursor, BLOCK, lambda: 0.0, self._end):
                missed = part.missed
                for batch in part.batches:
                    made = encode_records(batch, self._subscription.full_actions)
                    for record, collected_at in zip(made, batch.collected_at.tolist(), strict=True):
                        self._check_size(record)
                        ratio = self._gzip_ratio([record])
                        self.counters.add(1, int(len(record) / ratio), len(record), collected_at)
                        yield record + missed_suffix(missed) if missed else record
                        missed = 0

    def batches(self) -> Iterator[bytes]:
        """Yield messages with batches of experiences."""
        subscription = self._subscription
        with self._cursor() as cursor:
            if not subscription.size:
                yield from self._ranges(cursor)
                return
            for part in batch_messages(cursor, subscription.size, subscription.wait, self._end):
                yield from self._packed_messages(part) if subscription.packed else self._record_messages(part)

    @property
    def status(self) -> StreamStatus:
        """The position of the consumer."""
        cursor, sent, subscription = self._reader, self.counters, self._subscription
        position, missed = (subscription.first, 0) if cursor is None else (cursor.position, cursor.missed)
        lag = max(self._source.span[1] - position, 0)
        return StreamStatus(
            self._peer,
            position,
            lag,
            missed,
            self._lag_seconds(position) if lag else 0.0,
            sent.experiences,
            sent.messages,
            sent.sent_bytes,
            sent.latency,
            sent.mean_latency,
            subscription.policy,
            subscription.max_lag,
            self._dropped,
        )

    @property
    def totals(self) -> tuple[StreamCounters, str, int, int]:
        """What was sent, the policy, and how many experiences were missed, and of these dropped by the policy."""
        return self.counters, self._subscription.policy, 0 if self._reader is None else self._reader.missed, self._dropped

    @property
    def _dropped(self) -> int:
        """How many experiences the policy skipped."""
        return 0 if self._limit is None else self._limit.dropped

    def _lag_seconds(self, position: int) -> float:
        """Return the age of the experience at a position; it is looked up once for a consumer that does not move."""
        if self._next_time is None or self._next_time[0] != position:
            collected_at = self._source.collected_at(position)
            if collected_at is None:
                return 0.0
            self._next_time = (position, collected_at)
        return max(time.time_ns() - self._next_time[1], 0) / 1e9

    # --- Reading --------------------------------------------------------------------------------------------------

    @contextmanager
    def _cursor(self) -> Iterator[SourceCursor]:
        """Open a cursor for the block; afterwards acknowledge, close, and raise the final status of the stream."""
        subscription = self._subscription
        consumer = Consumer.HOLDS if subscription.policy == "block" else Consumer.DROPS
        cursor = self._source.cursor(subscription.first, subscription.stream_filter, consumer)
        if subscription.max_lag is not None:
            cursor = self._limit = LagLimitedCursor(
                cursor, subscription.policy, subscription.max_lag, lambda: self._source.span[1]
            )
        self._reader = cursor
        try:
            yield cursor
            if self._active():
                cursor.acknowledge()
        except StorageError as error:
            raise CallRejectedError(StatusCode.DATA_LOSS, str(error)) from error
        finally:
            cursor.close()
        if self._stopping.is_set():
            raise CallRejectedError(
                StatusCode.UNAVAILABLE,
                "server: expected to go on, got a request to stop; all so far was sent: connect again later",
            )

    def _end(self) -> int | None:
        """Return the sequence to stop before, None to go on."""
        if not self._active():
            return 0
        if self._stop is None and self._stopping.is_set():
            self._stop = self._source.span[1]
        return self._stop

    def _ranges(self, cursor: SourceCursor) -> Iterator[bytes]:
        """Yield a message for each range as it is stored."""
        reported, position = 0, cursor.position
        while True:
            end = self._end()
            if end is not None and cursor.position >= end:
                return
            encoded = cursor.read_range(0 if end is not None else TICK, 0 if end is not None else self._subscription.wait())
            if encoded is None and end is not None:
                return
            if encoded is None:
                continue
            missed, reported = cursor.missed - reported, cursor.missed
            first, position = position + missed, cursor.position
            skipped = max(first - encoded.first, 0) if missed else 0  # without a gap, the consumer drops what it has
            if skipped or len(encoded.data) > self._max_bytes:
                batch = encoded.batch()
                yield from self._packed_messages(MessagePart([batch.slice(skipped, len(batch))], encoded.next, missed))
            else:
                yield self._message(
                    encoded.next,
                    missed,
                    "zstd",
                    count=encoded.next - max(first, encoded.first),
                    collected_at=encoded.collected_at,
                    packed=encoded.data,
                    first_sequence=encoded.first,
                )

    # --- Messages -------------------------------------------------------------------------------------------------

    def _packed_messages(self, part: MessagePart) -> Iterator[bytes]:
        """Yield a part as packed boards, split into as many messages as needed."""
        missed = part.missed
        groups = group_by_kind(part.batches)
        for group in groups:
            batch = ExperienceBatch.concat(group).compact()
            last = group is groups[-1]
            for piece, following, data in self._split_encoded(batch, part.next if last else int(batch.sequence[-1]) + 1):
                yield self._message(
                    following,
                    missed,
                    "zstd",
                    count=len(piece),
                    collected_at=int(piece.collected_at[0]),
                    packed=data,
                    first_sequence=int(piece.sequence[0]),
                )
                missed = 0
        if missed:
            yield self._message(part.next, missed, "zstd")

    def _split_encoded(self, batch: ExperienceBatch, following: int) -> Iterator[tuple[ExperienceBatch, int, bytes]]:
        """Yield a batch as halves that fit into a message, each with the sequence after it and encoded."""
        data = measured("stream", batch, partial(encode_batch, batch))
        if len(data) <= self._max_bytes:
            yield batch, following, data
            return
        middle = len(batch) // 2
        if not middle:
            self._check_size(data)
        low, high = batch.slice(0, middle).compact(), batch.slice(middle, len(batch)).compact()
        yield from self._split_encoded(low, int(low.sequence[-1]) + 1)
        yield from self._split_encoded(high, following)

    def _record_messages(self, part: MessagePart) -> Iterator[bytes]:
        """Yield a part as records, split into as many messages as needed."""
        missed, sent = part.missed, 0
        columns = [(batch.sequence.tolist(), batch.collected_at.tolist()) for batch in part.batches]
        rows = [row for sequences, times in columns for row in zip(sequences, times, strict=True)]
        made = (record for batch in part.batches for record in encode_records(batch, self._subscription.full_actions))
        for group in split_by_size(made, self._max_bytes):
            for record in group:
                self._check_size(record)
            collected_at = rows[sent][1]
            sent += len(group)
            following = part.next if sent == len(rows) else rows[sent - 1][0] + 1
            yield self._message(following, missed, count=len(group), collected_at=collected_at, records=group)
            missed = 0
        if missed:
            yield self._message(part.next, missed)

    def _message(
        self,
        following: int,
        missed: int,
        compression: str = "none",
        *,
        count: int = 0,
        collected_at: int = 0,
        records: Sequence[bytes] = (),
        **fields: Any,
    ) -> bytes:
        """Return a serialized ``ExperienceBatch`` with its header fields and metadata, and count it."""
        message = pb.ExperienceBatch(
            batch_id=self._batch_id, stream_id=self._source.stream_id, next_sequence=following, missed=missed, **fields
        )
        message.created_at.FromNanoseconds(time.time_ns())
        self._batch_id += 1
        ratio = 1.0
        if message.packed:
            ratio = zstandard.frame_content_size(message.packed) / len(message.packed)
        elif self._subscription.compress:
            compression, ratio = "gzip", self._gzip_ratio(records)
        message.metadata["compression"] = compression
        message.metadata["ratio"] = f"{ratio:.3g}"
        data = append_records(message, records)
        if count and message.packed:
            self.counters.add(count, len(data), int(len(data) * ratio), collected_at)
        elif count:
            self.counters.add(count, int(len(data) / ratio), len(data), collected_at)
        return data

    def _gzip_ratio(self, records: Sequence[bytes]) -> float:
        """Return the ratio of records that gRPC compresses, 1 without: it does not report the ratio, so measure it once."""
        if self._ratio is None and records and self._subscription.compress:
            plain = b"".join(records)
            self._ratio = len(plain) / len(zlib.compress(plain))
        return self._ratio or 1.0

    def _check_size(self, data: bytes) -> None:
        if len(data) > self._max_bytes:
            raise CallRejectedError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"max_message_bytes: expected room for an experience of {len(data)} bytes, got {self._max_bytes}: raise it",
            )


def group_by_kind(batches: Sequence[ExperienceBatch]) -> list[list[ExperienceBatch]]:
    """Group consecutive batches that can be concatenated without padding or loss of metadata."""
    groups: list[list[ExperienceBatch]] = []
    for batch in batches:
        if groups and BatchKind.of(batch) == BatchKind.of(groups[-1][-1]):
            groups[-1].append(batch)
        else:
            groups.append([batch])
    return groups


def missed_suffix(missed: int) -> bytes:
    """Return the bytes that, appended to a serialized record, set its metadata ``missed``."""
    data: bytes = pb.Experience(metadata={"missed": str(missed)}).SerializeToString()
    return data
