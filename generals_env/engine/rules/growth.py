"""Grows generals, cities and land (rules 12 and 13)."""

from __future__ import annotations

from generals_env.engine.boards import CITY, DESERT, NEUTRAL, SWAMP, Boards
from generals_env.engine.jit import inlined, subroutine

__all__ = ["LAND_TURNS", "grow", "grow_generals", "grow_tile"]

LAND_TURNS = 50  # rule 13


@inlined
def grow_generals(boards: Boards, b: int) -> None:
    """Add 1 to the army of every general (rule 12)."""
    for player in range(boards.players.shape[1]):
        home = boards.players[b, player]["general"]
        if home >= 0:
            boards.army[b, home] += 1


@inlined
def grow_tile(boards: Boards, b: int, tile: int, land_grows: bool) -> None:
    """Grow a tile at an even turn: cities, swamps, and with ``land_grows`` all land (rules 12 and 13)."""
    owner = boards.owner[b]
    army = boards.army[b]
    owned = owner[tile] >= 0
    kind = boards.terrain[b, tile]
    if kind == CITY:
        if owned or (boards.games[b]["version"] < 6 and army[tile] < 40):
            army[tile] += 1
    elif kind == SWAMP and owned:
        army[tile] -= 1
        if army[tile] <= 0:
            army[tile] = 0
            owner[tile] = NEUTRAL
            owned = False
    if land_grows and owned:
        if kind != DESERT:
            army[tile] += 1
        elif army[tile] <= 0:  # a desert gains and loses one
            army[tile] = 0
            owner[tile] = NEUTRAL


@subroutine
def grow(boards: Boards, b: int) -> None:
    """Grow generals, cities and land at the turn just reached (rules 12 and 13)."""
    turn = boards.games[b]["turn"]
    if turn % 2:
        return
    grow_generals(boards, b)
    for tile in range(boards.owner.shape[1]):
        grow_tile(boards, b, tile, turn % LAND_TURNS == 0)
