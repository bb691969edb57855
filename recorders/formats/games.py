"""Batches as maps and actions, the smallest files: a board to which playing leads is not in them, but played again on reading.

Columns lie by game and player, in the order of time, and all is one frame of zstd with a checksum. The boards have a checksum
of their own: an engine that plays otherwise than the one that wrote a file refuses it.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.concurrency.threads import divided
from generals_env.engine.boards import GAME, MOUNTAIN, NEUTRAL, OWNER_MOUNTAIN, PLAYER
from generals_env.engine.packed.fog_memory import recall_rows
from generals_env.engine.packed.gather import gather
from generals_env.engine.packed.packing import ENTRY, OWNER_OFFSET, PackedBoards, empty_packed, trimmed
from generals_env.engine.storage.board_origins import KEPT, PLAYED, REPEATED, classify_board_origins, play_boards
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
from generals_env.recorders.experience.dense import Dense
from generals_env.recorders.experience.integrity import below, validate_arrays
from generals_env.recorders.experience.recipe import Recipe
from generals_env.version import __version__

__all__ = ["SCHEMA", "SUFFIX", "decode", "encode"]

SUFFIX = ".games"

#: Version of the layout.
SCHEMA = 1

LEVEL = 9  # of zstd

MIN_BOARDS = 256  # of a thread: playing them takes as long as some wakings

#: Columns that lie by game and player.
COLUMNS = ("game", "player_id", "state_index", "next_state_index", "reward", "steps", "illegal", "terminated", "truncated")

#: Columns of boards that are kept; which board is the previous one is told of all.
ENTRY_COLUMNS = ("ground", "wide", "turn", "last_move")

Array = npt.NDArray[Any]


def encode(batch: ExperienceBatch) -> bytes:
    """Return the content of a file that holds a batch.

    Raises:
        ConfigError: If the metadata are not what JSON takes.
    """
    batch = by_game(batch)
    boards, dense = batch.boards, batch.dense
    ways = ways_of(batch)
    kept = gather(boards, np.flatnonzero(ways == KEPT))
    position = np.lexsort((batch.player_id, batch.game)).astype(np.int32)
    rows = batch.rows[position]
    codes, sources = coded_actions(rows, batch.shape)
    times = np.diff(batch.collected_at, prepend=np.int64(0))
    later = times != 0  # players of one turn have one time
    arrays: list[tuple[str, Array]] = [("sequence", batch.sequence), ("later", later), ("times", times[later])]
    arrays += [("position", position), ("codes", codes), ("sources", sources)]
    arrays += [(name, rows[name]) for name in COLUMNS]
    arrays += [("ways", ways), ("previous", boards.entries["previous"])]
    arrays += [(name, kept.entries[name]) for name in ENTRY_COLUMNS]
    arrays += [("tiles", changes(kept, boards.entries["previous"][ways == KEPT]))]
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
        "counts": [len(rows), len(ways), len(kept.tiles), len(kept.games), len(kept.armies)],
        "room": [most_grounds(boards.entries), int((boards.entries["wide"] >= 0).sum())],
        "boards": checksum_of(boards),
        "memory": len(boards.memory) > 0,
        "dense": None if dense is None else [dense.observations.dtype.str, dense.observations.shape],
        "game_ids": batch.game_ids,
        "recipe": batch.recipe.to_dict(),
        "metadata": dict(batch.metadata),
    }
    text = header_bytes(header)
    return compressed([len(text).to_bytes(4, "little"), text, *(shuffle_bytes(*array) for array in arrays)], LEVEL)


def decode(data: bytes) -> ExperienceBatch:
    """Return the batch in a file's content; boards may lie in another order.

    Raises:
        StorageError: If it is damaged, or none of ours.
    """
    try:
        return validate_arrays(parsed(decompressed(data)))
    except Exception as error:
        # Damaged bytes can make zstandard, json and numpy raise nearly anything.
        raise StorageError(f"data: expected games of schema {SCHEMA}, got {type(error).__name__}: {error}") from error


# --- Boards -----------------------------------------------------------------------------------------------------------


def by_next_state(rows: npt.NDArray[np.void], count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return rows in the order of the boards after them, and where those of each of ``count`` boards begin."""
    ending = np.argsort(rows["next_state_index"], kind="stable")
    return ending, np.searchsorted(rows["next_state_index"][ending], np.arange(count + 1))


def ways_of(batch: ExperienceBatch) -> npt.NDArray[np.uint8]:
    """Return how each board comes about, (N,) uint8: see ``engine.storage.board_origins``."""
    boards, count = batch.boards, len(batch.boards.tiles)
    ending, first = by_next_state(batch.rows, count)
    ways = np.zeros(count, np.uint8)
    divided(lambda low, high: classify_board_origins(boards, batch.rows, ending, first, low, high, ways), count, MIN_BOARDS)
    if not len(boards.memory):
        return ways
    memory, recalled = boards.memory, boards._replace(memory=boards.memory.copy())
    for low, high, way in runs(ways):
        at = low
        while way == PLAYED and at < high:  # memory grows from board to board: one that is wrong is set right before the next
            recall_rows(recalled, batch.shape[0], at, high)
            wrong = np.flatnonzero((recalled.memory[at:high] != memory[at:high]).any(axis=(1, 2)))
            at = at + int(wrong[0]) + 1 if len(wrong) else high
            if len(wrong):
                ways[at - 1] = KEPT
                recalled.memory[at - 1 : high] = memory[at - 1 : high]
        if way == REPEATED:
            ways[low:high][(memory[low:high] != memory[low - 1 : high - 1]).any(axis=(1, 2))] = KEPT
    return ways


def checksum_of(boards: PackedBoards) -> int:
    """Return a CRC-32 of boards, whatever grounds they share."""
    entries, checksum = boards.entries, 0
    arrays: list[Array] = [boards.tiles, entries["turn"], entries["last_move"], boards.memory]
    arrays += [boards.armies[entries["wide"][entries["wide"] >= 0]]]
    arrays += [boards.players[name][entries["ground"]] for name in PLAYER.names or ()]
    for array in arrays:
        checksum = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, checksum)
    return checksum


def runs(ways: npt.NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """Return where boards begin and end that come about in one way, and which, in order."""
    edges = np.flatnonzero(np.diff(ways, prepend=255, append=255))
    return [(low, high, int(ways[low])) for low, high in pairwise(edges.tolist())]


def most_grounds(entries: npt.NDArray[np.void]) -> int:
    """Return how many grounds there are at most once the boards are played again."""
    ground, previous, number = entries["ground"], entries["previous"], np.arange(len(entries))
    likely = np.where((previous >= 0) & (previous < number), previous, number - 1)
    return int((ground != ground[likely]).sum()) + 1


def expected(kept: PackedBoards) -> npt.NDArray[np.int16]:
    """Return what tiles of the terrain of each board are when a game begins, (n, H*W) int16."""
    code = np.where(kept.terrain == MOUNTAIN, OWNER_MOUNTAIN + OWNER_OFFSET, NEUTRAL + OWNER_OFFSET).astype(np.int16)
    tiles: npt.NDArray[np.int16] = code[kept.entries["ground"]]
    return tiles


def changes(kept: PackedBoards, previous: npt.NDArray[np.int32]) -> npt.NDArray[np.int16]:
    """Return tiles as bits that differ: from the board before where there is one, from the bare terrain elsewhere."""
    tiles = kept.tiles ^ expected(kept)
    result = tiles.copy()
    goes_on = np.flatnonzero(previous[1:] >= 0) + 1
    result[goes_on] ^= tiles[goes_on - 1]
    return result


def unchanged(kept: PackedBoards, previous: npt.NDArray[np.int32]) -> npt.NDArray[np.int16]:
    """Return the tiles of which ``changes`` made ``kept.tiles``."""
    tiles = np.zeros((len(kept.tiles) + 1, kept.tiles.shape[1]), np.int16)
    np.bitwise_xor.accumulate(kept.tiles, axis=0, out=tiles[1:])
    begins = previous < 0
    begins[:1] = True
    start = np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))
    result: npt.NDArray[np.int16] = tiles[1:] ^ tiles[start] ^ expected(kept)
    return result


# --- Reading ----------------------------------------------------------------------------------------------------------


def parsed(data: bytes) -> ExperienceBatch:
    """Return the batch in decompressed bytes; what does not fit raises anything."""
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
    ways, previous = reader.take("ways", np.uint8, (boards,)), reader.take("previous", np.int32, (boards,))
    below("ways", ways, REPEATED + 1, least=KEPT)
    if np.count_nonzero(ways == KEPT) != keyframes or (ways[:1] == REPEATED).any():
        raise ValueError(f"ways: expected {keyframes} boards that are kept, and the first one among them")
    if ((ways == PLAYED) & ((previous < 0) | (previous >= np.arange(boards)))).any():
        raise ValueError("previous: expected boards that are played after those before them")
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
        raise ValueError("expected no more and no less than the header tells")
    below("ground", entries["ground"], grounds, least=0)
    kept = kept._replace(tiles=unchanged(kept, previous[ways == KEPT]))
    batch = ExperienceBatch(
        game_ids=tuple(header["game_ids"]),
        rows=rows[:0],
        boards=kept,
        shape=(height, width),
        recipe=Recipe.from_dict(header["recipe"]),
        metadata=dict(header["metadata"]),
    )
    validate_arrays(batch)  # before it is played on
    below("player_id", rows["player_id"], players, least=0)
    below("next_state_index", rows["next_state_index"], boards, least=0)
    room = [int(number) for number in header["room"]]
    packed = played_again(kept, rows, ways, previous, room, height)
    if checksum_of(packed) != header["boards"]:
        raise ValueError("boards: expected to play to those that were written, got others")
    return replace(batch, rows=rows, boards=packed, dense=dense)


def experiences(reader: ByteReader, count: int, shape: tuple[int, int]) -> npt.NDArray[np.void]:
    """Return the rows."""
    sequence, later = reader.take("sequence", np.int64, (count,)), reader.take("later", np.uint8, (count,)) > 0
    times = np.zeros(count, np.int64)
    times[later] = reader.take("times", np.int64, (int(np.count_nonzero(later)),))
    position, codes = reader.take("position", np.int32, (count,)), reader.take("codes", np.uint8, (count,))
    sources = reader.take("sources", np.int32, (int(np.count_nonzero(codes & JUMPS)),))
    columns = {name: reader.take(name, EXPERIENCE[name], (count,)) for name in COLUMNS}
    columns["action"] = decoded_actions(codes, sources, shape)
    below("position", position, count, least=0)
    rows = np.zeros(count, EXPERIENCE)
    for name, column in columns.items():
        rows[name][position] = column
    rows["sequence"], rows["collected_at"] = sequence, np.cumsum(times)
    return rows


def played_again(
    kept: PackedBoards,
    rows: npt.NDArray[np.void],
    ways: npt.NDArray[np.uint8],
    previous: npt.NDArray[np.int32],
    room: list[int],
    height: int,
) -> PackedBoards:
    """Return all boards, and what the players remember on them if that is kept; arguments as of ``play_boards``.

    ``room`` tells how many grounds and rows of wide armies there may be; ``ValueError`` if there are more.
    """
    count, tiles, players = len(ways), kept.tiles.shape[1], kept.players.shape[1]
    grounds, wide = room
    remembers = len(kept.memory) > 0
    if not (0 <= grounds <= count + 1 and 0 <= wide <= count):
        raise ValueError(f"room: expected at most {count + 1} grounds and {count} wide armies, got {room}")
    size = tiles * (count * 2 + grounds + wide * 4 + count * remembers * players * 2)
    if size > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES} bytes, got {size}")
    out, counts = empty_packed(count, tiles, players, grounds + 1, wide + 1, remembers), np.zeros(2, np.int64)
    if not play_boards(kept, rows, *by_next_state(rows, count), ways, previous, out, counts):
        raise ValueError(f"room: expected at most {grounds} grounds and {wide} wide armies, got more")
    if remembers:
        out.memory[ways == KEPT] = kept.memory
        for low, high, way in runs(ways):
            if way == PLAYED:
                recall_rows(out, height, low, high)
            elif way == REPEATED:
                out.memory[low:high] = out.memory[low - 1]
    return trimmed(out, count, *counts)
