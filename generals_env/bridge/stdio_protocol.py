"""Reads and writes the line protocol of the bot competition: handshake, frames, replies.

The engine writes a handshake once, and a frame before each turn: a line of the turn and the totals, then H lines each of types,
owners and armies. The program answers each frame with one line of five integers (``competition_actions``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL, NEUTRAL, Boards
from generals_env.engine.observations.reference import visible_to
from generals_env.errors import ActionError, ReplayError

__all__ = [
    "MAX_REPLY",
    "Frame",
    "Seat",
    "decode_reply",
    "encode_frame",
    "encode_handshake",
    "encode_reply",
    "read_frame",
    "read_handshake",
]

#: Types of tiles in a frame.
FOG, PLAIN_TILE, MOUNTAIN_TILE, CASTLE_TILE, GENERAL_TILE, FOGGED_STRUCTURE = range(6)

#: Maximum length of a reply in bytes, with its end of line: five numbers need less.
MAX_REPLY = 256
MAX_NUMBER = 10**6  # in a reply
MAX_SIDE = 64
MAX_FRAME_LINE = 64 * 16  # bytes: a row of the largest board with armies of 32 bits

Grid = npt.NDArray[np.int32]


class Seat(NamedTuple):
    """What the handshake tells a program: its player, and the rows and columns of the board."""

    player: int
    height: int
    width: int


class Frame(NamedTuple):
    """What a program is told before a turn.

    Attributes:
        turn: Turns played.
        land: Tiles of the player and of the opponent, also those out of sight.
        army: Their armies.
        types: (H, W) int32: 0 fog, 1 plain, 2 mountain, 3 castle, 4 general, 5 mountain or castle out of sight.
        owners: (H, W) int32: 0 neutral or unknown, 1 the player, 2 the opponent.
        armies: (H, W) int32: 0 out of sight.
    """

    turn: int
    land: tuple[int, int]
    army: tuple[int, int]
    types: Grid
    owners: Grid
    armies: Grid


def encode_handshake(player: int, height: int, width: int) -> bytes:
    """Return the line that begins a game for ``player``."""
    return b"%d %d %d\n" % (player, height, width)


def encode_frame(boards: Boards, b: int, player: int) -> bytes:
    """Return what ``player``, 0 or 1, is told about board ``b``, without its padding."""
    game = boards.games[b]
    height, width = int(game["rows"]), int(game["columns"])
    shape = int(game["height"]), int(game["width"])
    bits = np.empty(boards.owner.shape[1], np.uint32)
    visible_to(boards, b, bits)
    seen, owner, army, terrain = (
        array.reshape(shape)[:height, :width]
        for array in (bits >> player & 1, boards.owner[b], boards.army[b], boards.terrain[b])
    )
    mountain, castle = owner < NEUTRAL, terrain == CITY
    types = np.select(
        [seen == 0, terrain == GENERAL, castle, mountain],
        [np.where(mountain | castle, FOGGED_STRUCTURE, FOG), GENERAL_TILE, CASTLE_TILE, MOUNTAIN_TILE],
        PLAIN_TILE,
    )
    owners = np.where((owner >= 0) & (seen > 0), np.where(owner == player, 1, 2), 0)
    totals = [int(game["turn"])]
    for seat in (player, 1 - player):
        mine = owner == seat
        totals += [int(mine.sum()), int(army[mine].sum())]
    rows = [" ".join(map(str, totals))]
    for grid in (types, owners, np.where(seen > 0, army, 0)):
        rows += [" ".join(map(str, row)) for row in grid.tolist()]
    return ("\n".join(rows) + "\n").encode()


def decode_reply(line: bytes) -> tuple[int, int, int, int, int]:
    """Return the five numbers of a reply.

    Raises:
        ActionError: If the line has not the form of a reply.
    """
    words = line.split()
    try:
        numbers = [int(word) for word in words] if len(line) <= MAX_REPLY else []
    except ValueError:
        numbers = []
    if len(numbers) != 5 or any(abs(number) > MAX_NUMBER for number in numbers):
        shown = line[:60].decode(errors="backslashreplace")
        raise ActionError(
            f"reply: expected five integers, pass row column direction split, got {shown!r}: write one line a frame"
        )
    kind, row, column, direction, split = numbers
    return kind, row, column, direction, split


def encode_reply(action: tuple[int, int, int, int, int]) -> bytes:
    """Return the line of an action."""
    return b"%d %d %d %d %d\n" % action


def read_handshake(read_line: Callable[[], bytes]) -> Seat:
    """Return the seat that the first line tells.

    Raises:
        ReplayError: If the line is no handshake.
    """
    line = read_line()
    numbers = integers(line, 3, "handshake")
    player, height, width = numbers
    if player not in (0, 1) or not 1 <= height <= MAX_SIDE or not 1 <= width <= MAX_SIDE:
        raise ReplayError(f"handshake: expected player 0 or 1 and sides from 1 to {MAX_SIDE}, got {numbers}")
    return Seat(player, height, width)


def read_frame(read_line: Callable[[], bytes], seat: Seat) -> Frame | None:
    """Return the next frame, or None at the end of the game: the input is closed.

    Args:
        read_line: Returns the next line, empty at the end of the input.
        seat: From the handshake.

    Raises:
        ReplayError: If a line is no part of a frame.
    """
    line = read_line()
    if not line:
        return None
    turn, my_land, my_army, land, army = integers(line, 5, "totals of a frame")
    grids = [
        np.array([integers(read_line(), seat.width, f"row {row} of the {name}") for row in range(seat.height)], np.int32)
        for name in ("types", "owners", "armies")
    ]
    types, owners, armies = grids
    if types.min() < FOG or types.max() > FOGGED_STRUCTURE or owners.min() < 0 or owners.max() > 2:
        raise ReplayError("frame: expected types from 0 to 5 and owners from 0 to 2, got others: check the sender")
    return Frame(turn, (my_land, land), (my_army, army), types, owners, armies)


def integers(line: bytes, count: int, what: str) -> list[int]:
    """Return the integers of a line; raise ``ReplayError`` unless it has ``count`` of them."""
    words = line.split() if len(line) <= MAX_FRAME_LINE else []
    try:
        numbers = [int(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != count or any(not -(2**31) <= number < 2**31 for number in numbers):
        raise ReplayError(f"{what}: expected {count} integers, got {line[:80]!r}: check the sender")
    return numbers
