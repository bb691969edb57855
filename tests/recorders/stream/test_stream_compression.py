"""The guide's stream of records: uint32 lengths and messages in zstd, back to the last bit; damage is told."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import zstandard
from support.datasets import recorded

from generals_env import StorageError
from generals_env.recorders import ExperienceBatch
from generals_env.recorders.stream import compression
from generals_env.recorders.stream.compression import compress_experiences, decompress_experiences
from generals_env.recorders.stream.protocol import experience_pb2 as pb


@pytest.fixture(scope="module")
def batches() -> list[ExperienceBatch]:
    return recorded(2)


@pytest.mark.parametrize("full", [True, False])
def test_records_come_back_as_they_were(full: bool, batches: list[ExperienceBatch]) -> None:
    data = compress_experiences(batches, full_actions=full)
    messages = list(decompress_experiences(data))
    whole = ExperienceBatch.concat(batches)
    states, next_states, masks = whole.states(), whole.next_states(), whole.action_masks()
    assert len(messages) == len(whole)
    for k, message in enumerate(messages):
        assert (message.game_id, message.player_id, message.turn) == (whole.game_id[k], whole.player_id[k], whole.turn[k])
        assert list(message.state.shape) == [9, 6, 7]
        assert np.array_equal(np.array(message.state.data, np.float32), states[k].ravel())
        assert np.array_equal(np.array(message.next_state.data, np.float32), next_states[k].ravel())
        width = 8 * 42 + 1 if full else 4 * 42
        assert np.array_equal(message.action_mask, masks[k, :width].astype(bool))
        assert message.done == (whole.terminated[k] | whole.truncated[k])
    assert list(decompress_experiences(compress_experiences(messages))) == messages
    assert list(decompress_experiences(io.BytesIO(data))) == messages
    assert len(data) < sum(message.ByteSize() for message in messages) / 20


def test_the_layout_is_the_one_of_the_guide(batches: list[ExperienceBatch]) -> None:
    data = zstandard.ZstdDecompressor().decompressobj().decompress(compress_experiences(batches[:1]))
    at, found = 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        found.append(pb.Experience.FromString(data[at + 4 : at + 4 + length]).turn)
        at += 4 + length
    assert found == batches[0].turn.tolist()
    assert list(decompress_experiences(compress_experiences([]))) == []


def test_damage_is_told_with_the_number_of_the_record(batches: list[ExperienceBatch]) -> None:
    data = compress_experiences(batches[:1])
    rng = np.random.default_rng(0)
    whole = list(decompress_experiences(data))
    for number in range(60):
        spoilt = bytearray(data)
        if number % 3:
            spoilt[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        else:
            del spoilt[rng.integers(1, len(data)) :]
        found: list[pb.Experience] = []
        try:
            found.extend(decompress_experiences(bytes(spoilt)))
        except StorageError as error:
            assert "data: expected experience" in str(error)  # noqa: PT017 - either outcome is right
        else:
            assert found == whole  # the bit was of no account


@pytest.mark.parametrize(
    "content", [struct.pack("<I", 2**31), struct.pack("<I", 100) + b"abc", b"\1\0", struct.pack("<I", 3) + b"\xff\xff\xff"]
)
def test_made_up_streams_are_refused_before_they_cost_memory(content: bytes) -> None:
    with pytest.raises(StorageError, match="data: expected experience 0 of a stream, got"):
        list(decompress_experiences(zstandard.compress(content)))
    with pytest.raises(StorageError, match="data: expected experience 0"):
        list(decompress_experiences(b"nothing of the kind"))
    assert compression.MAX_BYTES < 2**31
