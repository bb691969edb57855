"""From a message of a stream to a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import zstandard

from generals_env.errors import StorageError
from generals_env.recorders.encoding.batch_codec import decode_batch
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.record_decoder import batch_of_records

__all__ = ["unpacked"]

MAX_UNPACKED = 2**28  # bytes of a message, decompressed: a piece of a log, with tensors of 20x20, takes half of that


def unpacked(message: pb.ExperienceBatch, wanted: int) -> ExperienceBatch | None:
    """Return the experiences of a message, from number ``wanted`` on; None if it has none.

    Raises:
        StorageError: If it is damaged.
    """
    if message.experiences:
        batch = of_records(message.experiences)
    elif message.packed:
        batch = of_packed(message.packed)
        if len(batch) == message.next_sequence - message.first_sequence:
            batch.rows["sequence"] = np.arange(message.first_sequence, message.next_sequence)
    else:
        return None
    if len(batch) and batch.sequence[0] < wanted:
        batch = batch.select(batch.sequence >= wanted)
    return batch if len(batch) else None


def of_packed(data: bytes) -> ExperienceBatch:
    """Return a packed batch, unless it would take too much memory."""
    try:
        size = zstandard.frame_content_size(data)
    except zstandard.ZstdError as error:
        raise StorageError(f"packed: expected a frame of zstd, got {error}") from error
    if size > MAX_UNPACKED:
        raise StorageError(f"packed: expected at most {MAX_UNPACKED} bytes unpacked, got {size}")
    return decode_batch(data)


def of_records(records: Sequence[pb.Experience]) -> ExperienceBatch:
    """Return records as a batch."""
    batch, kept, reasons = batch_of_records(records, None)
    if batch is None or reasons:
        number, reason = min(reasons.items())
        raise StorageError(f"experiences: expected sound ones, got {records[number].experience_id[:200]!r}: {reason}")
    batch.rows["sequence"] = [records[number].sequence for number in kept]
    return batch
