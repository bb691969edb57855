"""Chooses the hunter's actions for all of its seats on many boards."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import COMPETITION_VERSION, TOUCH_SHIFT
from generals_env.engine.jit import kernel, subroutine
from generals_env.engine.policies.hunter.choice import choose
from generals_env.engine.policies.hunter.facts import (
    ENEMY_ARMY,
    ENEMY_LAND,
    FACTS,
    GENERAL_TILE,
    OWN_ARMY,
    OWN_LAND,
    PLAYER_NUMBER,
    RIVALS,
    TOUCH_TURN_FACT,
    TURN,
    WIDTH,
)
from generals_env.engine.policies.hunter.memory import BEGUN, LAST_ACTION, LAST_TURN, QUEUE
from generals_env.engine.policies.hunter.seat import FIELDS, Scratch, Seat, fill_neighbours

__all__ = ["HUNTER", "choose_all"]

#: Code of the policy; the level is in the bits above the lowest eight.
HUNTER = 2


@subroutine
def note_facts(
    owner: npt.NDArray[np.int8],
    army: npt.NDArray[np.int32],
    board_players: npt.NDArray[np.void],
    board_games: npt.NDArray[np.void],
    b: int,
    player: int,
    facts: npt.NDArray[np.int64],
) -> None:
    """Write the facts of a seat from the boards."""
    game = board_games[b]
    competition = game["version"] == COMPETITION_VERSION
    facts[TURN] = game["turn"]
    facts[WIDTH] = game["width"]
    facts[PLAYER_NUMBER] = player
    facts[GENERAL_TILE] = board_players[b, player]["general"]
    facts[TOUCH_TURN_FACT] = game["modifiers"] >> TOUCH_SHIFT if competition else -1
    rivals = 0
    for other in range(board_players.shape[1]):
        if board_players[b, other]["alive"] and board_players[b, other]["team"] != board_players[b, player]["team"]:
            rivals += 1
    facts[RIVALS] = rivals
    own_land, own_army, land, total = -1, -1, -1, -1
    if competition:  # only castles need the totals
        own_land, own_army, land, total = 0, 0, 0, 0
        for tile in range(owner.shape[1]):
            holder = owner[b, tile]
            if holder == player:
                own_land += 1
                own_army += np.int64(army[b, tile])
            elif holder >= 0 and board_players[b, holder]["team"] != board_players[b, player]["team"]:
                land += 1
                total += np.int64(army[b, tile])
    facts[OWN_LAND] = own_land
    facts[OWN_ARMY] = own_army
    facts[ENEMY_LAND] = land
    facts[ENEMY_ARMY] = total


@subroutine
def choose_seat(
    owner: npt.NDArray[np.int8],
    army: npt.NDArray[np.int32],
    board_players: npt.NDArray[np.void],
    board_games: npt.NDArray[np.void],
    tile_codes: npt.NDArray[np.uint8],
    b: int,
    player: int,
    actions: npt.NDArray[np.int64],
    policy_rng: npt.NDArray[np.uint64],
    level: int,
    begun: int,
    words: npt.NDArray[np.int64],
    flags: npt.NDArray[np.uint8],
    home: npt.NDArray[np.int16],
    queue: npt.NDArray[np.int16],
    facts: npt.NDArray[np.int64],
    scratch: Scratch,
) -> None:
    """Write the action of one seat of a board."""
    note_facts(owner, army, board_players, board_games, b, player, facts)
    row = b * board_players.shape[1] + player
    if words[row, BEGUN] == begun and words[row, LAST_TURN] == facts[TURN]:
        actions[b, player] = words[row, LAST_ACTION]
        return
    seat = Seat(tile_codes[b, player], owner[b], army[b], facts, words[row], flags[row], home[row], queue[row])
    actions[b, player] = choose(seat, scratch, begun, level, policy_rng[b], player)
    words[row, LAST_ACTION] = actions[b, player]


@kernel
def choose_all(
    owner: npt.NDArray[np.int8],
    army: npt.NDArray[np.int32],
    board_players: npt.NDArray[np.void],
    board_games: npt.NDArray[np.void],
    tile_codes: npt.NDArray[np.uint8],
    active: npt.NDArray[np.bool_],
    actions: npt.NDArray[np.int64],
    policy_rng: npt.NDArray[np.uint64],
    policies: npt.NDArray[np.int64],
    begun: npt.NDArray[np.int64],
    words: npt.NDArray[np.int64],
    flags: npt.NDArray[np.uint8],
    home: npt.NDArray[np.int16],
    queue: npt.NDArray[np.int16],
    low: int,
    high: int,
) -> None:
    """Write the hunter's actions for its seats of boards ``low`` to ``high``.

    Args:
        owner: (B, H*W) int8, see ``Boards``.
        army: See there.
        board_players: See there.
        board_games: See there.
        tile_codes: (B, P, H*W) uint8, see ``observations.tile_codes``.
        active: (B, P) bool, seats that play.
        actions: (B, P) int64, in and out.
        policy_rng: (B, P) uint64, generators; levels below full strength draw from them.
        policies: (P,) int64, codes.
        begun: (B,) int64, games begun on each board.
        words: See ``hunter.memory.Memory``; row ``b * P + player`` is the seat's.
        flags: See there.
        home: See there.
        queue: See there.
        low: First board.
        high: One more than the last board.
    """
    tiles = owner.shape[1]
    scratch = Scratch(
        neighbours=np.zeros((tiles, 4), np.int32),
        ground=np.zeros(tiles + 1, np.uint8),
        fields=np.zeros((FIELDS, tiles + 1), np.int32),
        moves=np.zeros(QUEUE, np.int16),
        rates=np.zeros(2, np.int64),
        rng=np.zeros(1, np.uint64),
    )
    facts = np.zeros(FACTS, np.int64)
    fill_neighbours(scratch.neighbours, board_games[low]["width"])
    for b in range(low, high):
        for player in range(policies.shape[0]):
            policy = policies[player]
            if policy < 0 or policy & 255 != HUNTER:
                continue
            actions[b, player] = 8 * tiles  # the pass, for a seat whose game has ended
            if active[b, player]:
                choose_seat(
                    owner,
                    army,
                    board_players,
                    board_games,
                    tile_codes,
                    b,
                    player,
                    actions,
                    policy_rng,
                    policy >> 8,
                    begun[b],
                    words,
                    flags,
                    home,
                    queue,
                    facts,
                    scratch,
                )
