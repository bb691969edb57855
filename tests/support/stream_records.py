"""Makes records of the stream from a batch."""

from __future__ import annotations

from generals_env.recorders import ExperienceBatch
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.record_encoder import (
    record_bytes,
)


def records_of(batch: ExperienceBatch, full_actions: bool = False) -> list[pb.Experience]:
    return [pb.Experience.FromString(data) for data in record_bytes(batch, full_actions)]
