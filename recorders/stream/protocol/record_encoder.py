"""Experiences as messages of one record each, for clients of the original.

What is small is written by protobuf. Tensors and masks, 30 kB at 20x20, are put behind it as the kernels made them: on the wire
a packed list of floats is the bytes of the array, and protobuf takes the fields of a message in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.stream.protocol import experience_pb2 as pb

__all__ = ["record_bytes", "records_within", "with_records"]

STATE, NEXT_STATE, MASK, NEXT_MASK = (
    pb.Experience.DESCRIPTOR.fields_by_name[name].number for name in ("state", "next_state", "action_mask", "next_action_mask")
)

SHAPE, DATA = (pb.TensorState.DESCRIPTOR.fields_by_name[name].number for name in ("shape", "data"))

RECORD = pb.ExperienceBatch.DESCRIPTOR.fields_by_name["experiences"].number

BYTES = 2  # the wire type of whatever tells its length

BLOCK_BYTES = 2**20  # of tensors and masks that are there at a time


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it."""
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def head(field: int, length: int) -> bytes:
    """Return what stands before ``length`` bytes of a field."""
    return varint(field << 3 | BYTES) + varint(length)


def tensor_head(field: int, shape: tuple[int, ...]) -> bytes:
    """Return what stands before the bytes of a tensor of a shape, float32."""
    sizes = b"".join(map(varint, shape))
    size = 4 * int(np.prod(shape, dtype=np.int64))
    inner = head(SHAPE, len(sizes)) + sizes + head(DATA, size)
    return head(field, len(inner) + size) + inner


def record_bytes(batch: ExperienceBatch, full_actions: bool) -> Iterator[bytes]:
    """Yield each experience of a batch as an ``Experience``.

    Args:
        batch: The experiences; ``sequence`` is their number in the stream.
        full_actions: Whether actions and masks have 8*H*W + 1 entries, and the mask after the turn is sent, too. Else they have
            4*H*W, as those of the original: a half move is told as the whole one with metadata ``half``, a pass as 0 with
            metadata ``pass``. The original gives 0, too, for an action that moves nothing; no index of it is negative.
    """
    tiles = batch.shape[0] * batch.shape[1]
    width = 8 * tiles + 1 if full_actions else 4 * tiles
    heads = [tensor_head(field, batch.state_shape) for field in (STATE, NEXT_STATE)] + [head(MASK, width)]
    if full_actions:
        heads.append(head(NEXT_MASK, width))
    block = max(BLOCK_BYTES // (8 * int(np.prod(batch.state_shape, dtype=np.int64)) + 2 * width), 1)
    for low in range(0, len(batch), block):
        part = batch.slice(low, low + block)
        arrays: list[npt.NDArray[Any]] = [floats(part.states()), floats(part.next_states()), part.action_masks()[:, :width]]
        if full_actions:
            arrays.append(part.next_action_masks())
        for row, small in enumerate(small_records(part, full_actions)):
            parts = [small]
            for before, array in zip(heads, arrays, strict=True):
                parts += (before, array[row].tobytes())
            yield b"".join(parts)


def floats(states: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return states as the wire has them."""
    return np.ascontiguousarray(states, "<f4")


def small_records(batch: ExperienceBatch, full_actions: bool) -> Iterator[bytes]:
    """Yield all of each experience but its tensors and masks."""
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
        if action == 8 * tiles and not full_actions:
            record.action = 0
            record.metadata["pass"] = "1"  # noqa: S105 - of a turn
        elif action >= 4 * tiles and not full_actions:
            record.action = action - 4 * tiles
            record.metadata["half"] = "1"
        if illegal:
            record.metadata["illegal"] = "1"
        if steps != 1:
            record.metadata["steps"] = str(steps)
        yield record.SerializeToString()


def with_records(message: pb.ExperienceBatch, records: Iterable[bytes]) -> bytes:
    """Return a message with these records in it."""
    parts = [message.SerializeToString()]
    for record in records:
        parts += (head(RECORD, len(record)), record)
    return b"".join(parts)


def records_within(records: Iterable[bytes], most_bytes: int) -> Iterator[list[bytes]]:
    """Yield records, as many at a time as go into a message together."""
    group: list[bytes] = []
    size = 0
    for record in records:
        needed = len(record) + 10
        if group and size + needed > most_bytes:
            yield group
            group, size = [], 0
        group.append(record)
        size += needed
    if group:
        yield group
