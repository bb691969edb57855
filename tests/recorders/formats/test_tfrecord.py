"""Tests TFRecord files: exact round trips, agreement with other readers, and errors for damaged and forged files."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support.helpers import same
from support.odd_batches import contents, odd_batch, simple
from support.recorded import facts, games_of
from tfrecord.reader import tfrecord_loader

from generals_env.errors import ConfigError, StorageError
from generals_env.recorders import ExperienceBatch
from generals_env.recorders.encoding import standalone_records
from generals_env.recorders.encoding.standalone_records import ROW
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.formats import format_of, tfrecord, tfrecord_gz
from generals_env.recorders.formats.tfrecord import Example, framed, masked

#: CRC-32C of RFC 3720, appendix B.4.
VECTORS = {
    bytes(32): 0x8A9136AA,
    b"\xff" * 32: 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
    bytes(range(31, -1, -1)): 0x113FDB5C,
    bytes.fromhex(
        "01c00000" + "00" * 12 + "14000000" + "00000400" + "00000014" + "00000018" + "28000000" + "00" * 4 + "02000000"
    )
    + bytes(4): 0xD9963A56,
}

both = pytest.mark.parametrize("module", [tfrecord, tfrecord_gz], ids=["plain", "gzip"])

#: Which scalars the batch has under the same name.
SCALARS = ("player_id", "turn", "sequence", "action", "illegal", "terminated", "truncated", "collected_at", "steps")


def many() -> ExperienceBatch:
    """Return some hundred experiences of several games, whole."""
    return ExperienceBatch.concat(games_of("two players"))


def read(tmp_path: Path, data: bytes, compression: str | None = None) -> list[dict[str, Any]]:
    """Return the features that a foreign reader finds in a file."""
    path = tmp_path / "records"
    path.write_bytes(data)
    return list(tfrecord_loader(str(path), None, compression_type=compression))


def split(data: bytes) -> list[bytes]:
    """Return the records of a file, found by their lengths."""
    found = []
    while data:
        size = 16 + int.from_bytes(data[:8], "little")
        found.append(data[:size])
        data = data[size:]
    return found


# --- Checksums --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "expected"), VECTORS.items())
def test_checksums_follow_rfc_3720_and_mask_of_tfrecord(data: bytes, expected: int) -> None:
    rotated = (masked(data) - 0xA282EAD8) % 2**32
    assert (rotated << 15 | rotated >> 17) % 2**32 == expected


def test_records_are_framed_as_in_tfrecord() -> None:
    record = framed(b"any data")
    assert record[:8] == (8).to_bytes(8, "little")
    assert record[8:12] == masked(record[:8]).to_bytes(4, "little")
    assert record[12:20] == b"any data"
    assert record[20:] == masked(b"any data").to_bytes(4, "little")


# --- Encoding and decoding --------------------------------------------------------------------------------------------


@both
def test_batches_are_read_back(module: ModuleType) -> None:
    happened: Counter[str] = Counter()
    for seed in range(60):
        batch = odd_batch(np.random.default_rng(seed))
        data = module.encode(batch)
        result = module.decode(data)
        assert same(contents(result), contents(batch))
        assert same(result.states(), batch.states())
        assert same(result.next_states(), batch.next_states())
        assert same(result.next_action_masks(), batch.next_action_masks())
        assert len(result.boards.tiles) <= len(batch.boards.tiles)
        assert all(array.flags.writeable and array.flags.c_contiguous for array in (result.rows, *result.boards))
        assert [array.dtype for array in result.boards] == [array.dtype for array in batch.boards]
        assert module.encode(batch) == data
        part = batch.slice(len(batch) // 3, len(batch) // 2)
        assert same(contents(module.decode(module.encode(part))), contents(part))
        happened.update({"none": not len(batch), "dense": batch.dense is not None, "wide": len(result.boards.armies)})
        happened.update({"memory": len(result.boards.memory), "frames": batch.recipe.frames > 2 and len(batch)})
    assert all(happened[name] for name in ("none", "dense", "wide", "memory", "frames"))


@both
def test_boards_of_game_are_shared_after_reading(module: ModuleType) -> None:
    batch = many()
    result = module.decode(module.encode(batch))
    assert len(result.boards.tiles) == len(batch.boards.tiles)
    assert len(result.boards.games) == len(batch.boards.games)
    assert same(contents(result), contents(batch))


@both
def test_every_offset_can_be_read_alone(module: ModuleType) -> None:
    batch = many()
    data = module.encode(batch)
    places = module.offsets(data)
    assert [number for number, _ in places] == list(range(0, len(batch), tfrecord.EVERY))
    assert len(places) > 2
    ends = [*places[1:], (len(batch), len(data))]
    for (low, start), (high, stop) in zip(places, ends, strict=True):
        assert facts(module.decode(data[start:stop])) == facts(batch.slice(low, high))
        assert facts(module.decode(data[start:])) == facts(batch.slice(low, len(batch)))


def test_every_record_can_be_read_alone_with_its_earlier_frames() -> None:
    for kind in ("frames", "memory", "wide armies"):
        batch = games_of(kind)[0]
        parts = split(tfrecord.encode(batch))
        assert len(parts) == len(batch)
        for number in range(0, len(batch), 7):
            assert facts(tfrecord.decode(parts[number])) == facts(batch.slice(number, number + 1))


def test_records_of_several_files_can_be_shuffled_together() -> None:
    games = games_of("frames")[:3]
    together = ExperienceBatch.concat(games)
    parts = [part for game in games for part in split(tfrecord.encode(game))]
    order = np.random.default_rng(1).permutation(len(parts))
    result = tfrecord.decode(b"".join(parts[number] for number in order))
    assert facts(result) == facts(together.select(order))
    assert len(result.boards.tiles) == len(together.boards.tiles)
    twice = tfrecord.decode(parts[5] + parts[6] + parts[5])
    assert facts(twice) == facts(together.select([5, 6, 5]))


def test_games_with_different_names_only_keep_them() -> None:
    game = games_of("two players")[0]
    other = replace(game, game_ids=("another",))
    result = tfrecord.decode(tfrecord.encode(game) + tfrecord.encode(other))
    assert facts(result) == facts(game) + facts(other)


def test_empty_file_between_others_changes_nothing() -> None:
    game = games_of("two players")[0]
    nothing = tfrecord.encode(game.slice(0, 0))
    assert facts(tfrecord.decode(nothing + tfrecord.encode(game) + nothing)) == facts(game)
    assert len(tfrecord.decode(nothing + nothing)) == 0


# --- Other readers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_foreign_reader_finds_values_of_batch(tmp_path: Path, compression: str | None) -> None:
    module = tfrecord if compression is None else tfrecord_gz
    batches = [many().slice(0, 300), games_of("memory")[0], games_of("frames")[0]]
    batches += [batch for seed in range(20) if len(batch := odd_batch(np.random.default_rng(seed)))]
    for batch in batches:
        found = read(tmp_path, module.encode(batch), compression)
        assert len(found) == len(batch)
        for name in SCALARS:
            assert [record[name].tolist() for record in found] == [[value] for value in getattr(batch, name).astype(np.int64)]
        assert [bytes(record["game_id"]).decode() for record in found] == batch.game_id.tolist()
        assert same(np.concatenate([record["reward"] for record in found]), batch.reward.copy())
        for name, tensors in {"state": batch.states(), "next_state": batch.next_states()}.items():
            shown = [record[name].reshape(record["state_shape"]) for record in found if record["state_shape"].size]
            if batch.state_shape:
                assert same(np.stack(shown), tensors.astype(np.float32))
        for name, masks in {"action_mask": batch.action_masks(), "next_action_mask": batch.next_action_masks()}.items():
            assert same(np.stack([np.frombuffer(record[name], np.int8) for record in found]), masks)


def test_gunzip_gives_plain_file_and_any_gzip_of_it_is_read() -> None:
    batch = many()
    plain, packed = tfrecord.encode(batch), tfrecord_gz.encode(batch)
    assert gzip.decompress(packed) == plain
    first, second = (place for _, place in tfrecord_gz.offsets(packed)[:2])
    assert gzip.decompress(packed[first:second]) == plain[: tfrecord.offsets(plain)[1][1]]
    foreign = gzip.compress(plain)
    assert facts(tfrecord_gz.decode(foreign)) == facts(batch)
    with pytest.raises(StorageError, match=r"^data: expected the whole of a member with record 0 at byte 0, got another"):
        tfrecord_gz.offsets(foreign)


def test_both_formats_are_found_by_name() -> None:
    assert format_of("tfrecord") is tfrecord
    assert format_of("tfrecord.gz") is tfrecord_gz
    assert (tfrecord.SUFFIX, tfrecord_gz.SUFFIX) == (".tfrecord", ".tfrecord.gz")


# --- Damage -----------------------------------------------------------------------------------------------------------


def test_flipped_bit_is_found_in_its_record() -> None:
    data = tfrecord.encode(simple())
    starts = np.cumsum([0, *map(len, split(data))])
    rng = np.random.default_rng(1)
    for _ in range(200):
        damaged = bytearray(data)
        place = int(rng.integers(len(data)))
        damaged[place] ^= 1 << rng.integers(8)
        number = int(np.searchsorted(starts, place, "right")) - 1
        with pytest.raises(StorageError, match=rf"^data: expected the whole of record {number} at byte {starts[number]}, got"):
            tfrecord.decode(bytes(damaged))


def test_torn_record_is_refused_with_its_offset() -> None:
    data = tfrecord.encode(simple())
    parts = split(data)
    starts = np.cumsum([0, *map(len, parts)])
    for cut in (1, 7, 8, 11, 12, 13, len(parts[-1]) - 4, len(parts[-1]) - 1):
        for call in (tfrecord.decode, tfrecord.offsets):
            with pytest.raises(
                StorageError, match=rf"^data: expected the whole of record 39 at byte {starts[39]}, got the end"
            ):
                call(data[: starts[39] + cut])
    assert len(tfrecord.decode(data[: starts[39]])) == 39  # no byte shows that there was more
    for call in (tfrecord.decode, tfrecord.offsets):
        with pytest.raises(StorageError, match=rf"^data: expected the whole of record 40 at byte {len(data)}, got"):
            call(data + b"more")
        with pytest.raises(StorageError, match=r"^data: expected the whole of record 0 at byte 0, got another checksum"):
            call(b"\1" + data[1:])
    huge = (2**60).to_bytes(8, "little")
    for call in (tfrecord.decode, tfrecord.offsets):
        with pytest.raises(StorageError, match=rf"record 0 at byte 0, got {2**60} bytes of data"):
            call(huge + masked(huge).to_bytes(4, "little") + data)


@both
def test_file_without_records_is_refused(module: ModuleType) -> None:
    with pytest.raises(StorageError, match=r"^data: expected records that fit together, got 0"):
        module.decode(b"")
    assert module.offsets(b"") == []


def outcome(data: bytes) -> ExperienceBatch | StorageError:
    """Return the decompressed contents of a file, or why there are none."""
    try:
        return tfrecord_gz.decode(data)
    except StorageError as error:
        return error


def test_damaged_gzip_is_refused() -> None:
    batch = simple()
    data, expected = tfrecord_gz.encode(batch), contents(batch)
    rng = np.random.default_rng(1)
    refused = 0
    for k in range(200):
        damaged = bytearray(data)
        if k % 2:
            damaged = damaged[: rng.integers(len(data))]
        else:
            damaged[int(rng.integers(len(data)))] ^= 1 << rng.integers(8)
        result = outcome(bytes(damaged))
        if isinstance(result, StorageError):
            assert re.match(r"data: expected (the whole of record \d+ at byte \d+|records that fit together), got", str(result))
            refused += 1
        else:  # a bit of the header that gunzip ignores
            assert same(contents(result), expected)
    assert refused > 190
    for size in (0, 31):  # indices out of range
        with pytest.raises(StorageError, match=r"^data: expected the whole of a member with record 0 at byte 0, got another"):
            tfrecord_gz.offsets(data[:16] + size.to_bytes(4, "little") + data[20:])
    for cut in (1, len(data) // 2, len(data) - 1):
        with pytest.raises(StorageError, match=r"^data: expected the whole of a member with record 0 at byte 0, got another"):
            tfrecord_gz.offsets(data[:cut])
    with pytest.raises(StorageError, match=rf"^data: expected the whole of a member with record 40 at byte {len(data)}, got"):
        tfrecord_gz.offsets(data + b"more")


# --- Forged records ---------------------------------------------------------------------------------------------------


def edited(record: bytes, change: Callable[[Any], Any]) -> bytes:
    """Return a record with changed features, correct in everything else."""
    example = Example.FromString(record[12:-4])
    change(example.features.feature)
    return framed(example.SerializeToString())


def put(name: str, value: bytes) -> Callable[[Any], Any]:
    return lambda feature: feature[name].bytes_list.value.__setitem__(0, value)


def header(name: str, value: Any) -> Callable[[Any], Any]:
    return lambda feature: put(
        "header", json.dumps(json.loads(feature["header"].bytes_list.value[0]) | {name: value}).encode()
    )(feature)


def row(name: str, value: int) -> Callable[[Any], Any]:
    def change(feature: Any) -> None:
        found = np.frombuffer(feature["row"].bytes_list.value[0], ROW).copy()
        (found if name in ("before", "after") else found["experience"])[name] = value
        put("row", found.tobytes())(feature)

    return change


HUGE = 10**11
READ = ("header", "row", "game_id", "boards", "grounds", "armies", "observations")
CHANGES: list[Callable[[Any], Any]] = [
    *(lambda feature, name=name: feature.pop(name) for name in READ),
    *(lambda feature, name=name: feature[name].bytes_list.value.pop() for name in READ),
    *(lambda feature, name=name: feature[name].int64_list.value.append(1) for name in READ),
    *(put(name, value) for name in READ if name != "game_id" for value in (b"\0", b"\xff" * 7, b"{}", b"[[]]")),
    *(put(name, b"") for name in READ if name not in ("game_id", "armies")),
    put("game_id", b"\xff"),
    *(header("schema", value) for value in (0, 2, None, "1")),
    *(header("shape", value) for value in ((5, 4), (-4, -5), (0, 20), (4,), (HUGE, HUGE), "4", None)),
    *(header("players", value) for value in (0, -3, 2, 4, 17, HUGE, "three", None)),
    *(header("dense", value) for value in (["<f4", [HUGE] * 3], ["|O", []], ["<f4", [-1]], ["x", [9]], ["<f4"], [], 5)),
    *(header("remembers", value) for value in (False, "")),
    *(header("recipe", value) for value in (None, {}, {"layout": "large"}, "standard")),
    *(header("metadata", value) for value in (None, [1], 7)),
    *(row(name, value) for name in ("state_index", "next_state_index", "before", "after") for value in (-1, 99, 2**31 - 1)),
    *(row("player_id", value) for value in (-1, 3)),
    *(row("action", value) for value in (-1, 161)),
    row("steps", 0),
    lambda feature: feature["batch"].bytes_list.value.append(b"none"),
]


def test_forged_features_are_refused() -> None:
    record = split(tfrecord.encode(simple()))[5]
    assert len(tfrecord.decode(edited(record, lambda feature: None))) == 1
    for number, change in enumerate(CHANGES):
        with pytest.raises(
            StorageError, match=r"^data: expected (the whole of record 0 at byte 0|records that fit together), got"
        ):
            pytest.fail(f"change {number} gave {tfrecord.decode(edited(record, change))}")
    with pytest.raises(StorageError, match=r"^data: expected the whole of record 1 at byte \d+, got 'header'"):
        tfrecord.decode(record + framed(b""))
    for names in (b"5", b"[", b"\xff"):
        with pytest.raises(StorageError, match=r"^data: expected the whole of record 0 at byte 0, got"):
            tfrecord.decode(edited(record, lambda feature, names=names: feature["games"].bytes_list.value.append(names)))


def test_records_of_different_games_are_not_mixed() -> None:
    for other in ("smaller", "teams", "memory"):
        data = tfrecord.encode(games_of("two players")[0].slice(0, 3)) + tfrecord.encode(games_of(other)[0].slice(0, 3))
        if other == "smaller":
            assert tfrecord.decode(data).shape == (6, 7)
        else:
            with pytest.raises(StorageError, match=r"^data: expected records that fit together, got 6: batches: expected"):
                tfrecord.decode(data)


def test_excessive_sizes_are_refused_before_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tfrecord.encode(simple())
    monkeypatch.setattr(tfrecord, "MAX_BYTES", 4 * len(split(data)[0]))
    with pytest.raises(
        StorageError, match=r"^data: expected the whole of record \d+ at byte \d+, got more than \d+ bytes of boards"
    ):
        tfrecord.decode(data)


def test_values_that_do_not_fit_a_record_are_refused() -> None:
    batch = simple()
    with pytest.raises(ConfigError, match=r"^metadata: expected what JSON takes, got"):
        tfrecord.encode(replace(batch, metadata={"any": {1, 2}}))
    assert batch.dense is not None
    words = Dense(np.full(9, "word"), batch.dense.before, batch.dense.after)
    with pytest.raises(ConfigError, match=r"^batch: expected observations that are numbers, got <U4"):
        tfrecord.encode(replace(batch, dense=words))


def test_written_pieces_have_the_names_that_are_read() -> None:
    batch = standalone_records.closed(simple())
    assert sorted(standalone_records.fields_of(batch)) == sorted(standalone_records.FIELDS)


def test_record_holds_no_piece_twice() -> None:
    game = games_of("two players")[0]
    record = Example.FromString(split(tfrecord.encode(game))[20][12:-4]).features.feature
    board = 4 + game.boards.tiles[:1].nbytes + game.boards.entries.itemsize
    ground = 4 + game.boards.terrain[:1].nbytes + game.boards.players[:1].nbytes + game.boards.games.itemsize
    assert len(record["boards"].bytes_list.value[0]) == 3 * board  # before, after, and the one before that
    assert len(record["grounds"].bytes_list.value[0]) == ground


def test_features_have_a_fixed_order() -> None:
    """Else the same batch would give other bytes in another process."""
    for record in split(tfrecord.encode(simple())):
        assert record[12:-4] == Example.FromString(record[12:-4]).SerializeToString(deterministic=True)
