"""Defines the state of games, ``Boards``: a struct of arrays over B boards, and the codes in it.

Tensors, masks, scores and rewards are functions of this state. Recorders store exactly these arrays; ``copy``, pickling and
slicing work as on any NamedTuple of arrays, with the JIT on or off.

Tiles are numbered ``row * W + column`` on the padded board of ``H`` rows and ``W`` columns. A smaller board
lies in the upper left corner; the rest is mountain.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "CITY",
    "COMPETITION_VERSION",
    "DEFENSELESS",
    "DESERT",
    "GAME",
    "GENERAL",
    "LEAPFROG",
    "LIVE_VERSION",
    "LOOKOUT",
    "MAX_PLAYERS",
    "MOUNTAIN",
    "NEUTRAL",
    "OBSERVATORY",
    "OWNER_LOOKOUT",
    "OWNER_MOUNTAIN",
    "OWNER_OBSERVATORY",
    "PLAIN",
    "PLAYER",
    "SLIPPERY",
    "SURRENDER_TURNS",
    "SWAMP",
    "TORUS",
    "TOUCH_SHIFT",
    "Boards",
    "copy_boards",
    "empty_boards",
    "fit_boards",
    "put_boards",
]

MAX_PLAYERS = 16

# Terrain, one code a tile (the first four are those of the original's proto).
PLAIN, GENERAL, CITY, MOUNTAIN, SWAMP, DESERT, LOOKOUT, OBSERVATORY = range(8)

# Owner, one code a tile: the codes of replays (rule 2); players are 0 and up.
NEUTRAL = -1
OWNER_MOUNTAIN = -2
OWNER_LOOKOUT = -5
OWNER_OBSERVATORY = -6

# Bits of ``Boards.modifiers``: bit n is modifier n of the replay format.
LEAPFROG = 1 << 0
DEFENSELESS = 1 << 5
TORUS = 1 << 7
SLIPPERY = 1 << 10

#: The newest replay version: ordering of 2025, general trades.
LIVE_VERSION = 18

#: Version of boards on which the rules of the bot competition hold instead of those of a replay version. It lies beyond all
#: replay versions. ``modifiers >> TOUCH_SHIFT`` is the turn from which a touch of the general wins.
COMPETITION_VERSION = 100
TOUCH_SHIFT = 32

#: Turns between a surrender and the moment its land turns over (rule 21).
SURRENDER_TURNS = 50


#: State of each player of a game.
#:
#: - general: tile of the general, -1 once lost.
#: - surrendered: turn of the surrender, -1 if none; the land turns over ``SURRENDER_TURNS`` later.
#: - team: equal numbers are friends.
#: - alive: whether the player is in the game.
PLAYER = np.dtype([("general", np.int32), ("surrendered", np.int32), ("team", np.int8), ("alive", np.bool_)], align=True)

#: State of a game.
#:
#: - turn: updates played so far; the site displays two updates as one turn.
#: - last_move: turn of the last executed move (rule 27).
#: - height, width: of the arrays, H and W, padding included.
#: - rows, columns: of the board, without padding.
#: - version: replay version whose rules hold, or ``COMPETITION_VERSION``.
#: - modifiers: bits of the active modifiers; with the rules of the competition, the turn of the touch above ``TOUCH_SHIFT``.
#: - fog: whether players see only what is next to their land.
#:
#: Wide integers, so that arithmetic with them has one type and every kernel is compiled once.
GAME = np.dtype(
    [
        ("turn", np.int64),
        ("last_move", np.int64),
        ("height", np.int64),
        ("width", np.int64),
        ("rows", np.int64),
        ("columns", np.int64),
        ("version", np.int64),
        ("modifiers", np.int64),
        ("fog", np.bool_),
    ],
    align=True,
)


class Boards(NamedTuple):
    """B boards of H x W tiles and P players.

    There are only five arrays because the cost of a kernel call grows with their number. Records are read and written as
    ``boards.players[b, p]["alive"]``, which works compiled and interpreted alike.

    Attributes:
        owner: (B, H*W) int8, -1 neutral, -2 mountain, -5 lookout, -6 observatory, p >= 0 player.
        army: (B, H*W) int32, negative only on neutral tiles of custom maps.
        terrain: (B, H*W) int8, one of the terrain codes of this module.
        players: (B, P) records of ``PLAYER``.
        games: (B,) records of ``GAME``.
    """

    owner: npt.NDArray[np.int8]
    army: npt.NDArray[np.int32]
    terrain: npt.NDArray[np.int8]
    players: npt.NDArray[np.void]
    games: npt.NDArray[np.void]


def empty_boards(count: int, height: int, width: int, players: int, version: int = LIVE_VERSION, modifiers: int = 0) -> Boards:
    """Return ``count`` boards of mountains, each player alive, on a team of its own and without a general."""
    tiles = height * width
    boards = Boards(
        owner=np.full((count, tiles), OWNER_MOUNTAIN, np.int8),
        army=np.zeros((count, tiles), np.int32),
        terrain=np.full((count, tiles), MOUNTAIN, np.int8),
        players=np.zeros((count, players), PLAYER),
        games=np.zeros(count, GAME),
    )
    boards.players["general"] = -1
    boards.players["surrendered"] = -1
    boards.players["team"] = np.arange(players)
    boards.players["alive"] = True
    boards.games["height"] = boards.games["rows"] = height
    boards.games["width"] = boards.games["columns"] = width
    boards.games["version"] = version
    boards.games["modifiers"] = modifiers
    boards.games["fog"] = True
    return boards


def copy_boards(boards: Boards, index: slice | npt.NDArray[np.integer] = slice(None)) -> Boards:
    """Return a copy of the boards that ``index`` selects along the first axis (default: all)."""
    return Boards._make(field[index].copy() for field in boards)


def put_boards(boards: Boards, b: int | slice, others: Boards, i: int | slice) -> None:
    """Copy board ``i`` of ``others`` over board ``b`` of ``boards``; slices copy several."""
    boards.owner[b] = others.owner[i]
    boards.army[b] = others.army[i]
    boards.terrain[b] = others.terrain[i]
    boards.players[b] = others.players[i]
    boards.games[b] = others.games[i]


def fit_boards(boards: Boards, height: int, width: int) -> Boards:
    """Return boards in the upper left corners of boards of another size, which must have their rows and columns."""
    old_height, old_width = int(boards.games["height"][0]), int(boards.games["width"][0])
    if (old_height, old_width) == (height, width):
        return copy_boards(boards)
    count = len(boards.games)
    fitted = empty_boards(count, height, width, boards.players.shape[1])
    rows, columns = min(height, old_height), min(width, old_width)
    for name in ("owner", "army", "terrain"):
        old, new = getattr(boards, name), getattr(fitted, name)
        new.reshape(count, height, width)[:, :rows, :columns] = old.reshape(count, old_height, old_width)[:, :rows, :columns]
    home = boards.players["general"]
    fitted.players[:] = boards.players
    fitted.players["general"] = np.where(home < 0, home, home // old_width * width + home % old_width)
    fitted.games[:] = boards.games
    fitted.games["height"], fitted.games["width"] = height, width
    return fitted
