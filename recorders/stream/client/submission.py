"""Divides experiences into requests that a server takes, and adds up its answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import zstandard

from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.message_limits import MAX_EXPERIENCES

__all__ = ["Submitted", "is_repeat", "submit_requests"]

REQUEST_OVERHEAD = 1024  # maximum bytes of a request besides its experiences

MAX_UNPACKED_BYTES = 2**26  # default of ``Limits.max_unpacked_bytes``

REPEAT = "expected a new experience, got a repeat"  # end of the reason that a server gives for an experience that it has


@dataclass(frozen=True)
class Submitted:
    """Result of a submission.

    Attributes:
        accepted: How many experiences were written.
        rejected: How many were rejected.
        errors: The reason for each rejected one, with its id.
    """

    accepted: int
    rejected: int
    errors: tuple[str, ...]


def is_repeat(reason: str) -> bool:
    """Return whether a server rejected an experience because it has it already."""
    return reason.endswith(REPEAT)


def submit_requests(batch: ExperienceBatch, max_message_bytes: int) -> Iterator[pb.SubmitExperiencesRequest]:
    """Yield the requests that submit a batch, in order."""
    for low in range(0, len(batch), MAX_EXPERIENCES):
        for data in split_encoded(batch.slice(low, low + MAX_EXPERIENCES), max_message_bytes):
            yield pb.SubmitExperiencesRequest(packed=[data])


def split_encoded(batch: ExperienceBatch, max_message_bytes: int) -> Iterator[bytes]:
    """Yield a batch encoded, split until each half fits into a message and, unpacked, into the memory of the server."""
    data = encode_batch(batch.compact())
    middle = len(batch) // 2
    fits = len(data) + REQUEST_OVERHEAD <= max_message_bytes and zstandard.frame_content_size(data) <= MAX_UNPACKED_BYTES
    if fits or not middle:
        yield data
        return
    yield from split_encoded(batch.slice(0, middle), max_message_bytes)
    yield from split_encoded(batch.slice(middle, len(batch)), max_message_bytes)
