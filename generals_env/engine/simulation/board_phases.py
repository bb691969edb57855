"""Plays one turn of one board in four phases: choose the actions, play the moves, follow the changes, judge the result.

``begin_board`` puts a new game on the board, in place of the first two phases.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import DESERT, SWAMP, Boards
from generals_env.engine.jit import inlined, subroutine
from generals_env.engine.observations.incremental import Observations, blank_view, enter_board, follow_board, show_scores
from generals_env.engine.observations.reference import SCOREBOARD, count_scores
from generals_env.engine.observations.tile_sets import TileSets, add_castle, index_growing_tiles, touch, touch_all, touch_row
from generals_env.engine.packed.recording import ALL_PLAYERS, Recording, record_board
from generals_env.engine.policies.bitboard import choose_action
from generals_env.engine.policies.codes import GIVEN
from generals_env.engine.rules.competition_turn import decide_game, play_actions
from generals_env.engine.rules.growth import LAND_TURNS, grow_generals, grow_tile
from generals_env.engine.rules.map_generator import draw_map
from generals_env.engine.rules.rewards import judge_turn, weigh_tally
from generals_env.engine.rules.turn import apply_moves, end_by_idling, neutralise_due
from generals_env.engine.rules.valid_moves import Tiles, take_actions
from generals_env.engine.simulation.turn_outcome import DRAWS, GAMES, ILLEGAL, TRUNCATED, TURNS, WINS, Outcome
from generals_env.engine.splitmix import random_below

__all__ = [
    "Scratch",
    "begin_board",
    "choose_actions",
    "clear",
    "end_game",
    "follow_turn",
    "judge_board",
    "play_board",
    "stand_still",
]


class Scratch(NamedTuple):
    """Work arrays for one board's turn, one set a thread: an allocation in a kernel costs as much as a move."""

    start: npt.NDArray[np.int32]  # (P,)
    end: npt.NDArray[np.int32]  # (P,)
    half: npt.NDArray[np.int32]  # (P,)
    order: npt.NDArray[np.int32]  # (P,)
    homes: npt.NDArray[np.int64]  # (P,) generals before the turn
    lives: npt.NDArray[np.int8]  # (P,) 1 for players alive before the turn
    shows: npt.NDArray[np.int8]  # (P,) 1 for players whose tensors are kept up to date
    result: npt.NDArray[np.int8]  # (P,)
    tally: npt.NDArray[np.int64]  # (P, 7)
    changed: npt.NDArray[np.uint64]  # (P,)
    touched: npt.NDArray[np.int32]  # (2*H*W + 3*P + 1,) see ``tile_sets``
    changes: npt.NDArray[np.uint64]  # (H,)
    candidates: npt.NDArray[np.int32]  # (4*H*W,)
    lines: npt.NDArray[np.uint64]  # (4, H + 2)
    owner_codes: npt.NDArray[np.int64]  # (P, P + 6) see ``team_visibility``
    row_of: npt.NDArray[np.int32]  # (H*W,) row of each tile
    seats: npt.NDArray[np.int64]  # (P,)
    distance: npt.NDArray[np.int32]  # (P + 3, H*W)


@subroutine
def begin_board(
    boards: Boards,
    b: int,
    sets: TileSets,
    views: Observations,
    outcome: Outcome,
    scratch: Scratch,
    template: Boards,
    chosen: int,
    rng: npt.NDArray[np.uint64],
    sizes: npt.NDArray[np.int64],
    densities: npt.NDArray[np.float64],
    castles: bool | None,
) -> bool:
    """Begin a new game on board ``b``, see ``run_boards``; return False if no fair map was found."""
    players = boards.players.shape[1]
    if template.owner.shape[0] == 0:
        if not draw_map(boards, b, rng, sizes, densities, scratch.seats, scratch.distance, scratch.lines, castles):
            return False
    else:
        which = chosen if chosen >= 0 else np.int64(random_below(rng, b, template.owner.shape[0]))
        for tile in range(boards.owner.shape[1]):
            boards.owner[b, tile] = template.owner[which, tile]
            boards.army[b, tile] = template.army[which, tile]
            boards.terrain[b, tile] = template.terrain[which, tile]
        for player in range(players):
            boards.players[b, player] = template.players[which, player]
        boards.games[b] = template.games[which]
    outcome.begun[b] += 1
    enter_board(boards, b, sets, views, scratch.touched, scratch.homes)
    goes_on = False
    for player in range(players):
        if chosen < 0:
            outcome.active[b, player] = has_living_member(boards, b, player)
        outcome.illegal[b, player] = False
        outcome.illegal_count[b, player] = 0
        goes_on = goes_on or outcome.active[b, player]
    for player in range(players):
        scratch.shows[player] = outcome.active[b, player] or not goes_on
        if not scratch.shows[player]:
            blank_view(sets, views, b, player)
    return True


@inlined
def has_living_member(boards: Boards, b: int, player: int) -> bool:
    """Return whether a player of the team of ``player`` is alive, so that the game has not ended for it."""
    living = False
    for other in range(boards.players.shape[1]):
        same = boards.players[b, other]["team"] == boards.players[b, player]["team"]
        living = living or (same and boards.players[b, other]["alive"])
    return living


@inlined
def choose_actions(
    boards: Boards,
    b: int,
    sets: TileSets,
    views: Observations,
    outcome: Outcome,
    scratch: Scratch,
    policies: npt.NDArray[np.int64],
    policy_rng: npt.NDArray[np.uint64],
    teams: bool,
) -> None:
    """Choose the actions of players with a built-in policy; those of ``GIVEN`` are in ``outcome`` already."""
    for player in range(boards.players.shape[1]):
        if policies[player] != GIVEN:
            outcome.actions[b, player] = choose_action(
                boards,
                b,
                sets,
                views.masks[b, player],
                player,
                policies[player],
                teams,
                policy_rng[b],
                scratch.candidates,
                scratch.lines,
            )


@inlined
def stand_still(b: int, outcome: Outcome) -> bool:
    """Return whether the game of board ``b`` has ended for all players; if so, set the results of the turn to zero."""
    players = outcome.active.shape[1]
    playing = False
    for player in range(players):
        playing = playing or outcome.active[b, player]
    if not playing:
        for player in range(players):
            outcome.rewards[b, player] = np.float32(0)
            outcome.terminated[b, player] = False
            outcome.truncated[b, player] = False
            outcome.illegal[b, player] = False
    return not playing


@inlined
def is_plain(terrain: npt.NDArray[np.int8]) -> bool:
    """Return whether all land of a board (H*W,) grows alike: it has no swamps and no deserts."""
    odd = 0
    for tile in range(terrain.shape[0]):
        odd |= (terrain[tile] == SWAMP) | (terrain[tile] == DESERT)
    return odd == 0


@inlined
def grow_touched(boards: Boards, b: int, sets: TileSets, touched: Tiles, lists_land: bool) -> bool:
    """Grow generals, cities and land as ``rules.turn.grow`` does, and list the tiles that grew.

    Returns:
        Whether armies on all land grew without being listed: only without ``lists_land``, and on plain land.
    """
    turn = boards.games[b]["turn"]
    width = boards.games[b]["width"]
    if turn % 2:
        return False
    land_grows = turn % LAND_TURNS == 0
    plain = True
    grow_generals(boards, b)
    for player in range(boards.players.shape[1]):
        home = np.int64(boards.players[b, player]["general"])
        if home >= 0:
            touch(touched, home)
    if land_grows:
        owner = boards.owner[b]
        army = boards.army[b]
        plain = is_plain(boards.terrain[b])
        if lists_land or not plain:
            for player in range(boards.players.shape[1]):
                for row in range(sets.land.shape[2]):  # tiles that changed hands in this turn are listed already
                    touch_row(touched, sets.land[b, player, row], row * width)
        for tile in range(owner.shape[0]):
            if plain:
                army[tile] += np.int32(owner[tile] >= 0)
            else:
                grow_tile(boards, b, tile, True)
    for k in range(sets.growing[b, 0]):
        tile = np.int64(sets.growing[b, k + 1])
        if boards.owner[b, tile] >= 0 or boards.games[b]["version"] < 6:
            if plain:
                grow_tile(boards, b, tile, False)
            touch(touched, tile)
    return land_grows and plain and not lists_land


@inlined
def play_board(
    boards: Boards,
    b: int,
    sets: TileSets,
    outcome: Outcome,
    scratch: Scratch,
    max_turns: int,
    lists_land: bool,
    castles: bool | None,
) -> tuple[bool, bool, bool, bool]:
    """Play the moves of one turn, list the tiles that it touches, and find whose game ends.

    Args:
        boards: The boards.
        b: Which of them.
        sets: TileSets of the boards.
        outcome: Actions of the turn, and its results.
        scratch: With the list of touched tiles.
        max_turns: Turn at which games are cut off.
        lists_land: See ``grow_touched``.
        castles: None without the rules of the competition, True with them.

    Returns:
        Whether a general or a life changed, so that any tile may differ; whether the game is cut off; whether it goes on for
        any player; whether all land grew without being listed, see ``grow_touched``.
    """
    players = boards.players.shape[1]
    touched = scratch.touched
    due = False
    for player in range(players):
        scratch.homes[player] = boards.players[b, player]["general"]
        scratch.lives[player] = boards.players[b, player]["alive"]
        due = due or boards.players[b, player]["surrendered"] >= 0
    touches, captures, captor = 0, 0, -1
    take_actions(boards, b, outcome.actions[b], scratch.start, scratch.end, scratch.half, outcome.illegal[b], castles)
    if due:
        if castles is None:
            neutralise_due(boards, b)
    for player in range(players):
        if scratch.start[player] >= 0:
            touch(touched, np.int64(scratch.start[player]))
            touch(touched, np.int64(scratch.end[player]))
    if castles is not None:
        touches, captures, captor = play_actions(boards, b, scratch.start, scratch.end, scratch.half)
        for player in range(players):
            if scratch.start[player] < 0 and scratch.end[player] >= 0:
                touch(touched, np.int64(scratch.end[player]))
                add_castle(boards, b, sets, np.int64(scratch.end[player]))
    else:
        apply_moves(boards, b, scratch.start, scratch.end, scratch.half, scratch.order)
    # An event that changes many tiles also changes a general or a life. A captured general becomes a city, which grows.
    rare = False
    for player in range(players):
        rare = rare or scratch.homes[player] != boards.players[b, player]["general"]
    if rare:
        index_growing_tiles(boards, b, sets)
    boards.games[b]["turn"] += 1
    grew = False
    if captor < 0:  # a captured general ends a game of the competition before growth
        grew = grow_touched(boards, b, sets, touched, lists_land)
    if castles is not None:
        decide_game(boards, b, touches, captures, captor)
    else:
        end_by_idling(boards, b)
    for player in range(players):
        alive = boards.players[b, player]["alive"]
        rare = rare or scratch.lives[player] != alive or (due and outcome.active[b, player] and not alive)
        scratch.result[player] = 0
        outcome.terminated[b, player] = False
    if rare:
        touch_all(touched, boards.owner.shape[1])
        judge_turn(boards, b, outcome.active[b], outcome.terminated[b], scratch.result)
    over = boards.games[b]["turn"] >= max_turns
    goes_on = False
    for player in range(players):
        plays = outcome.active[b, player] and not outcome.terminated[b, player]
        outcome.truncated[b, player] = over and plays
        goes_on = goes_on or (plays and not over)
    for player in range(players):
        scratch.shows[player] = outcome.active[b, player] and not (outcome.terminated[b, player] and goes_on)
    return rare, over, goes_on, grew


@subroutine
def count_changes(boards: Boards, b: int, sets: TileSets, tally: npt.NDArray[np.int64]) -> None:
    """Count land and armies, and write their changes into the tally (see ``rewards.weigh_tally``)."""
    players = boards.players.shape[1]
    for player in range(players):
        tally[player, 0] = -sets.scores[b, player, 0]
        tally[player, 1] = -sets.scores[b, player, 1]
    count_scores(boards, b, sets.scores[b])
    for player in range(players):
        tally[player, 0] += sets.scores[b, player, 0]
        tally[player, 1] += sets.scores[b, player, 1]
        tally[player, 2] = sets.scores[b, player, 1]


@subroutine
def clear(tally: npt.NDArray[np.int64]) -> None:
    """Set a tally to zero."""
    for player in range(tally.shape[0]):
        for k in range(tally.shape[1]):
            tally[player, k] = 0


@inlined
def follow_turn(
    boards: Boards,
    b: int,
    sets: TileSets,
    views: Observations,
    scratch: Scratch,
    teams: bool,
    sweeps: bool,
    counts_all: bool,
    shows: bool,
    late: bool,
    grew: bool,
    castles: bool | None,
) -> bool:
    """Bring sets, masks, tensors and scores up to date with the turn.

    Args:
        boards: The boards.
        b: Which of them.
        sets: TileSets of the boards.
        views: Observations of the boards.
        scratch: With the list of touched tiles, which is empty afterwards.
        teams: Whether some players are friends.
        sweeps: See ``follow_board``.
        counts_all: Whether land and armies are counted.
        shows: See ``follow_board``.
        late: See there.
        grew: See there.
        castles: See there.

    Returns:
        Whether a city or a general changed hands.
    """
    captured = follow_board(
        boards,
        b,
        sets,
        views,
        scratch.touched,
        scratch.row_of,
        scratch.changes,
        scratch.changed,
        scratch.homes,
        scratch.start,
        scratch.end,
        scratch.shows,
        teams,
        sweeps,
        shows,
        late,
        grew,
        castles,
        scratch.owner_codes,
        scratch.tally,
    )
    if counts_all:
        count_changes(boards, b, sets, scratch.tally)
    if shows and views.observations.shape[3] > SCOREBOARD:
        show_scores(boards, b, sets, views, scratch.shows)
    return captured


@inlined
def judge_board(
    boards: Boards,
    b: int,
    sets: TileSets,
    views: Observations,
    outcome: Outcome,
    scratch: Scratch,
    weights: npt.NDArray[np.float64],
    scored: bool,
    goes_on: bool,
    recording: Recording,
    records: bool,
    rare: bool,
    now: int,
) -> None:
    """Write the rewards of the turn, record it, count it, and deactivate players whose game ended.

    Args:
        boards: The boards.
        b: Which of them.
        sets: TileSets of the boards.
        views: Observations of the boards.
        outcome: Results of the turn.
        scratch: With the tally of the turn, which is zero afterwards.
        weights: (11,) float64, see ``rewards.WEIGHTS``.
        scored: Whether the tally or the result may differ from zero.
        goes_on: Whether the game goes on for any player.
        recording: Recording to write the turn to.
        records: Whether to write it.
        rare: See ``play_board``.
        now: Time of the turn, nanoseconds UTC.
    """
    players = boards.players.shape[1]
    if scored:
        weigh_tally(boards.players[b], scratch.tally, outcome.active[b], scratch.result, weights, outcome.rewards[b])
        clear(scratch.tally)
    else:
        for player in range(players):
            outcome.rewards[b, player] = np.float32(0)
    if records:
        record_board(
            recording,
            boards,
            b,
            b,
            outcome.actions[b],
            outcome.active[b],
            outcome.illegal[b],
            outcome.rewards[b],
            outcome.terminated[b],
            outcome.truncated[b],
            not rare,
            ALL_PLAYERS,
            now,
        )
    outcome.counts[b, TURNS] += 1
    for player in range(players):
        if outcome.illegal[b, player]:
            outcome.counts[b, ILLEGAL] += 1
            outcome.illegal_count[b, player] += 1
        if outcome.terminated[b, player] and goes_on:
            blank_view(sets, views, b, player)
        ended = outcome.terminated[b, player] or outcome.truncated[b, player]
        outcome.active[b, player] = outcome.active[b, player] and not ended


@subroutine
def end_game(b: int, outcome: Outcome, result: npt.NDArray[np.int8], over: bool) -> None:
    """Count a game that ended."""
    counts = outcome.counts[b]
    counts[GAMES] += 1
    won = False
    for player in range(result.shape[0]):
        if result[player] > 0:
            counts[WINS + player] += 1
            won = True
    if not won:
        counts[TRUNCATED if over else DRAWS] += 1
