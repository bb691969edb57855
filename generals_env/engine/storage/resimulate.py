"""Resimulates one game turn by turn: equal to ``rules.turn.advance``, without visiting every tile on every turn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, COMPETITION_VERSION, GAME, PLAYER, SWAMP, Boards
from generals_env.engine.jit import inlined, kernel, subroutine
from generals_env.engine.rules.competition_turn import decide_game, play_actions
from generals_env.engine.rules.growth import LAND_TURNS, grow_generals, grow_tile
from generals_env.engine.rules.turn import IDLE_LIMIT, TURN_LIMIT, apply_moves, end_by_idling, neutralise_due
from generals_env.engine.rules.valid_moves import take_actions

__all__ = ["SimulationScratch", "copy_board", "empty_scratch", "list_growing_tiles", "resimulate_turn", "same_board"]


class SimulationScratch(NamedTuple):
    """Working memory for the resimulation of one game."""

    boards: Boards  # row 0 is resimulated, row 1 holds a board to compare with
    actions: npt.NDArray[np.int64]  # (P,)
    illegal: npt.NDArray[np.bool_]  # (P,)
    start: npt.NDArray[np.int32]  # (P,)
    end: npt.NDArray[np.int32]  # (P,)
    half: npt.NDArray[np.int32]  # (P,)
    order: npt.NDArray[np.int32]  # (P,)
    homes: npt.NDArray[np.int64]  # (P,)
    growing: npt.NDArray[np.int32]  # (H*W + 1,) number of cities and swamps, then their tiles


@kernel
def empty_scratch(tiles: int, players: int) -> SimulationScratch:
    """Return working memory for boards of this many tiles and players."""
    return SimulationScratch(
        Boards(
            np.zeros((2, tiles), np.int8),
            np.zeros((2, tiles), np.int32),
            np.zeros((2, tiles), np.int8),
            np.zeros((2, players), PLAYER),
            np.zeros(2, GAME),
        ),
        np.zeros(players, np.int64),
        np.zeros(players, np.bool_),
        np.zeros(players, np.int32),
        np.zeros(players, np.int32),
        np.zeros(players, np.int32),
        np.zeros(players, np.int32),
        np.zeros(players, np.int64),
        np.zeros(tiles + 1, np.int32),
    )


@inlined
def list_growing_tiles(boards: Boards, b: int, growing: npt.NDArray[np.int32]) -> None:
    """List the cities and swamps of a board."""
    count = 0
    terrain = boards.terrain[b]
    for tile in range(terrain.shape[0]):
        if terrain[tile] == CITY or terrain[tile] == SWAMP:
            count += 1
            growing[count] = tile
    growing[0] = count


@inlined
def grow_listed(boards: Boards, b: int, growing: npt.NDArray[np.int32]) -> None:
    """Grow a board at the turn just reached, equal to ``rules.growth.grow``; ``growing`` lists its cities and swamps."""
    turn = boards.games[b]["turn"]
    if turn % LAND_TURNS == 0:
        grow_generals(boards, b)
        for tile in range(boards.owner.shape[1]):
            grow_tile(boards, b, tile, True)
    elif turn % 2 == 0:
        grow_generals(boards, b)
        for k in range(growing[0]):
            grow_tile(boards, b, np.int64(growing[k + 1]), False)


@subroutine
def resimulate_competition_turn(boards: Boards, b: int, scratch: SimulationScratch) -> None:
    """Play one turn of the actions taken, equal to ``rules.competition_turn.play_competition_turn``."""
    touches, captures, captor = play_actions(boards, b, scratch.start, scratch.end, scratch.half)
    for player in range(2):
        if scratch.start[player] < 0 and scratch.end[player] >= 0:  # a castle, which grows from now on
            scratch.growing[0] += 1
            scratch.growing[scratch.growing[0]] = scratch.end[player]
    boards.games[b]["turn"] += 1
    if captor < 0:
        grow_listed(boards, b, scratch.growing)
    decide_game(boards, b, touches, captures, captor)


@inlined
def resimulate_turn(boards: Boards, b: int, scratch: SimulationScratch) -> None:
    """Play one turn of board ``b`` with the actions in ``scratch``, equal to ``rules.turn.advance``.

    Args:
        boards: The boards.
        b: Row of the board.
        scratch: ``actions`` are executed; ``growing`` lists the cities and swamps of the board, and is kept up to date.
    """
    due = False
    for player in range(scratch.homes.shape[0]):
        scratch.homes[player] = boards.players[b, player]["general"]
        due = due or boards.players[b, player]["surrendered"] >= 0
    take_actions(boards, b, scratch.actions, scratch.start, scratch.end, scratch.half, scratch.illegal)
    if boards.games[b]["version"] == COMPETITION_VERSION:
        resimulate_competition_turn(boards, b, scratch)
        return
    if due:  # seldom: a call copies the hundred words of ``Boards``
        neutralise_due(boards, b)
    apply_moves(boards, b, scratch.start, scratch.end, scratch.half, scratch.order)
    rare = False
    for player in range(scratch.homes.shape[0]):
        rare = rare or scratch.homes[player] != boards.players[b, player]["general"]
    if rare:
        list_growing_tiles(boards, b, scratch.growing)
    boards.games[b]["turn"] += 1
    turn = boards.games[b]["turn"]
    grow_listed(boards, b, scratch.growing)
    if turn - boards.games[b]["last_move"] > IDLE_LIMIT or turn > TURN_LIMIT:
        end_by_idling(boards, b)


@subroutine
def same_board(boards: Boards, b: int, others: Boards, i: int) -> bool:
    """Return whether two boards are equal."""
    game, other = boards.games[b], others.games[i]
    if (
        game["turn"] != other["turn"]
        or game["last_move"] != other["last_move"]
        or game["rows"] != other["rows"]
        or game["columns"] != other["columns"]
        or game["version"] != other["version"]
        or game["modifiers"] != other["modifiers"]
        or game["fog"] != other["fog"]
    ):
        return False
    for player in range(boards.players.shape[1]):
        mine, theirs = boards.players[b, player], others.players[i, player]
        if (
            mine["general"] != theirs["general"]
            or mine["surrendered"] != theirs["surrendered"]
            or mine["team"] != theirs["team"]
            or mine["alive"] != theirs["alive"]
        ):
            return False
    differs = np.int32(0)
    owner, army, terrain = boards.owner[b], boards.army[b], boards.terrain[b]
    other_owner, other_army, other_terrain = others.owner[i], others.army[i], others.terrain[i]
    for tile in range(army.shape[0]):
        differs |= army[tile] ^ other_army[tile]
    for tile in range(army.shape[0]):
        differs |= np.int32((owner[tile] ^ other_owner[tile]) | (terrain[tile] ^ other_terrain[tile]))
    return bool(differs == 0)


@subroutine
def copy_board(boards: Boards, b: int, others: Boards, i: int) -> None:
    """Copy board ``b`` over board ``i`` of ``others``."""
    owner, army, terrain = boards.owner[b], boards.army[b], boards.terrain[b]
    other_owner, other_army, other_terrain = others.owner[i], others.army[i], others.terrain[i]
    for tile in range(owner.shape[0]):
        other_owner[tile] = owner[tile]
    for tile in range(owner.shape[0]):
        other_army[tile] = army[tile]
    for tile in range(owner.shape[0]):
        other_terrain[tile] = terrain[tile]
    for player in range(boards.players.shape[1]):
        others.players[i, player] = boards.players[b, player]
    others.games[i] = boards.games[b]
