"""Encodes experiences as protobuf records, one message ``Experience`` each, as clients of the original expect.

Protobuf serializes the scalar fields. Tensors and masks (30 kB on 20x20 boards) are appended as raw bytes of the arrays: so
protobuf encodes packed lists of floats and bools, and it accepts the fields of a message in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.provenance import provenance_suffix
from generals_env.recorders.stream.protocol.record_rules import COMPETITION

__all__ = ["append_records", "encode_records", "split_by_size"]

STATE, NEXT_STATE, MASK, NEXT_MASK = (
    pb.Experience.DESCRIPTOR.fields_by_name[name].number for name in ("state", "next_state", "action_mask", "next_action_mask")
)

SHAPE, DATA = (pb.TensorState.DESCRIPTOR.fields_by_name[name].number for name in ("shape", "data"))

RECORD = pb.ExperienceBatch.DESCRIPTOR.fields_by_name["experiences"].number

BYTES = 2  # wire type of length-delimited fields

BLOCK_BYTES = 2**20  # size of tensors and masks that are computed at a time


def encode_varint(number: int) -> bytes:
    """Encode a number as a protobuf varint."""
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def field_header(field: int, length: int) -> bytes:
    """Return the tag and length that precede the bytes of a field."""
    return encode_varint(field << 3 | BYTES) + encode_varint(length)


def tensor_header(field: int, shape: tuple[int, ...]) -> bytes:
    """Return the bytes of a ``TensorState`` field that precede its float32 data."""
    sizes = b"".join(map(encode_varint, shape))
    size = 4 * int(np.prod(shape, dtype=np.int64))
    inner = field_header(SHAPE, len(sizes)) + sizes + field_header(DATA, size)
    return field_header(field, len(inner) + size) + inner


def encode_records(batch: ExperienceBatch, full_actions: bool) -> Iterator[bytes]:
    """Yield each experience of a batch as a serialized ``Experience``.

    Args:
        batch: The experiences; the column ``sequence`` is their index in the stream.
        full_actions: Whether actions and masks have all entries, 8*H*W + 1, with the rules of the competition 9*H*W + 1, and
            the mask after the turn is sent, too. Else they have 4*H*W entries, as in the original: a half move is sent as the
            whole move with metadata ``half``, a pass as action 0 with metadata ``pass``, a build as action 0 with metadata
            ``build``, its row and column. The original, too, sends 0 for an action without a move; it has no negative index.
    """
    width = batch.recipe.actions(batch.shape) if full_actions else 4 * batch.shape[0] * batch.shape[1]
    headers = [tensor_header(field, batch.state_shape) for field in (STATE, NEXT_STATE)] + [field_header(MASK, width)]
    if full_actions:
        headers.append(field_header(NEXT_MASK, width))
    suffixes = [provenance_suffix(batch.metadata, player) for player in range(batch.players)]
    own_suffixes = [suffixes[player] for player in batch.player_id.tolist()]
    block = max(BLOCK_BYTES // (8 * int(np.prod(batch.state_shape, dtype=np.int64)) + 2 * width), 1)
    for low in range(0, len(batch), block):
        part = batch.slice(low, low + block)
        arrays: list[npt.NDArray[Any]] = [
            as_wire_floats(part.states()),
            as_wire_floats(part.next_states()),
            part.action_masks()[:, :width],
        ]
        if full_actions:
            arrays.append(part.next_action_masks())
        for row, scalars in enumerate(encode_scalars(part, full_actions)):
            parts = [scalars, own_suffixes[low + row]]
            for before, array in zip(headers, arrays, strict=True):
                parts += (before, array[row].tobytes())
            yield b"".join(parts)


def as_wire_floats(states: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return states as contiguous little-endian float32."""
    return np.ascontiguousarray(states, "<f4")


def encode_scalars(batch: ExperienceBatch, full_actions: bool) -> Iterator[bytes]:
    """Yield the scalar fields of each experience, serialized."""
    tiles = batch.shape[0] * batch.shape[1]
    columns = (batch.game, batch.player_id, batch.turn, batch.action, batch.rewards(), batch.terminated, batch.truncated)
    more = (batch.collected_at, batch.sequence, batch.illegal, batch.steps)
    for game, player, turn, action, reward, terminated, truncated, collected_at, sequence, illegal, steps in zip(
        *(column.tolist() for column in columns + more), strict=True
    ):
        game_id = batch.game_ids[game]
        record = pb.Experience(
            experience_id=f"{game_id}-{player}-{turn}",
            game_id=game_id,
            player_id=player,
            turn=turn,
            action=action,
            reward=reward,
            done=terminated or truncated,
            sequence=sequence,
            terminated=terminated,
            truncated=truncated,
        )
        record.collected_at.seconds, record.collected_at.nanos = divmod(collected_at, 10**9)
        if batch.recipe.builds:
            record.metadata["rules"] = COMPETITION
        if action > 8 * tiles and not full_actions:
            record.action = 0
            record.metadata["build"] = "{},{}".format(*divmod(action - 8 * tiles - 1, batch.shape[1]))
        elif action == 8 * tiles and not full_actions:
            record.action = 0
            record.metadata["pass"] = "1"  # noqa: S105 - not a password
        elif action >= 4 * tiles and not full_actions:
            record.action = action - 4 * tiles
            record.metadata["half"] = "1"
        if illegal:
            record.metadata["illegal"] = "1"
        if steps != 1:
            record.metadata["steps"] = str(steps)
        yield record.SerializeToString()


def append_records(message: pb.ExperienceBatch, records: Iterable[bytes]) -> bytes:
    """Serialize a message with these serialized records in it."""
    parts = [message.SerializeToString()]
    for record in records:
        parts += (field_header(RECORD, len(record)), record)
    return b"".join(parts)


def split_by_size(records: Iterable[bytes], max_bytes: int) -> Iterator[list[bytes]]:
    """Yield groups of records that fit into a message; a larger record gets a group of its own."""
    group: list[bytes] = []
    size = 0
    for record in records:
        needed = len(record) + 10
        if group and size + needed > max_bytes:
            yield group
            group, size = [], 0
        group.append(record)
        size += needed
    if group:
        yield group
