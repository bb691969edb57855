"""Batches as bytes and as files: they come back as they were, and what is damaged or made up is refused."""

from __future__ import annotations

import io
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from support.helpers import same
from support.odd_batches import CHANGES, contents, digests, edited, odd_batch, put, simple
from support.paths import DATA

from generals_env.errors import StorageError
from generals_env.recorders import ExperienceBatch
from generals_env.recorders.encoding.batch_codec import CODEC, decode_batch, encode_batch
from generals_env.recorders.experience import EXPERIENCE
from generals_env.recorders.formats.npz import batch_arrays, decode, encode, write_arrays

# --- Bytes ------------------------------------------------------------------------------------------------------------


def test_batches_come_back_as_they_were() -> None:
    happened: Counter[str] = Counter()
    for seed in range(150):
        rng = np.random.default_rng(seed)
        batch = odd_batch(rng)
        before = [array.copy() for array in (batch.rows, *batch.boards)]
        data = encode_batch(batch, level=int(rng.choice((1, 1, 3, 9))))
        assert same(before, [batch.rows, *batch.boards])
        result = decode_batch(data)
        assert same(contents(result), contents(batch))
        assert same(result.states(), batch.states())
        assert same(result.rewards(), batch.rewards())
        assert result.recipe == batch.recipe
        again = decode_batch(encode_batch(result))
        assert same([again.rows, *again.boards], [result.rows, *result.boards])  # in order once and for all
        part = batch.slice(len(batch) // 3, len(batch) // 2)
        assert same(contents(decode_batch(encode_batch(part))), contents(part))
        happened.update(f"{name}: {len(array) > 0}" for name, array in zip(batch.boards._fields, batch.boards, strict=True))
        happened.update({"none": not len(batch), "dense": batch.dense is not None, "several": len(set(batch.game)) > 1})
        moved = len(batch) and not same(result.state_index.copy(), batch.state_index.copy())
        happened.update(
            {
                "moved": int(moved),
                "deep": len(batch.metadata),
                "scalars": bool(batch.dense and batch.dense.observations.ndim == 1),
            }
        )
    expected = {
        "armies: True",
        "armies: False",
        "memory: True",
        "memory: False",
        "none",
        "dense",
        "several",
        "moved",
        "scalars",
    }
    assert not expected - {name for name in happened if happened[name]}


def test_results_can_be_written_to() -> None:
    result = decode_batch(encode_batch(simple()))
    assert all(array.flags.writeable for array in (result.rows, *result.boards))
    assert not np.shares_memory(result.boards.tiles, result.boards.memory)


def test_damaged_bytes_are_refused() -> None:
    batch = simple()
    data = encode_batch(batch)
    expected, refused = contents(batch), 0
    rng = np.random.default_rng(1)
    for k in range(400):
        damaged = bytearray(data)
        if k % 4 == 0:
            damaged = damaged[: rng.integers(len(data))]
        elif k % 4 == 1:
            damaged += rng.bytes(int(rng.integers(1, 9)))
        else:
            place = int(rng.integers(len(data) if k % 4 == 2 else 30))
            damaged[place] ^= 1 << rng.integers(8)
        try:
            result = decode_batch(bytes(damaged))
        except StorageError:
            refused += 1
        else:
            assert same(contents(result), expected)
    assert refused > 380
    for nothing in (
        b"",
        b"\0" * 100,
        zstandard.compress(b""),
        zstandard.compress(b"\xff" * 50),
        zstandard.compress(b"\0\0\0\x7f{}"),
    ):
        with pytest.raises(StorageError, match=rf"^data: expected a batch of codec {CODEC}, got \w+"):
            decode_batch(nothing)


def test_headers_that_are_made_up_are_refused_before_they_cost_memory() -> None:
    batch = simple()
    assert same(contents(decode_batch(edited(batch, lambda header: None))), contents(batch))
    nobody = replace(batch.select([]), game_ids=())
    with pytest.raises(StorageError, match=r"shape: expected boards of 20 tiles, got -4x-5"):
        decode_batch(edited(nobody, put("shape", (-4, -5))))
    tracemalloc.start()
    try:
        for number, change in enumerate(CHANGES):
            tracemalloc.reset_peak()
            with pytest.raises(StorageError, match=r"^data: expected a batch of codec"):
                pytest.fail(f"change {number} gave {decode_batch(edited(batch, change))}")
            assert tracemalloc.get_traced_memory()[1] < 30 * 2**20, number
    finally:
        tracemalloc.stop()


def test_sizes_that_are_made_up_are_refused_before_they_cost_memory() -> None:
    bomb = zstandard.compress(bytes(2**20))
    params = zstandard.get_frame_parameters(bomb)
    assert params.content_size == 2**20
    for size in (2**30 + 1, 2**40, 2**64 - 3):
        frame = bytes.fromhex("28b52ffd") + bytes([0xC0, 0x50]) + size.to_bytes(8, "little") + bomb[-8:]
        with pytest.raises(StorageError, match=r"expected at most 1073741824 bytes, got \d+"):
            decode_batch(frame)
    unknown = zstandard.ZstdCompressor(write_content_size=False).compress(b"any")
    with pytest.raises(StorageError, match=r"expected at most 1073741824 bytes, got -1"):
        decode_batch(unknown)


def test_arrays_that_are_made_up_are_refused() -> None:
    """Kernels do not check: an index that leads nowhere would read what is not theirs."""
    batch = simple()

    def checked(**arrays: Any) -> None:
        rows, boards, dense = batch.rows.copy(), [array.copy() for array in batch.boards], batch.dense
        assert dense is not None
        for name, value in arrays.items():
            if name in (EXPERIENCE.names or ()):
                rows[name][3] = value
            elif name in ("before", "after"):
                dense = replace(dense, **{name: np.full_like(dense.before, value)})
            elif name == "tiles":
                boards[0][2, 3] = value
            else:
                target = {"general": boards[3], "rows": boards[4], "columns": boards[4], "height": boards[4]}.get(
                    name, boards[1]
                )
                target[name].flat[-1] = value
        made = replace(batch, rows=rows, boards=batch.boards._make(boards), dense=dense)
        with pytest.raises(StorageError, match=r"^data: expected a batch of codec"):
            pytest.fail(f"{arrays} gave {decode_batch(raw(made))}")

    for name, values in {
        "game": (-1, 3),
        "state_index": (-1, 12, 2**31 - 1),
        "next_state_index": (-1, 12),
        "player_id": (-1, 3),
        "action": (-1, 8 * 20 + 1),
        "steps": (0, -1),
        "reward": (np.nan, np.inf),
        "ground": (-1, len(batch.boards.games)),
        "wide": (-2, len(batch.boards.armies)),
        "previous": (-2, 12),
        "general": (-2, 20),
        "rows": (0, 5, -1),
        "columns": (0, 6),
        "height": (5,),
        "tiles": (9, 15),
        "before": (-1, 9),
        "after": (-1, 9),
    }.items():
        for value in values:
            checked(**{name: value})


@pytest.mark.parametrize("kept", [0, 5, 11])
def test_memory_of_some_boards_only_is_refused(kept: int) -> None:
    batch = simple()
    assert len(batch.boards.memory) == 12
    with pytest.raises(StorageError, match=r"^data: expected a batch of codec"):
        decode_batch(raw(replace(batch, boards=batch.boards._replace(memory=batch.boards.memory[:kept]))))


def raw(batch: ExperienceBatch) -> bytes:
    """Return a batch as bytes though its indices lead nowhere: as the codec does, but boards stay in their order."""
    from generals_env.recorders.encoding import batch_codec

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_codec, "by_game", lambda batch: batch)
        return encode_batch(batch)


# --- Files ------------------------------------------------------------------------------------------------------------


def test_files_come_back_as_they_were(tmp_path: Path) -> None:
    for seed in range(25):
        batch = odd_batch(np.random.default_rng(seed))
        if batch.dense is not None:  # numpy's files know no scalars of several bytes' order
            batch = replace(batch, dense=replace(batch.dense, observations=batch.dense.observations.astype(np.float32)))
        assert same(contents(decode(encode(batch))), contents(batch))


#: sha256 of states, masks and columns of the files of each schema: not to be made anew.
GOLDEN = {
    1: ["b1af93d97584ae54", "2a1d6b340bfe4002", "cf41c7e1f1aefd09"],
    2: ["5b0aee1630c51074", "3e94339d8962d885", "4f3b87befc3ba153"],
}


@pytest.mark.parametrize("schema", [1, 2])
def test_files_of_every_schema_stay_readable(schema: int) -> None:
    batch = decode((DATA / f"schema_{schema}.npz").read_bytes())
    assert digests(batch) == GOLDEN[schema]
    assert digests(decode_batch(encode_batch(batch)).select(np.arange(len(batch))))[:2] == GOLDEN[schema][:2]


def test_the_schema_of_today_is_the_golden_one() -> None:
    """Files that others will have to read: a change of names or types needs a new schema."""
    with np.load(DATA / "schema_2.npz") as golden:
        written = io.BytesIO()
        write_arrays(written, batch_arrays(decode((DATA / "schema_2.npz").read_bytes())))
        written.seek(0)
        with np.load(written) as today:
            assert today.files == golden.files
            for name in today.files:
                assert today[name].dtype == golden[name].dtype, name
                assert name == "header" or same(today[name], golden[name]), name
