"""Makes boards from the numbers with which the competition writes a map and a position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import (
    CITY,
    COMPETITION_VERSION,
    GENERAL,
    MOUNTAIN,
    NEUTRAL,
    OWNER_MOUNTAIN,
    PLAIN,
    TOUCH_SHIFT,
    Boards,
    empty_boards,
)
from generals_env.errors import MapError

__all__ = ["board_of"]

PLAYERS = 2
MOUNTAIN_NUMBER = -2  # in a grid; 0 is plain, 1 and 2 are generals, larger numbers castles with that army


def board_of(
    grid: Sequence[int] | npt.NDArray[Any],
    height: int,
    width: int,
    touch_turn: int,
    start: Mapping[str, Any] | None = None,
) -> Boards:
    """Return one board with the rules of the competition.

    Args:
        grid: H*W numbers, row by row: -2 mountain, 0 plain, 1 and 2 the generals of player 0 and 1, above 2 a neutral castle
            with that army.
        height: H.
        width: W.
        touch_turn: Turn from which a touch of the general wins.
        start: None for the first turn. A position otherwise: ``"time"``, and of H*W numbers each ``"owner"`` (-2 mountain,
            -1 neutral, or a player), ``"army"`` and ``"castle"`` (1 for castles, 0 also for generals).

    Raises:
        MapError: If the numbers do not describe a board.
    """
    numbers = integers("grid", grid, height * width)
    boards = empty_boards(1, height, width, PLAYERS, COMPETITION_VERSION, touch_turn << TOUCH_SHIFT)
    if (numbers < MOUNTAIN_NUMBER).any() or (numbers == -1).any():
        raise MapError(f"grid: expected -2, 0, 1, 2 or armies of castles, got {numbers.min()}: write mountains as -2")
    boards.owner[0] = np.where(numbers == MOUNTAIN_NUMBER, OWNER_MOUNTAIN, NEUTRAL)
    boards.terrain[0] = np.where(numbers == MOUNTAIN_NUMBER, MOUNTAIN, np.where(numbers > PLAYERS, CITY, PLAIN))
    boards.army[0] = np.where(numbers > PLAYERS, numbers, 0)
    for player in range(PLAYERS):
        homes = np.flatnonzero(numbers == player + 1)
        if len(homes) != 1:
            raise MapError(f"grid: expected one general of player {player} (number {player + 1}), got {len(homes)}")
        boards.players[0, player]["general"] = homes[0]
        boards.owner[0, homes[0]] = player
        boards.terrain[0, homes[0]] = GENERAL
        boards.army[0, homes[0]] = 1
    if start is not None:
        put_position(boards, start)
    return boards


def put_position(boards: Boards, start: Mapping[str, Any]) -> None:
    """Replace owners, armies, castles and the turn of a board; mountains and generals stay."""
    tiles = boards.owner.shape[1]
    try:
        owner, army, castle = (integers(name, start[name], tiles) for name in ("owner", "army", "castle"))
        time = int(start["time"])
    except KeyError as error:
        raise MapError(f"start: expected time, owner, army and castle, got none of {error}") from None
    mountain = boards.terrain[0] == MOUNTAIN
    if ((owner == OWNER_MOUNTAIN) != mountain).any() or (owner < OWNER_MOUNTAIN).any() or (owner >= PLAYERS).any():
        raise MapError(
            "start: expected owner -2 on the mountains of the grid, and -1, 0 or 1 elsewhere, got another: correct it"
        )
    taken = mountain | (boards.terrain[0] == GENERAL)
    for name, wrong in (("castle", taken & (castle != 0)), ("army", mountain & (army != 0))):
        if wrong.any():
            where = "mountains and generals" if name == "castle" else "mountains"
            raise MapError(f"start: {name}: expected 0 on {where}, got another on tile {np.flatnonzero(wrong)[0]}: correct it")
    boards.owner[0] = owner
    boards.army[0] = army
    boards.terrain[0][castle != 0] = CITY
    boards.games[0]["turn"] = boards.games[0]["last_move"] = time


def integers(name: str, values: Any, count: int) -> npt.NDArray[np.int64]:
    """Return ``count`` integers as int64; raise ``MapError`` for anything else, and for numbers beyond an army."""
    array = np.asarray(values)
    if array.dtype == np.bool_:
        array = array.astype(np.int64)
    if array.size != count or array.dtype.kind not in "iu":
        raise MapError(f"{name}: expected {count} integers, got {array.dtype} of shape {array.shape}: write one for each tile")
    limit = np.iinfo(np.int32)
    if (array < limit.min).any() or (array > limit.max).any():
        raise MapError(f"{name}: expected integers of 32 bits, got {array.min()} to {array.max()}")
    return array.astype(np.int64).ravel()
