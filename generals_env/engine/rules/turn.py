"""Plays one turn of the game: combat, capture, trades, surrender, growth, end.

Numbers in comments, "rule n", are those of the numbered specification in ``docs/rules.md``. All functions work on board ``b``
of a ``Boards`` in place; they allocate at most a few bytes a turn on the heap.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, COMPETITION_VERSION, DEFENSELESS, LEAPFROG, NEUTRAL, SURRENDER_TURNS, Boards
from generals_env.engine.jit import inlined, kernel, subroutine
from generals_env.engine.rules.competition_turn import play_competition_turn
from generals_env.engine.rules.growth import LAND_TURNS, grow, grow_generals, grow_tile
from generals_env.engine.rules.move_order import order_moves
from generals_env.engine.rules.valid_moves import Actions, Tiles, sent_army, take_actions

__all__ = [
    "LAND_TURNS",
    "advance",
    "apply_moves",
    "end_by_idling",
    "finish_turn",
    "grow_generals",
    "grow_tile",
    "is_over",
    "kill",
    "neutralise",
    "neutralise_due",
    "winner",
]

IDLE_LIMIT = 2000  # rule 27
TURN_LIMIT = 50000  # rule 27


# --- Combat (rules 9-11, 19) --------------------------------------------------------------------------------------


@subroutine
def capture_general(boards: Boards, b: int, captor: int, old: int, tile: int) -> None:
    """Give ``captor``, who just took the general's ``tile`` of ``old``, all his land, armies halved (rules 11, 19a)."""
    owner = boards.owner[b]
    army = boards.army[b]
    for other in range(owner.shape[0]):
        if owner[other] == old:
            owner[other] = captor
            army[other] = (army[other] + 1) // 2
    boards.players[b, old]["general"] = -1
    boards.players[b, old]["alive"] = False
    home = boards.players[b, captor]["general"]
    if boards.games[b]["modifiers"] & LEAPFROG and home >= 0:
        boards.terrain[b, home] = CITY
        boards.players[b, captor]["general"] = tile
    else:
        boards.terrain[b, tile] = CITY


@inlined
def trade_partner(
    boards: Boards, b: int, player: int, start: Tiles, end: Tiles, half: Tiles, order: Tiles, position: int, count: int
) -> int:
    """Return the position in ``order`` of the player who trades generals with ``player``; -1 if there is none (rule 19).

    ``player`` moves at ``position``; the rival's own move must come later in this turn.
    """
    owner = boards.owner[b]
    army = boards.army[b]
    players = boards.players[b]
    rival = owner[end[player]]
    if rival < 0 or boards.players[b, rival]["team"] == boards.players[b, player]["team"]:
        return -1
    home = players[player]["general"]
    if players[rival]["general"] != end[player] or home < 0 or start[rival] < 0 or end[rival] != home:
        return -1
    later = position + 1
    while later < count and order[later] != rival:
        later += 1
    if later == count or owner[start[rival]] != rival:
        return -1
    attack = sent_army(army[start[player]], half[player])
    counter = sent_army(army[start[rival]], half[rival])
    if boards.games[b]["modifiers"] & DEFENSELESS:
        return later if attack > 0 and counter > 0 else -1
    # A player who moves out of his general leaves only the rest of the army there.
    guard = army[end[player]] - (counter if start[rival] == end[player] else 0)
    home_guard = army[end[rival]] - (attack if start[player] == end[rival] else 0)
    return later if attack > guard and counter > home_guard else -1


@subroutine
def trade_generals(boards: Boards, b: int, player: int, rival: int, start: Tiles, end: Tiles, half: Tiles) -> None:
    """Execute both moves at once: generals and all land change hands, both stay alive (rule 19)."""
    owner = boards.owner[b]
    army = boards.army[b]
    attack = sent_army(army[start[player]], half[player])
    counter = sent_army(army[start[rival]], half[rival])
    army[start[player]] -= attack
    army[start[rival]] -= counter
    gained = end[player]
    lost = end[rival]
    # Only with Defenseless can the guard outnumber the attack.
    surplus = max(attack - army[gained], 0)
    rival_surplus = max(counter - army[lost], 0)
    for tile in range(owner.shape[0]):
        if owner[tile] == player:
            owner[tile] = rival
            army[tile] = (army[tile] + 1) // 2
        elif owner[tile] == rival:
            owner[tile] = player
            army[tile] = (army[tile] + 1) // 2
    army[gained] = surplus
    army[lost] = rival_surplus
    boards.players[b, player]["general"] = gained
    boards.players[b, rival]["general"] = lost


@inlined
def execute_move(boards: Boards, b: int, player: int, start: int, end: int, half: int) -> bool:
    """Execute one move and return whether it had an effect (rules 10 and 11)."""
    owner = boards.owner[b]
    army = boards.army[b]
    if owner[start] != player or army[start] == 0:
        return False
    holder = owner[end]
    sent = sent_army(army[start], half)
    friendly = holder >= 0 and boards.players[b, holder]["team"] == boards.players[b, player]["team"]
    if friendly:
        army[end] += sent
        if boards.players[b, holder]["general"] != end:
            owner[end] = player
        army[start] -= sent
        return True
    if sent <= 0:
        return False
    takes_general = holder >= 0 and boards.players[b, holder]["general"] == end
    army[start] -= sent
    if army[end] >= sent and not (takes_general and boards.games[b]["modifiers"] & DEFENSELESS):
        army[end] -= sent
        return True
    army[end] = max(sent - army[end], 0)
    owner[end] = player
    if takes_general:
        capture_general(boards, b, player, holder, end)
    return True


@inlined
def apply_moves(boards: Boards, b: int, start: Tiles, end: Tiles, half: Tiles, order: Tiles) -> None:
    """Order this turn's moves and execute them one after another (rules 9-19).

    Args:
        boards: The boards.
        b: Which of them.
        start: (P,) int32, tile each player moves from, -1 for none; every move valid now (rule 8).
        end: (P,) int32, tile moved to.
        half: (P,) int32, 1 for a half move.
        order: (P,) int32, scratch.
    """
    count = order_moves(boards, b, start, end, order)
    for k in range(count):
        player = order[k]
        if player < 0 or boards.owner[b, start[player]] != player:
            continue
        partner = trade_partner(boards, b, player, start, end, half, order, k, count)
        if partner >= 0:
            trade_generals(boards, b, player, order[partner], start, end, half)
            order[partner] = -1
            boards.games[b]["last_move"] = boards.games[b]["turn"]
        elif execute_move(boards, b, player, start[player], end[player], half[player]):
            boards.games[b]["last_move"] = boards.games[b]["turn"]


# --- Surrender (rules 20-24) --------------------------------------------------------------------------------------


@kernel
def kill(boards: Boards, b: int, player: int) -> None:
    """Take a living player out of the game; tiles and general stay his (rule 20)."""
    boards.players[b, player]["alive"] = False


@kernel
def neutralise(boards: Boards, b: int, player: int) -> None:
    """Give the land of a player who left to a team-mate, or make it neutral (rule 21). No effect if he was captured."""
    home = boards.players[b, player]["general"]
    if home < 0:
        return
    heir = NEUTRAL
    for other in range(boards.players.shape[1]):
        if (
            boards.players[b, other]["alive"]
            and other != player
            and boards.players[b, other]["team"] == boards.players[b, player]["team"]
        ):
            heir = other
            break
    owner = boards.owner[b]
    for tile in range(owner.shape[0]):
        if owner[tile] == player:
            owner[tile] = heir
    boards.terrain[b, home] = CITY
    boards.players[b, player]["general"] = -1


@subroutine
def neutralise_due(boards: Boards, b: int) -> None:
    """Call ``neutralise`` for players who surrendered 50 turns ago."""
    for player in range(boards.players.shape[1]):
        left = boards.players[b, player]["surrendered"]
        if left >= 0 and boards.games[b]["turn"] >= left + SURRENDER_TURNS and boards.players[b, player]["general"] >= 0:
            neutralise(boards, b, player)


# --- End (rules 27, 28) -------------------------------------------------------------------------


@subroutine
def end_by_idling(boards: Boards, b: int) -> None:
    """Kill all players but the strongest when no player has moved for too long (rule 27)."""
    turn = boards.games[b]["turn"]
    if turn - boards.games[b]["last_move"] <= IDLE_LIMIT and turn <= TURN_LIMIT:
        return
    best = -1
    max_strength = np.int64(-1)
    for player in range(boards.players.shape[1]):
        if not boards.players[b, player]["alive"]:
            continue
        strength = np.int64(0)  # army first, then land
        for tile in range(boards.owner.shape[1]):
            if boards.owner[b, tile] == player:
                strength += (np.int64(boards.army[b, tile]) << 16) + 1
        if strength > max_strength:
            best = player
            max_strength = strength
    for player in range(boards.players.shape[1]):
        boards.players[b, player]["alive"] = boards.players[b, player]["alive"] and player == best


@subroutine
def finish_turn(boards: Boards, b: int) -> None:
    """Count the turn, grow, and end an idle game (rules 12-14, 27)."""
    boards.games[b]["turn"] += 1
    grow(boards, b)
    end_by_idling(boards, b)


@kernel
def is_over(boards: Boards, b: int) -> bool:
    """Return whether at most one team is left (rule 28)."""
    team = -1
    for player in range(boards.players.shape[1]):
        if boards.players[b, player]["alive"]:
            if team >= 0 and boards.players[b, player]["team"] != team:
                return False
            team = boards.players[b, player]["team"]
    return True


@kernel
def winner(boards: Boards, b: int) -> int:
    """Return the first living player of the team that is left, -1 if the game goes on or no player is left (rule 28)."""
    if is_over(boards, b):
        for player in range(boards.players.shape[1]):
            if boards.players[b, player]["alive"]:
                return player
    return -1


@kernel
def advance(boards: Boards, b: int, actions: Actions, illegal: npt.NDArray[np.bool_]) -> None:
    """Play one turn of board ``b``: land of players who left, actions, growth, end.

    Args:
        boards: The boards.
        b: Which of them.
        actions: (P,) int64, in and out: action indices within range; those that are not legal are replaced by the pass.
        illegal: (P,) bool, out: True for an action that was not legal.
    """
    players = actions.shape[0]
    start = np.empty(players, np.int32)
    end = np.empty(players, np.int32)
    half = np.empty(players, np.int32)
    order = np.empty(players, np.int32)
    take_actions(boards, b, actions, start, end, half, illegal)
    if boards.games[b]["version"] == COMPETITION_VERSION:
        play_competition_turn(boards, b, start, end, half)
        return
    neutralise_due(boards, b)
    apply_moves(boards, b, start, end, half, order)
    finish_turn(boards, b)
