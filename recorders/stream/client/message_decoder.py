"""Decodes a message of a stream into a batch."""

from __future__ import annotations

from collections.abc import Sequence

import zstandard

from generals_env.errors import StorageError
from generals_env.recorders.encoding.batch_codec import decode_batch
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.record_decoder import decode_records
from generals_env.recorders.stream.protocol.set_sequences import set_sequences

__all__ = ["decode_message"]

MAX_UNPACKED = 2**28  # decompressed bytes of a message: a chunk of a log with tensors of 20x20 boards takes half of that


def decode_message(message: pb.ExperienceBatch, first: int) -> ExperienceBatch | None:
    """Return the experiences of a message from sequence ``first`` on; None if it has none.

    Raises:
        StorageError: If the message is malformed.
    """
    if message.experiences:
        batch = decode_record_message(message.experiences)
    elif message.packed:
        batch = decode_packed(message.packed)
        if len(batch) == message.next_sequence - message.first_sequence:
            set_sequences(batch, message.first_sequence)
    else:
        return None
    if len(batch) and batch.sequence[0] < first:
        batch = batch.select(batch.sequence >= first)
    return batch if len(batch) else None


def decode_packed(data: bytes) -> ExperienceBatch:
    """Decode a packed batch; raise ``StorageError`` if it would take too much memory."""
    try:
        size = zstandard.frame_content_size(data)
    except zstandard.ZstdError as error:
        raise StorageError(f"packed: expected a zstd frame, got {error}: use versions of client and server that fit") from error
    if size > MAX_UNPACKED:
        raise StorageError(f"packed: expected at most {MAX_UNPACKED} bytes unpacked, got {size}: ask for a smaller batch_size")
    return decode_batch(data)


def decode_record_message(records: Sequence[pb.Experience]) -> ExperienceBatch:
    """Decode records into a batch; raise ``StorageError`` if one is invalid."""
    batch, kept, reasons = decode_records(records, None)
    if batch is None or reasons:
        index, reason = min(reasons.items())
        raise StorageError(
            f"experiences: expected valid ones, got {records[index].experience_id[:200]!r}: {reason}: stream with packed=True"
        )
    batch.rows["sequence"] = [records[index].sequence for index in kept]
    return batch
