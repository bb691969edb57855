"""Makes records of the stream from a batch."""

from __future__ import annotations

from generals_env.recorders import ExperienceBatch
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.record_encoder import (
    encode_records,
)


def records_of(batch: ExperienceBatch, full_actions: bool = False) -> list[pb.Experience]:
    return [pb.Experience.FromString(data) for data in encode_records(batch, full_actions)]
