"""Plays one turn with the rules of the bot competition: builds, two ordered moves, growth, the touch of a general, ends.

Numbers in comments, "rule Cn", are those of the section on these rules in ``docs/rules.md``. There are two players. The tile
of a general stays one, also when it changes hands; a castle is a city.
"""

from __future__ import annotations

import numpy as np

from generals_env.engine.boards import CITY, GENERAL, TOUCH_SHIFT, Boards
from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.rules.castle_prices import castle_price
from generals_env.engine.rules.growth import grow
from generals_env.engine.rules.valid_moves import Tiles, sent_army

__all__ = ["decide_game", "play_actions", "play_competition_turn"]


@inlined
def build_castle(boards: Boards, b: int, player: int, tile: int) -> None:
    """Pay for a castle and build it; the build is legal (rules C7 and C8)."""
    game = boards.games[b]
    price = castle_price(boards.owner[b], boards.terrain[b], player, tile, game["rows"], game["columns"], game["width"])
    boards.army[b, tile] -= np.int32(price)
    boards.terrain[b, tile] = CITY


@inlined
def first_mover(boards: Boards, b: int, start: Tiles, end: Tiles) -> int:
    """Return which of two players who both move goes first (rule C9)."""
    chases = end[0] == start[1]
    if chases != (end[1] == start[0]):
        return 0 if chases else 1
    reinforces = boards.owner[b, end[0]] == 0
    if reinforces != (boards.owner[b, end[1]] == 1):
        return 0 if reinforces else 1
    return 1 if boards.army[b, start[1]] < boards.army[b, start[0]] else 0


@inlined
def play_actions(boards: Boards, b: int, start: Tiles, end: Tiles, half: Tiles) -> tuple[int, int, int]:
    """Build the castles of a turn and execute its moves one after the other (rules C7 to C12, C16).

    Args:
        boards: The boards.
        b: Which of them.
        start: (2,) int32, see ``take_actions``: legal actions.
        end: (2,) int32, see there.
        half: (2,) int32, see there.

    Returns:
        Bits of the players who touched the other's general; bits of those who captured one; the player who did so last, -1 if
        no player did.
    """
    owner = boards.owner[b]
    army = boards.army[b]
    turn = boards.games[b]["turn"]
    for player in range(2):
        if start[player] < 0 and end[player] >= 0:
            build_castle(boards, b, player, np.int64(end[player]))
            boards.games[b]["last_move"] = turn
    first = 0
    if start[0] >= 0 and start[1] >= 0:
        first = first_mover(boards, b, start, end)
    active = turn >= boards.games[b]["modifiers"] >> TOUCH_SHIFT
    touches = 0
    captures = 0
    captor = -1
    for k in range(2):
        player = first ^ k
        source = np.int64(start[player])
        # The other's move may have taken the source or its army (rule C10).
        if source < 0 or owner[source] != player or army[source] < 2:
            continue
        boards.games[b]["last_move"] = turn
        target = np.int64(end[player])
        sent = sent_army(army[source], half[player])
        army[source] -= sent
        if active and boards.players[b, 1 - player]["general"] == target:
            touches |= 1 << player
        if owner[target] == player:
            army[target] += sent
        elif sent > army[target]:
            owner[target] = player
            army[target] = sent - army[target]
            if boards.terrain[b, target] == GENERAL:
                captures |= 1 << player
                captor = player
        else:
            army[target] -= sent
    return touches, captures, captor


@subroutine
def take_land(boards: Boards, b: int, winner: int) -> None:
    """Give all tiles of the other player to ``winner``, armies unchanged (rules C14 and C19)."""
    owner = boards.owner[b]
    for tile in range(owner.shape[0]):
        if owner[tile] >= 0:
            owner[tile] = winner


@subroutine
def decide_game(boards: Boards, b: int, touches: int, captures: int, captor: int) -> None:
    """End the game if the turn decided it: a win leaves one player alive, a draw none (rules C17 to C19).

    Args:
        boards: The boards.
        b: Which of them.
        touches: See ``play_actions``.
        captures: See there.
        captor: See there.
    """
    if touches == 0 and captures == 0:
        return
    if captor >= 0:
        take_land(boards, b, captor)
    if touches == 3 or captures == 3:
        boards.players[b, 0]["alive"] = False
        boards.players[b, 1]["alive"] = False
        return
    winner = captor
    if touches != 0:
        winner = 0 if touches == 1 else 1
    if captor < 0:
        take_land(boards, b, winner)
    boards.players[b, 1 - winner]["alive"] = False


@subroutine
def play_competition_turn(boards: Boards, b: int, start: Tiles, end: Tiles, half: Tiles) -> None:
    """Play one turn of legal actions: builds, moves, growth unless a general was captured, ends (rules C7 to C19).

    Args:
        boards: The boards.
        b: Which of them.
        start: (2,) int32, see ``take_actions``.
        end: (2,) int32, see there.
        half: (2,) int32, see there.
    """
    touches, captures, captor = play_actions(boards, b, start, end, half)
    boards.games[b]["turn"] += 1
    if captor < 0:
        grow(boards, b)
    decide_game(boards, b, touches, captures, captor)
