"""Orders the moves of a turn: base orders, the sorting of 2025, and moves that wait for others (rules 15 to 18)."""

from __future__ import annotations

from generals_env.engine.boards import SLIPPERY, Boards
from generals_env.engine.jit import inlined
from generals_env.engine.rules.valid_moves import Tiles

__all__ = ["order_moves"]


@inlined
def base_player(version: int, turn: int, players: int, k: int) -> int:
    """Return the k-th player of the base order (rule 15)."""
    if version == 3:
        return (k + turn) % players
    if version < 3:
        return k
    if version == 4 or turn % 2 == 1:
        return players - 1 - k
    return k


@inlined
def goes_before(boards: Boards, b: int, first: int, second: int, start: Tiles, end: Tiles) -> bool:
    """Return whether the move of player ``first`` sorts strictly before that of ``second`` (rule 16)."""
    owner = boards.owner[b]
    players = boards.players[b]
    holder_1 = owner[end[first]]
    holder_2 = owner[end[second]]
    defends_1 = holder_1 >= 0 and players[holder_1]["team"] == players[first]["team"]
    defends_2 = holder_2 >= 0 and players[holder_2]["team"] == players[second]["team"]
    if defends_1 != defends_2:
        return bool(defends_1)
    onto_general_1 = holder_1 >= 0 and players[holder_1]["general"] == end[first]
    onto_general_2 = holder_2 >= 0 and players[holder_2]["general"] == end[second]
    if onto_general_1 != onto_general_2:
        return bool(onto_general_2)
    return bool(boards.army[b, start[first]] > boards.army[b, start[second]])


@inlined
def waits_for(boards: Boards, b: int, player: int, other: int, start: Tiles, end: Tiles) -> bool:
    """Return whether the move of ``player`` has to wait for that of ``other`` (rules 17 and 18)."""
    if start[other] == end[player] and end[other] == start[player]:
        return False  # head-on: they just meet
    if boards.games[b]["modifiers"] & SLIPPERY:
        if start[other] != end[player]:
            return False
        holder = boards.owner[b, end[other]]
        return not (holder >= 0 and boards.players[b, holder]["general"] == end[player])
    return bool(end[other] == start[player])


@inlined
def order_moves(boards: Boards, b: int, start: Tiles, end: Tiles, order: Tiles) -> int:
    """Write the players who move into ``order``, first to last, and return their number (rules 15-18)."""
    players = start.shape[0]
    version = boards.games[b]["version"]
    count = 0
    for k in range(players):
        player = base_player(version, boards.games[b]["turn"], players, k)
        if start[player] >= 0:
            order[count] = player
            count += 1
    if version < 15 or count < 2:
        return count
    if count == 2:  # as below, without loops
        if goes_before(boards, b, order[1], order[0], start, end):
            order[0], order[1] = order[1], order[0]
        if waits_for(boards, b, order[0], order[1], start, end) and not waits_for(boards, b, order[1], order[0], start, end):
            order[0], order[1] = order[1], order[0]
        return 2
    for i in range(1, count):  # insertion sort: stable, and at most 16 long
        player = order[i]
        j = i
        while j > 0 and goes_before(boards, b, player, order[j - 1], start, end):
            order[j] = order[j - 1]
            j -= 1
        order[j] = player
    for i in range(count):
        pick = i  # in a cycle, where all wait, the first one goes
        for j in range(i, count):
            waits = False
            for k in range(i, count):
                if k != j and waits_for(boards, b, order[j], order[k], start, end):
                    waits = True
                    break
            if not waits:
                pick = j
                break
        player = order[pick]
        for j in range(pick, i, -1):
            order[j] = order[j - 1]
        order[i] = player
    return count
