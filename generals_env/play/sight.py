"""Writes what a seat sees of a board as plain data for the page, and nothing else of the board."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, COMPETITION_VERSION, NEUTRAL, OWNER_MOUNTAIN, PLAIN, Boards, copy_boards
from generals_env.prices import castle_prices
from generals_env.rendering.sight import seen_tiles

__all__ = ["build_prices", "scores_of", "seen_board", "whole_board"]


def seen_board(boards: Boards, b: int, seat: int) -> dict[str, Any]:
    """Return the tiles of board ``b`` as the seat sees them.

    A tile out of sight is neutral and empty; an obstacle out of sight, whether mountain or city, is a mountain. So the data
    holds nothing that the observation of an agent does not hold.
    """
    seen = seen_tiles(boards, b, seat)
    obstacle = (boards.owner[b] < NEUTRAL) | (boards.terrain[b] == CITY)
    owner = np.where(seen, boards.owner[b], np.where(obstacle, OWNER_MOUNTAIN, NEUTRAL))
    army = np.where(seen, boards.army[b], 0)
    terrain = np.where(seen, boards.terrain[b], PLAIN)
    game = boards.games[b]
    return {
        "owner": cut(owner, game),
        "army": cut(army, game),
        "terrain": cut(terrain, game),
        "seen": None if seen.all() else cut(seen.astype(np.int8), game),
    }


def whole_board(boards: Boards, b: int) -> dict[str, Any]:
    """Return all tiles of board ``b``."""
    game = boards.games[b]
    parts = {name: cut(getattr(boards, name)[b], game) for name in ("owner", "army", "terrain")}
    return {**parts, "seen": None}


def cut(tiles: npt.NDArray[Any], game: np.void) -> list[int]:
    """Return the tiles of the board without its padding, row by row."""
    rows, columns = int(game["rows"]), int(game["columns"])
    inner: list[int] = tiles.reshape(int(game["height"]), int(game["width"]))[:rows, :columns].ravel().tolist()
    return inner


def scores_of(boards: Boards, b: int) -> list[dict[str, Any]]:
    """Return army, land and life of each player, which the scoreboard shows all of them."""
    owner, army = boards.owner[b], boards.army[b]
    return [
        {
            "army": int(army[owner == player].sum()),
            "land": int((owner == player).sum()),
            "alive": bool(boards.players[b, player]["alive"]),
        }
        for player in range(boards.players.shape[1])
    ]


def build_prices(boards: Boards, b: int, seat: int) -> dict[str, int] | None:
    """Return the price of a castle on each plain tile of the seat, by tile; None if the rules have no castles."""
    game = boards.games[b]
    if game["version"] != COMPETITION_VERSION:
        return None
    columns, width = int(game["columns"]), int(game["width"])
    prices = castle_prices(copy_boards(boards, slice(b, b + 1)), seat)[0].ravel()
    places = np.flatnonzero((boards.owner[b] == seat) & (boards.terrain[b] == PLAIN))
    return {str(tile // width * columns + tile % width): int(prices[tile]) for tile in places.tolist()}
