"""Writes boards of a game file as arrays of byte planes, and reads them with a check of every number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import (
    LOOKOUT,
    MOUNTAIN,
    NEUTRAL,
    OBSERVATORY,
    OWNER_LOOKOUT,
    OWNER_MOUNTAIN,
    OWNER_OBSERVATORY,
    PLAYER,
    Boards,
    copy_boards,
    empty_boards,
)
from generals_env.replay.recorded_turns import check_size

__all__ = [
    "MAX_TURN",
    "ArrayReader",
    "ArrayWriter",
    "read_corrections",
    "read_start",
    "write_corrections",
    "write_start",
]

MAX_TURN = 60_000  # the live game ends at 50,000 (rule 27)
MAX_ARMY = 10**9  # what a game can add to it stays within 32 bits

#: The owner of each terrain code on a bare map.
BARE = np.full(8, NEUTRAL, np.int8)
BARE[[MOUNTAIN, LOOKOUT, OBSERVATORY]] = OWNER_MOUNTAIN, OWNER_LOOKOUT, OWNER_OBSERVATORY

PLAYER_FIELDS = tuple(PLAYER.names or ())

Array = npt.NDArray[Any]


class ArrayWriter:
    """Collects arrays as byte planes: the first bytes of all numbers, then the second ones, which compresses well."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def add(self, array: Array, dtype: str) -> None:
        """Append an array as numbers of ``dtype``."""
        numbers = np.ascontiguousarray(array.astype(np.dtype(dtype).newbyteorder("<"))).reshape(-1)
        self.parts.append(numbers.view(np.uint8).reshape(-1, numbers.itemsize).T.tobytes())


class ArrayReader:
    """Takes arrays out of bytes that ``ArrayWriter`` made; a missing byte is a ``ValueError``."""

    def __init__(self, data: bytes, at: int) -> None:
        """Begin at byte ``at``."""
        self.data, self.at = data, at

    def take(self, count: int, dtype: str, low: int, high: int, name: str) -> Array:
        """Return the next ``count`` numbers, each from ``low`` to ``high``."""
        kind = np.dtype(dtype).newbyteorder("<")
        end = self.at + count * kind.itemsize
        if end > len(self.data):
            raise ValueError(f"{name}: expected {count} numbers at byte {self.at}, got the end of {len(self.data)} bytes")
        planes = np.frombuffer(self.data, np.uint8, end - self.at, self.at).reshape(kind.itemsize, count)
        self.at = end
        numbers = np.ascontiguousarray(planes.T).view(kind).reshape(count).astype(dtype)
        if count and not low <= numbers.min() <= numbers.max() <= high:
            raise ValueError(f"{name}: expected numbers from {low} to {high}, got {numbers.min()} to {numbers.max()}")
        return numbers


def write_start(writer: ArrayWriter, boards: Boards) -> None:
    """Write the first board: its terrain, what lies on it, and the players."""
    owner, army, terrain = boards.owner[0], boards.army[0], boards.terrain[0]
    placed = np.flatnonzero((owner != BARE[terrain]) | (army != 0))
    writer.add(np.array([len(placed)]), "u2")
    writer.add(terrain, "u1")
    writer.add(placed, "u2")
    writer.add(owner[placed], "i1")
    writer.add(army[placed], "i4")
    write_players(writer, boards.players[:1])


def read_start(reader: ArrayReader, head: Mapping[str, int]) -> Boards:
    """Return the first board."""
    height, width, players = head["height"], head["width"], head["players"]
    boards = empty_boards(1, height, width, players, head["version"], head["modifiers"])
    for name in ("rows", "columns", "fog", "turn", "last_move"):
        boards.games[name] = head[name]
    tiles = height * width
    count = int(reader.take(1, "u2", 0, tiles, "tiles")[0])
    boards.terrain[0] = reader.take(tiles, "u1", 0, len(BARE) - 1, "terrain")
    boards.owner[0] = BARE[boards.terrain[0]]
    placed = reader.take(count, "u2", 0, tiles - 1, "tiles")
    boards.owner[0, placed] = read_owners(reader, count, players)
    boards.army[0, placed] = reader.take(count, "i4", -MAX_ARMY, MAX_ARMY, "armies")
    read_players(reader, boards.players[:1], tiles)
    return boards


def read_owners(reader: ArrayReader, count: int, players: int) -> Array:
    """Return owner codes."""
    owners = reader.take(count, "i1", OWNER_OBSERVATORY, players - 1, "owners")
    if np.isin(owners, (-3, -4)).any():
        raise ValueError("owners: expected codes of owners, got -3 or -4")
    return owners


def write_players(writer: ArrayWriter, players: npt.NDArray[np.void]) -> None:
    """Write records of ``PLAYER``."""
    for name, dtype in zip(PLAYER_FIELDS, ("i4", "i4", "i1", "u1"), strict=True):
        writer.add(players[name], dtype)


def read_players(reader: ArrayReader, players: npt.NDArray[np.void], tiles: int) -> None:
    """Read records of ``PLAYER`` into ``players``."""
    limits = {"general": (-1, tiles - 1), "surrendered": (-1, MAX_TURN), "team": (0, 127), "alive": (0, 1)}
    for name, dtype in zip(PLAYER_FIELDS, ("i4", "i4", "i1", "u1"), strict=True):
        players[name] = reader.take(players.size, dtype, *limits[name], name).reshape(players.shape)


def write_corrections(writer: ArrayWriter, boards: Boards, after: Boards, wrong: Array) -> None:
    """Write how the boards after turns ``wrong`` differ from what their actions lead to, the boards ``after``."""
    wanted = Boards._make(array[wrong + 1] for array in boards)
    got = Boards._make(array[wrong] for array in after)
    differs = (wanted.owner != got.owner) | (wanted.army != got.army) | (wanted.terrain != got.terrain)
    numbers, tiles = np.nonzero(differs)
    writer.add(wrong, "u4")
    writer.add(differs.sum(axis=1), "u2")
    writer.add(tiles, "u2")
    writer.add(wanted.owner[numbers, tiles], "i1")
    writer.add(wanted.army[numbers, tiles], "i4")
    writer.add(wanted.terrain[numbers, tiles], "u1")
    write_players(writer, wanted.players)
    writer.add(wanted.games["last_move"], "i4")


def read_corrections(reader: ArrayReader, head: Mapping[str, int]) -> list[tuple[int, Boards, Array]]:
    """Return turns with a wrong board after them, the board there, of which only some tiles hold, and these tiles."""
    count, tiles, players = head["corrections"], head["height"] * head["width"], head["players"]
    turns = reader.take(count, "u4", 0, max(head["turns"] - 1, 0), "corrections")
    if (np.diff(turns.astype(np.int64)) <= 0).any():
        raise ValueError("corrections: expected turns in ascending order")
    check_size(count, tiles)
    sizes = reader.take(count, "u2", 0, tiles, "corrected tiles").astype(np.int64)
    total = int(sizes.sum())
    places = reader.take(total, "u2", 0, tiles - 1, "corrected tiles").astype(np.int64)
    boards = empty_boards(count, head["height"], head["width"], players)
    numbers = np.repeat(np.arange(count), sizes)
    boards.owner[numbers, places] = read_owners(reader, total, players)
    boards.army[numbers, places] = reader.take(total, "i4", -MAX_ARMY, MAX_ARMY, "armies")
    boards.terrain[numbers, places] = reader.take(total, "u1", 0, len(BARE) - 1, "terrain")
    read_players(reader, boards.players, tiles)
    boards.games["last_move"] = reader.take(count, "i4", -1, MAX_TURN, "last_move")
    parts = np.split(places, np.cumsum(sizes)[:-1])
    return [(int(turn), copy_boards(boards, slice(k, k + 1)), parts[k]) for k, turn in enumerate(turns)]
