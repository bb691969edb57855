"""Tells players what castles cost, with the rules of the competition."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_integer, shown
from generals_env.engine.boards import CITY, COMPETITION_VERSION, GENERAL, Boards
from generals_env.engine.rules.castle_prices import BASE_PRICE, SURCHARGE, SURCHARGE_STEP
from generals_env.errors import StateError

__all__ = ["castle_prices"]


def castle_prices(games: Any, player: int) -> npt.NDArray[np.int64]:
    """Do what ``generals_env.castle_prices`` says."""
    boards, single = boards_of(games)
    check_integer("player", player, 0, boards.players.shape[1] - 1)
    if (boards.games["version"] != COMPETITION_VERSION).any():
        raise StateError("castle_prices: expected games with rules 'competition', got others: only there castles are built")
    height, width = (int(boards.games[0][name]) for name in ("height", "width"))
    built = (boards.terrain == CITY) | (boards.terrain == GENERAL)
    prices = np.full((len(boards.owner), height, width), BASE_PRICE, np.int64)
    rows, columns = np.indices((height, width))
    for b, tile in zip(*np.nonzero(built & (boards.owner == player)), strict=True):
        row, column = divmod(int(tile), width)
        prices[b] += np.maximum(SURCHARGE - SURCHARGE_STEP * (np.abs(rows - row) + np.abs(columns - column)), 0)
    return prices[0] if single else prices


def boards_of(games: Any) -> tuple[Boards, bool]:
    """Return the boards of an environment, and whether it is an environment of one game."""
    if isinstance(games, Boards):
        return games, False
    games = getattr(games, "unwrapped", games)
    for name in ("board", "boards"):
        if callable(getattr(games, name, None)):
            return getattr(games, name)(), name == "board"
    if hasattr(games, "games"):  # the environment of a single learner holds a vector environment of one game
        return games.games.boards(), True
    raise StateError(f"castle_prices: expected an environment or boards, got {shown(games)}")
