"""Encodes batches as maps and actions, the smallest files: boards that follow from the actions are computed again on reading.

Columns are sorted by game, player and time, and all arrays are one frame of zstd with a checksum. The boards have a checksum of
their own: an engine whose rules differ from those of the engine that wrote a file refuses it.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.concurrency.thread_pool import divided
from generals_env.engine.boards import GAME, MOUNTAIN, NEUTRAL, OWNER_MOUNTAIN, PLAYER
from generals_env.engine.packed.fog_memory import recall_rows
from generals_env.engine.packed.gather import gather
from generals_env.engine.packed.packing import ENTRY, OWNER_OFFSET, PackedBoards, empty_packed, trimmed
from generals_env.engine.storage.reproducible_boards import KEPT, PLAYED, REPEATED, classify_board_origins, play_boards
from generals_env.errors import StorageError
from generals_env.recorders.encoding.action_codes import JUMPS, coded_actions, decoded_actions
from generals_env.recorders.encoding.batch_codec import by_game
from generals_env.recorders.encoding.byte_shuffle import (
    MAX_BYTES,
    ByteReader,
    compressed,
    decompressed,
    header_bytes,
    shuffle_bytes,
)
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.experience.bounds_checks import check_range, validate_arrays
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.experience.recipe import Recipe
from generals_env.version import __version__

__all__ = ["SCHEMA", "SUFFIX", "decode", "encode"]

SUFFIX = ".games"

#: Version of the layout.
SCHEMA = 1

LEVEL = 9  # of zstd

MIN_BOARDS = 256  # per thread: playing them takes longer than waking a thread

#: Columns that are sorted by game and player.
COLUMNS = ("game", "player_id", "state_index", "next_state_index", "reward", "steps", "illegal", "terminated", "truncated")

#: Columns that are stored for kept boards only; ``previous`` is stored for all boards.
ENTRY_COLUMNS = ("ground", "wide", "turn", "last_move")

Array = npt.NDArray[Any]


def encode(batch: ExperienceBatch, level: int | None = None) -> bytes:
    """Return the content of a file with a batch, compressed at a level of zstd, 1 to 22; ``LEVEL`` by default.

    Raises:
        ConfigError: If the metadata cannot be written as JSON.
    """
    batch = by_game(batch)
    boards, dense = batch.boards, batch.dense
    origins = origins_of(batch)
    kept = gather(boards, np.flatnonzero(origins == KEPT))
    position = np.lexsort((batch.player_id, batch.game)).astype(np.int32)
    rows = batch.rows[position]
    codes, sources = coded_actions(rows, batch.shape)
    times = np.diff(batch.collected_at, prepend=np.int64(0))
    later = times != 0  # the players of a turn have the same time
    arrays: list[tuple[str, Array]] = [("sequence", batch.sequence), ("later", later), ("times", times[later])]
    arrays += [("position", position), ("codes", codes), ("sources", sources)]
    arrays += [(name, rows[name]) for name in COLUMNS]
    arrays += [("origins", origins), ("previous", boards.entries["previous"])]
    arrays += [(name, kept.entries[name]) for name in ENTRY_COLUMNS]
    arrays += [("tiles", changes(kept, boards.entries["previous"][origins == KEPT]))]
    arrays += [("terrain", kept.terrain), ("armies", kept.armies), ("memory", kept.memory)]
    arrays += [(name, kept.players[name]) for name in PLAYER.names or ()]
    arrays += [(name, kept.games[name]) for name in GAME.names or ()]
    if dense is not None:
        arrays += [("observations", dense.observations), ("before", dense.before), ("after", dense.after)]
    header = {
        "schema": SCHEMA,
        "generals_env": __version__,
        "shape": batch.shape,
        "players": batch.players,
        "counts": [len(rows), len(origins), len(kept.tiles), len(kept.games), len(kept.armies)],
        "room": [max_grounds(boards.entries), int((boards.entries["wide"] >= 0).sum())],
        "boards": checksum_of(boards),
        "memory": len(boards.memory) > 0,
        "dense": None if dense is None else [dense.observations.dtype.str, dense.observations.shape],
        "game_ids": batch.game_ids,
        "recipe": batch.recipe.to_dict(),
        "metadata": dict(batch.metadata),
    }
    text = header_bytes(header)
    parts = [len(text).to_bytes(4, "little"), text, *(shuffle_bytes(*array) for array in arrays)]
    return compressed(parts, LEVEL if level is None else level)


def decode(data: bytes) -> ExperienceBatch:
    """Return the batch of a file's content; boards may be in another order.

    Raises:
        StorageError: If the content is damaged, of another format, or of an engine with other rules.
    """
    try:
        return validate_arrays(parsed(decompressed(data)))
    except Exception as error:
        # Damaged bytes can make zstandard, json and numpy raise many kinds of exceptions.
        raise StorageError(f"data: expected games of schema {SCHEMA}, got {type(error).__name__}: {error}") from error


# --- Boards -----------------------------------------------------------------------------------------------------------


def by_next_state(rows: npt.NDArray[np.void], count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return rows sorted by the board after them, and the first of the rows of each of ``count`` boards."""
    ending = np.argsort(rows["next_state_index"], kind="stable")
    return ending, np.searchsorted(rows["next_state_index"][ending], np.arange(count + 1))


def origins_of(batch: ExperienceBatch) -> npt.NDArray[np.uint8]:
    """Return the origin of each board, (N,) uint8; see ``engine.storage.reproducible_boards``."""
    boards, count = batch.boards, len(batch.boards.tiles)
    ending, first = by_next_state(batch.rows, count)
    origins = np.zeros(count, np.uint8)
    divided(lambda low, high: classify_board_origins(boards, batch.rows, ending, first, low, high, origins), count, MIN_BOARDS)
    if not len(boards.memory):
        return origins
    memory, recalled = boards.memory, boards._replace(memory=boards.memory.copy())
    for low, high, origin in runs(origins):
        at = low
        while origin == PLAYED and at < high:  # memory is computed from board to board: keep a wrong one before the next
            recall_rows(recalled, batch.shape[0], at, high)
            wrong = np.flatnonzero((recalled.memory[at:high] != memory[at:high]).any(axis=(1, 2)))
            at = at + int(wrong[0]) + 1 if len(wrong) else high
            if len(wrong):
                origins[at - 1] = KEPT
                recalled.memory[at - 1 : high] = memory[at - 1 : high]
        if origin == REPEATED:
            origins[low:high][(memory[low:high] != memory[low - 1 : high - 1]).any(axis=(1, 2))] = KEPT
    return origins


def checksum_of(boards: PackedBoards) -> int:
    """Return a CRC-32 of boards that does not depend on the grounds that they share."""
    entries, checksum = boards.entries, 0
    arrays: list[Array] = [boards.tiles, entries["turn"], entries["last_move"], boards.memory]
    arrays += [boards.armies[entries["wide"][entries["wide"] >= 0]]]
    arrays += [boards.players[name][entries["ground"]] for name in PLAYER.names or ()]
    for array in arrays:
        checksum = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, checksum)
    return checksum


def runs(origins: npt.NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """Return the ranges of boards with the same origin, and this origin, in order."""
    edges = np.flatnonzero(np.diff(origins, prepend=255, append=255))
    return [(low, high, int(origins[low])) for low, high in pairwise(edges.tolist())]


def max_grounds(entries: npt.NDArray[np.void]) -> int:
    """Return the maximum number of grounds after the boards are played again."""
    ground, previous, number = entries["ground"], entries["previous"], np.arange(len(entries))
    likely = np.where((previous >= 0) & (previous < number), previous, number - 1)
    return int((ground != ground[likely]).sum()) + 1


def expected(kept: PackedBoards) -> npt.NDArray[np.int16]:
    """Return the tiles of bare terrain for each board, (n, H*W) int16."""
    code = np.where(kept.terrain == MOUNTAIN, OWNER_MOUNTAIN + OWNER_OFFSET, NEUTRAL + OWNER_OFFSET).astype(np.int16)
    tiles: npt.NDArray[np.int16] = code[kept.entries["ground"]]
    return tiles


def changes(kept: PackedBoards, previous: npt.NDArray[np.int32]) -> npt.NDArray[np.int16]:
    """Return the changed bits of tiles: from the board before, or from the bare terrain for the first board of a game."""
    tiles = kept.tiles ^ expected(kept)
    result = tiles.copy()
    goes_on = np.flatnonzero(previous[1:] >= 0) + 1
    result[goes_on] ^= tiles[goes_on - 1]
    return result


def unchanged(kept: PackedBoards, previous: npt.NDArray[np.int32]) -> npt.NDArray[np.int16]:
    """Return tiles from the ``changes`` in ``kept.tiles``."""
    tiles = np.zeros((len(kept.tiles) + 1, kept.tiles.shape[1]), np.int16)
    np.bitwise_xor.accumulate(kept.tiles, axis=0, out=tiles[1:])
    begins = previous < 0
    begins[:1] = True
    start = np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))
    result: npt.NDArray[np.int16] = tiles[1:] ^ tiles[start] ^ expected(kept)
    return result


# --- Reading ----------------------------------------------------------------------------------------------------------


def parsed(data: bytes) -> ExperienceBatch:
    """Return the batch in decompressed bytes; invalid bytes may raise any exception."""
    start = 4 + int.from_bytes(data[:4], "little")
    header = json.loads(data[4:start])
    if header["schema"] != SCHEMA:
        raise ValueError(f"schema {header['schema']}")
    if not all(isinstance(name, str) for name in header["game_ids"]):
        raise ValueError("game_ids: expected strings")
    height, width = map(int, header["shape"])
    players, tiles = int(header["players"]), height * width
    count, boards, keyframes, grounds, wide = map(int, header["counts"])
    reader = ByteReader(data, start)
    rows = experiences(reader, count, (height, width))
    origins, previous = reader.take("origins", np.uint8, (boards,)), reader.take("previous", np.int32, (boards,))
    check_range("origins", origins, REPEATED + 1, minimum=KEPT)
    if np.count_nonzero(origins == KEPT) != keyframes or (origins[:1] == REPEATED).any():
        raise ValueError(f"origins: expected {keyframes} boards that are kept, the first one among them")
    if ((origins == PLAYED) & ((previous < 0) | (previous >= np.arange(boards)))).any():
        raise ValueError("previous: expected an earlier board before each played one")
    entries = np.full(keyframes, -1, ENTRY)
    for name in ENTRY_COLUMNS:
        entries[name] = reader.take(name, np.int32, (keyframes,))
    kept = PackedBoards(
        entries=entries,
        tiles=reader.take("tiles", np.int16, (keyframes, tiles)),
        terrain=reader.take("terrain", np.int8, (grounds, tiles)),
        armies=reader.take("armies", np.int32, (wide, tiles)),
        memory=reader.take("memory", np.uint16, (keyframes if header["memory"] else 0, players, tiles)),
        players=reader.records(PLAYER, grounds * players).reshape(grounds, players),
        games=reader.records(GAME, grounds),
    )
    dense = None
    if header["dense"] is not None:
        kind, shape = header["dense"]
        observations = reader.take("observations", np.dtype(kind), tuple(map(int, shape)))
        dense = Dense(observations, reader.take("before", np.int32, (count,)), reader.take("after", np.int32, (count,)))
    if reader.at != len(data):
        raise ValueError("expected as many bytes as the header says")
    check_range("ground", entries["ground"], grounds, minimum=0)
    kept = kept._replace(tiles=unchanged(kept, previous[origins == KEPT]))
    batch = ExperienceBatch(
        game_ids=tuple(header["game_ids"]),
        rows=rows[:0],
        boards=kept,
        shape=(height, width),
        recipe=Recipe.from_dict(header["recipe"]),
        metadata=dict(header["metadata"]),
    )
    validate_arrays(batch)  # before its boards are played
    check_range("player_id", rows["player_id"], players, minimum=0)
    check_range("next_state_index", rows["next_state_index"], boards, minimum=0)
    room = [int(number) for number in header["room"]]
    packed = played_again(kept, rows, origins, previous, room, height)
    if checksum_of(packed) != header["boards"]:
        raise ValueError("boards: expected the boards that were written after playing the actions again, got others")
    return replace(batch, rows=rows, boards=packed, dense=dense)


def experiences(reader: ByteReader, count: int, shape: tuple[int, int]) -> npt.NDArray[np.void]:
    """Return the rows of the experiences."""
    sequence, later = reader.take("sequence", np.int64, (count,)), reader.take("later", np.uint8, (count,)) > 0
    times = np.zeros(count, np.int64)
    times[later] = reader.take("times", np.int64, (int(np.count_nonzero(later)),))
    position, codes = reader.take("position", np.int32, (count,)), reader.take("codes", np.uint8, (count,))
    sources = reader.take("sources", np.int32, (int(np.count_nonzero(codes & JUMPS)),))
    columns = {name: reader.take(name, EXPERIENCE[name], (count,)) for name in COLUMNS}
    columns["action"] = decoded_actions(codes, sources, shape)
    check_range("position", position, count, minimum=0)
    rows = np.zeros(count, EXPERIENCE)
    for name, column in columns.items():
        rows[name][position] = column
    rows["sequence"], rows["collected_at"] = sequence, np.cumsum(times)
    return rows


def played_again(
    kept: PackedBoards,
    rows: npt.NDArray[np.void],
    origins: npt.NDArray[np.uint8],
    previous: npt.NDArray[np.int32],
    room: list[int],
    height: int,
) -> PackedBoards:
    """Return all boards, with the memory of the players if it is stored; arguments as of ``play_boards``.

    ``room`` is the maximum number of grounds and of rows of wide armies; more of them raise ``ValueError``.
    """
    count, tiles, players = len(origins), kept.tiles.shape[1], kept.players.shape[1]
    grounds, wide = room
    remembers = len(kept.memory) > 0
    if not (0 <= grounds <= count + 1 and 0 <= wide <= count):
        raise ValueError(f"room: expected at most {count + 1} grounds and {count} wide armies, got {room}")
    size = tiles * (count * 2 + grounds + wide * 4 + count * remembers * players * 2)
    if size > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES} bytes, got {size}")
    out, counts = empty_packed(count, tiles, players, grounds + 1, wide + 1, remembers), np.zeros(2, np.int64)
    if not play_boards(kept, rows, *by_next_state(rows, count), origins, previous, out, counts):
        raise ValueError(f"room: expected at most {grounds} grounds and {wide} wide armies, got more")
    if remembers:
        out.memory[origins == KEPT] = kept.memory
        for low, high, origin in runs(origins):
            if origin == PLAYED:
                recall_rows(out, height, low, high)
            elif origin == REPEATED:
                out.memory[low:high] = out.memory[low - 1]
    return trimmed(out, count, *counts)
