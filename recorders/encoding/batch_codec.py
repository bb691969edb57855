"""Encodes a batch as bytes and decodes it: columns and boards, arranged for zstd, with a checksum.

Compressed buffers, rows of a log and messages of a stream use this encoding.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import GAME, PLAYER
from generals_env.engine.packed.gather import gather
from generals_env.engine.packed.packing import ENTRY, PackedBoards
from generals_env.errors import StorageError
from generals_env.recorders.encoding.byte_shuffle import ByteReader, compressed, decompressed, header_bytes, shuffle_bytes
from generals_env.recorders.encoding.compression_level import Level, level_now
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.experience.bounds_checks import validate_arrays
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.experience.recipe import Recipe

__all__ = ["CODEC", "LEVEL", "by_game", "decode_batch", "encode_batch"]

#: Version of the layout.
CODEC = 1

#: Compression level of zstd by default.
LEVEL = 1

Array = npt.NDArray[Any]


def encode_batch(batch: ExperienceBatch, level: Level = LEVEL) -> bytes:
    """Return a batch as bytes.

    Args:
        batch: The batch.
        level: Compression level of zstd, 1 (the fastest) to 22, or an ``AdaptiveLevel``; its ``record`` is left to the caller,
            which knows how long sending took.

    Raises:
        ConfigError: If the metadata cannot be written as JSON.
    """
    batch = by_game(batch)
    rows, boards, dense = batch.rows, batch.boards, batch.dense
    tiles = boards.tiles.copy()
    tiles[1:] ^= boards.tiles[:-1]  # a turn changes some ten tiles
    arrays: list[tuple[str, Array]] = [(name, rows[name]) for name in EXPERIENCE.names or ()]
    arrays += [(name, boards.entries[name]) for name in ENTRY.names or ()]
    arrays += [("tiles", tiles), ("terrain", boards.terrain), ("players", boards.players), ("games", boards.games)]
    arrays += [("armies", boards.armies), ("memory", boards.memory)]
    if dense is not None:
        arrays += [("observations", dense.observations), ("before", dense.before), ("after", dense.after)]
    header = {
        "codec": CODEC,
        "shape": batch.shape,
        "players": batch.players,
        "counts": [len(rows), len(boards.tiles), len(boards.games), len(boards.armies), len(boards.memory)],
        "dense": None if dense is None else [dense.observations.dtype.str, dense.observations.shape],
        "game_ids": batch.game_ids,
        "recipe": batch.recipe.to_dict(),
        "metadata": dict(batch.metadata),
    }
    text = header_bytes(header)
    parts = [len(text).to_bytes(4, "little"), text, *(shuffle_bytes(name, array) for name, array in arrays)]
    return compressed(parts, level_now(level))


def decode_batch(data: bytes, check: bool = True) -> ExperienceBatch:
    """Return the batch that ``encode_batch`` encoded; boards may be in another order.

    Args:
        data: The bytes.
        check: Whether to validate all indices and ranges (kernels do no bounds checks). Pass False only for bytes that this
            process encoded itself.

    Raises:
        StorageError: If the bytes are damaged, or not an encoded batch.
    """
    try:
        batch = parsed(decompressed(data))
        return validate_arrays(batch) if check else batch
    except Exception as error:
        # Damaged bytes can make zstandard, json and numpy raise nearly anything.
        raise StorageError(f"data: expected a batch of codec {CODEC}, got {type(error).__name__}: {error}") from error


def by_game(batch: ExperienceBatch) -> ExperienceBatch:
    """Return the batch with its boards sorted by game and turn, so that neighbours are similar."""
    count = len(batch.boards.tiles)
    ends = np.concatenate([batch.state_index, batch.next_state_index])
    if len(ends) and not (ends.min() >= 0 and ends.max() < count):
        return batch  # an invalid batch stays as it is
    game_of = np.zeros(count, np.int64)
    game_of[batch.state_index] = batch.game
    game_of[batch.next_state_index] = batch.game
    order = np.lexsort((batch.boards.entries["turn"], game_of))
    if (order[:-1] < order[1:]).all():
        return batch
    places = np.empty(len(order), np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    rows = batch.rows.copy()
    for name in ("state_index", "next_state_index"):
        rows[name] = places[rows[name]]
    return replace(batch, rows=rows, boards=gather(batch.boards, order))


def unchanged(changes: Array) -> Array:
    """Return the tiles of boards from the changes between neighbours, (N, H*W) int16."""
    # Four tiles at a time where possible: numpy needs the same time for a 64-bit number as for a 16-bit one.
    wide = changes.view(np.int64) if changes.shape[1] and changes.shape[1] % 4 == 0 else changes
    boards: Array = np.bitwise_xor.accumulate(wide, axis=0).view(np.int16)
    return boards


def parsed(data: bytes) -> ExperienceBatch:
    """Return the batch in decompressed bytes; invalid bytes may raise any exception."""
    start = 4 + int.from_bytes(data[:4], "little")
    header = json.loads(data[4:start])
    if header["codec"] != CODEC:
        raise ValueError(f"codec {header['codec']}")
    height, width = map(int, header["shape"])
    players, tiles = int(header["players"]), height * width
    count, boards, grounds, wide, remembered = map(int, header["counts"])
    reader = ByteReader(data, start)
    rows, entries = reader.records(EXPERIENCE, count), reader.records(ENTRY, boards)
    packed = PackedBoards(
        tiles=unchanged(reader.take("tiles", np.int16, (boards, tiles))),
        entries=entries,
        terrain=reader.take("terrain", np.int8, (grounds, tiles)),
        players=reader.take("players", PLAYER, (grounds, players)),
        games=reader.take("games", GAME, (grounds,)),
        armies=reader.take("armies", np.int32, (wide, tiles)),
        memory=reader.take("memory", np.uint16, (remembered, players, tiles)),
    )
    dense = None
    if header["dense"] is not None:
        kind, shape = header["dense"]
        observations = reader.take("observations", np.dtype(kind), tuple(map(int, shape)))
        dense = Dense(observations, reader.take("before", np.int32, (count,)), reader.take("after", np.int32, (count,)))
    if reader.at != len(data) or remembered not in (0, boards) or not all(isinstance(name, str) for name in header["game_ids"]):
        raise ValueError("expected as many bytes and names as the header says")
    return ExperienceBatch(
        game_ids=tuple(header["game_ids"]),
        rows=rows,
        boards=packed,
        shape=(height, width),
        recipe=Recipe.from_dict(header["recipe"]),
        dense=dense,
        metadata=dict(header["metadata"]),
    )
