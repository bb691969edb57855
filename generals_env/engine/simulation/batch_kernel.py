"""Plays turns of many games: the kernel that one thread runs over its share of the boards."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.bitboards import Rows
from generals_env.engine.boards import Boards
from generals_env.engine.jit import inlined, kernel, subroutine
from generals_env.engine.observations.incremental import (
    Observations,
    TileSets,
    blank_view,
    enter_board,
    follow_board,
    list_growing,
    mark,
    mark_all,
    mark_row,
    show_scores,
    team_visibility,
)
from generals_env.engine.observations.reference import SCOREBOARD, count_scores
from generals_env.engine.packed.packing import PackedBoards
from generals_env.engine.packed.recording import ALL_PLAYERS, Recording, begin_game, record_board
from generals_env.engine.policies.bitboard import GIVEN, choose_action
from generals_env.engine.rules.map_generator import draw_map
from generals_env.engine.rules.moves import take_actions
from generals_env.engine.rules.rewards import counts_armies, judge_turn, weigh_tally
from generals_env.engine.rules.turn import LAND_TURNS, apply_moves, end_by_idling, grow_generals, grow_tile, neutralise_due
from generals_env.engine.simulation.batch_prefetch import prefetch_turn

__all__ = [
    "Outcome",
    "run_boards",
]


AHEAD = 2  # boards between asking for memory and using it


# Columns of ``Outcome.counts``; behind them, one for each player's wins.
TURNS, GAMES, DRAWS, TRUNCATED, ILLEGAL, WINS = range(6)


class Outcome(NamedTuple):
    """What a turn brought the players of B games.

    Attributes:
        actions: (B, P) int64, in and out: indices within range; those that are not legal are replaced by the pass.
        active: (B, P) bool, whose game has not ended.
        illegal: (B, P) bool, whose action was not legal.
        illegal_count: (B, P) int64, illegal actions in this game.
        rewards: (B, P) float32.
        terminated: (B, P) bool, whose game ended with this turn.
        truncated: (B, P) bool, whose game was cut off after it.
        counts: (B, 5 + P) int64, sums over what was played: turns, games, draws, truncated games, illegal actions, and wins
            of each player.
    """

    actions: npt.NDArray[np.int64]
    active: npt.NDArray[np.bool_]
    illegal: npt.NDArray[np.bool_]
    illegal_count: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]


class Scratch(NamedTuple):
    """Room for one board's turn, one a thread: an allocation in a kernel costs as much as a move."""

    start: npt.NDArray[np.int32]  # (P,)
    end: npt.NDArray[np.int32]  # (P,)
    half: npt.NDArray[np.int32]  # (P,)
    order: npt.NDArray[np.int32]  # (P,)
    homes: npt.NDArray[np.int64]  # (P,) generals before the turn
    lives: npt.NDArray[np.bool_]  # (P,) who was alive before it
    shows: npt.NDArray[np.bool_]  # (P,) whose tensors are kept
    result: npt.NDArray[np.int8]  # (P,)
    tally: npt.NDArray[np.int64]  # (P, 7)
    changed: npt.NDArray[np.uint64]  # (P,)
    dirty: npt.NDArray[np.uint64]  # (H + 1,)
    changes: npt.NDArray[np.uint64]  # (H,)
    candidates: npt.NDArray[np.int32]  # (4*H*W,)
    lines: npt.NDArray[np.uint64]  # (4, H + 2)
    looks: npt.NDArray[np.int64]  # (P, P + 6)
    row_of: npt.NDArray[np.int16]  # (H*W,) row of each tile
    seats: npt.NDArray[np.int64]  # (P,)
    distance: npt.NDArray[np.int32]  # (P + 3, H*W)


@inlined
def grow_marked(boards: Boards, b: int, sets: TileSets, dirty: Rows, row_of: npt.NDArray[np.int16]) -> None:
    """Do what ``rules.grow`` does, and mark what grew."""
    turn = boards.games[b]["turn"]
    width = boards.games[b]["width"]
    if turn % 2:
        return
    land_grows = turn % LAND_TURNS == 0
    grow_generals(boards, b)
    for player in range(boards.players.shape[1]):
        home = np.int64(boards.players[b, player]["general"])
        if home >= 0:
            mark(dirty, home, width, row_of)
        if land_grows:  # what changed hands in this turn is marked already
            for row in range(sets.land.shape[2]):
                mark_row(dirty, row, sets.land[b, player, row])
    if land_grows:
        for tile in range(boards.owner.shape[1]):
            grow_tile(boards, b, tile, True)
    for k in range(sets.growing[b, 0]):
        tile = np.int64(sets.growing[b, k + 1])
        if boards.owner[b, tile] >= 0 or boards.games[b]["version"] < 6:
            if not land_grows:
                grow_tile(boards, b, tile, False)
            mark(dirty, tile, width, row_of)


@inlined
def move_board(
    boards: Boards, b: int, sets: TileSets, outcome: Outcome, scratch: Scratch, max_turns: int
) -> tuple[bool, bool, bool]:
    """Play one turn of a board, marking what it touches, and judge it.

    Returns:
        Whether something rare happened, whether the game is cut off, and whether it goes on for anybody.
    """
    players = boards.players.shape[1]
    width = boards.games[b]["width"]
    dirty = scratch.dirty
    due = False
    for player in range(players):
        scratch.homes[player] = boards.players[b, player]["general"]
        scratch.lives[player] = boards.players[b, player]["alive"]
        due = due or boards.players[b, player]["surrendered"] >= 0
    take_actions(boards, b, outcome.actions[b], scratch.start, scratch.end, scratch.half, outcome.illegal[b])
    if due:
        neutralise_due(boards, b)
    for player in range(players):
        if scratch.start[player] >= 0:
            mark(dirty, np.int64(scratch.start[player]), width, scratch.row_of)
            mark(dirty, np.int64(scratch.end[player]), width, scratch.row_of)
    apply_moves(boards, b, scratch.start, scratch.end, scratch.half, scratch.order)
    # Whatever is rare and may change many tiles shows in a general or a life. A captured general is a city, and grows.
    rare = False
    for player in range(players):
        rare = rare or scratch.homes[player] != boards.players[b, player]["general"]
    if rare:
        list_growing(boards, b, sets)
    boards.games[b]["turn"] += 1
    grow_marked(boards, b, sets, dirty, scratch.row_of)
    end_by_idling(boards, b)
    for player in range(players):
        rare = rare or scratch.lives[player] != boards.players[b, player]["alive"]
        scratch.result[player] = 0
        outcome.terminated[b, player] = False
    if rare:
        mark_all(dirty, width)
        judge_turn(boards, b, outcome.active[b], outcome.terminated[b], scratch.result)
    over = boards.games[b]["turn"] >= max_turns
    goes_on = False
    for player in range(players):
        plays = outcome.active[b, player] and not outcome.terminated[b, player]
        outcome.truncated[b, player] = over and plays
        goes_on = goes_on or (plays and not over)
    for player in range(players):
        scratch.shows[player] = outcome.active[b, player] and not (outcome.terminated[b, player] and goes_on)
    return rare, over, goes_on


@subroutine
def count_changes(boards: Boards, b: int, sets: TileSets, tally: npt.NDArray[np.int64]) -> None:
    """Count land and armies, and write how they changed into the tally (see ``rewards.weigh_tally``)."""
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


@subroutine
def begin_board(
    boards: Boards,
    b: int,
    sets: TileSets,
    views: Observations,
    outcome: Outcome,
    scratch: Scratch,
    template: Boards,
    rng: npt.NDArray[np.uint64],
    sizes: npt.NDArray[np.int64],
    densities: npt.NDArray[np.float64],
) -> bool:
    """Begin a new game on board ``b``; return False if no fair map was found."""
    if template.owner.shape[0] == 0:
        if not draw_map(boards, b, rng, sizes, densities, scratch.seats, scratch.distance, scratch.lines):
            return False
    else:
        which = b % template.owner.shape[0]
        for tile in range(boards.owner.shape[1]):
            boards.owner[b, tile] = template.owner[which, tile]
            boards.army[b, tile] = template.army[which, tile]
            boards.terrain[b, tile] = template.terrain[which, tile]
        for player in range(boards.players.shape[1]):
            boards.players[b, player] = template.players[which, player]
        boards.games[b] = template.games[which]
    for player in range(boards.players.shape[1]):
        scratch.shows[player] = True
        outcome.active[b, player] = True
        outcome.illegal[b, player] = False
        outcome.illegal_count[b, player] = 0
    enter_board(boards, b, sets, views, scratch.dirty, scratch.homes)
    return True


@inlined
def run_board(
    boards: Boards,
    b: int,
    sets: TileSets,
    views: Observations,
    outcome: Outcome,
    scratch: Scratch,
    template: Boards,
    rng: npt.NDArray[np.uint64],
    policy_rng: npt.NDArray[np.uint64],
    policies: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    densities: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    begins: bool,
    turns: int,
    max_turns: int,
    restarts: bool,
    teams: bool,
    recording: Recording,
    records: bool,
    now: int,
) -> bool:
    """Do to one board what ``run_boards`` says; return False if no fair map was found."""
    players = boards.players.shape[1]
    full = views.observations.shape[2] > SCOREBOARD
    counts_all = full or counts_armies(weights)
    tally = scratch.tally
    turn = 0
    while True:
        rare, over, goes_on = False, False, True
        if begins:
            if not begin_board(boards, b, sets, views, outcome, scratch, template, rng, sizes, densities):
                return False
        else:
            if turn < turns or turns == 0:
                for player in range(players):
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
            if turn >= turns:
                return True
            turn += 1
            playing = False
            for player in range(players):
                playing = playing or outcome.active[b, player]
            if not playing:
                for player in range(players):
                    outcome.rewards[b, player] = np.float32(0)
                    outcome.terminated[b, player] = False
                    outcome.truncated[b, player] = False
                    outcome.illegal[b, player] = False
                return True
            if records and recording.present[b] < 0:
                begin_game(recording, boards, b, b)
            rare, over, goes_on = move_board(boards, b, sets, outcome, scratch, max_turns)
        captured = follow_board(
            boards,
            b,
            sets,
            views,
            scratch.dirty,
            scratch.changes,
            scratch.changed,
            scratch.homes,
            scratch.shows,
            teams,
            begins or rare,
            scratch.looks,
            tally,
        )
        if counts_all:
            count_changes(boards, b, sets, tally)
        if full:
            show_scores(boards, b, sets, views, scratch.shows)
        counted = rare or captured or counts_all
        if begins:
            begins = False
            clear(tally)
            continue
        if counted:
            weigh_tally(boards.players[b], tally, outcome.active[b], scratch.result, weights, outcome.rewards[b])
            clear(tally)
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
        if not goes_on:
            end_game(b, outcome, scratch.result, over)
            if not restarts:
                return True
            begins = True


@kernel
def run_boards(
    owner: npt.NDArray[np.int8],
    army: npt.NDArray[np.int32],
    terrain: npt.NDArray[np.int8],
    board_players: npt.NDArray[np.void],
    board_games: npt.NDArray[np.void],
    land: npt.NDArray[np.uint64],
    movable: npt.NDArray[np.uint64],
    seen: npt.NDArray[np.uint64],
    built: npt.NDArray[np.uint64],
    ground: npt.NDArray[np.uint64],
    exits: npt.NDArray[np.uint8],
    growing: npt.NDArray[np.int16],
    scores: npt.NDArray[np.int64],
    observations: npt.NDArray[np.float32],
    masks: npt.NDArray[np.int8],
    shown: npt.NDArray[np.uint8],
    actions: npt.NDArray[np.int64],
    active: npt.NDArray[np.bool_],
    illegal: npt.NDArray[np.bool_],
    illegal_count: npt.NDArray[np.int64],
    rewards: npt.NDArray[np.float32],
    terminated: npt.NDArray[np.bool_],
    truncated: npt.NDArray[np.bool_],
    counts: npt.NDArray[np.int64],
    template_owner: npt.NDArray[np.int8],
    template_army: npt.NDArray[np.int32],
    template_terrain: npt.NDArray[np.int8],
    template_players: npt.NDArray[np.void],
    template_games: npt.NDArray[np.void],
    packed_tiles: npt.NDArray[np.int16],
    packed_entries: npt.NDArray[np.void],
    packed_terrain: npt.NDArray[np.int8],
    packed_players: npt.NDArray[np.void],
    packed_games: npt.NDArray[np.void],
    packed_armies: npt.NDArray[np.int32],
    packed_memory: npt.NDArray[np.uint16],
    experiences: npt.NDArray[np.void],
    recorded: npt.NDArray[np.int64],
    present: npt.NDArray[np.int32],
    current: npt.NDArray[np.int32],
    places: npt.NDArray[np.int32],
    rng: npt.NDArray[np.uint64],
    policy_rng: npt.NDArray[np.uint64],
    policies: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    densities: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    fresh: npt.NDArray[np.bool_],
    low: int,
    high: int,
    turns: int,
    max_turns: int,
    restarts: bool,
    teams: bool,
    records: bool,
    now: int,
) -> int:
    """Do all that can be done to boards ``low`` to ``high``: begin games, choose actions, play turns, write them down.

    The fields of ``Boards``, ``TileSets``, ``Observations``, ``Outcome``, ``Boards`` to begin with and ``Recording`` come one
    by one, in this order: numba takes a NamedTuple in twice as slowly. Of the boards to begin with game b takes board b modulo
    their number; there are none for random maps. A recording that is not written to is an empty one.

    One kernel, since each further one would compile all that lies below it once more. A board plays all its turns before
    the next one begins: what it needs stays in the cache.

    Args:
        owner: (B, H*W) int8, the first of these fields.
        army: And so on.
        terrain: See ``Boards``.
        board_players: See there.
        board_games: See there.
        land: See ``TileSets``.
        movable: See there.
        seen: See there.
        built: See there.
        ground: See there.
        exits: See there.
        growing: See there.
        scores: See there.
        observations: See ``Observations``.
        masks: See there.
        shown: See there.
        actions: See ``Outcome``.
        active: See there.
        illegal: See there.
        illegal_count: See there.
        rewards: See there.
        terminated: See there.
        truncated: See there.
        counts: See there.
        template_owner: See ``Boards``.
        template_army: See there.
        template_terrain: See there.
        template_players: See there.
        template_games: See there.
        packed_tiles: See ``PackedBoards``.
        packed_entries: See there.
        packed_terrain: See there.
        packed_players: See there.
        packed_games: See there.
        packed_armies: See there.
        packed_memory: See there.
        experiences: See ``Recording``.
        recorded: Its counts.
        present: See there.
        current: See there.
        places: See there.
        rng: (B,) uint64, generators of maps.
        policy_rng: (B, P) uint64, generators of policies.
        policies: (P,) int64, codes; ``GIVEN`` for those whose actions stand in ``outcome``.
        sizes: (4,) int64, see ``generate_map``.
        densities: (3,) float64, see there.
        weights: (11,) float64, see ``rewards.WEIGHTS``.
        fresh: (B,) bool, which games to begin anew before anything else.
        low: First board.
        high: First board not to be played.
        turns: How many turns to play; with 0, policies still choose their actions.
        max_turns: Turn at which games are cut off.
        restarts: Whether a game that ends is followed by a new one at once.
        teams: Whether some players are friends.
        records: Whether turns are written down in the recording.
        now: What they are dated, nanoseconds UTC.

    Returns:
        -1, or the first board for which no fair map was found; nothing was done after that.
    """
    boards = Boards(owner, army, terrain, board_players, board_games)
    sets = TileSets(land, movable, seen, built, ground, exits, growing, scores)
    views = Observations(observations, masks, shown)
    outcome = Outcome(actions, active, illegal, illegal_count, rewards, terminated, truncated, counts)
    template = Boards(template_owner, template_army, template_terrain, template_players, template_games)
    packed = PackedBoards(
        packed_tiles, packed_entries, packed_terrain, packed_players, packed_games, packed_armies, packed_memory
    )
    recording = Recording(packed, experiences, recorded, present, current, places)
    players = boards.players.shape[1]
    tiles = boards.owner.shape[1]
    height = sets.built.shape[1]
    scratch = Scratch(
        np.zeros(players, np.int32),
        np.zeros(players, np.int32),
        np.zeros(players, np.int32),
        np.zeros(players, np.int32),
        np.zeros(players, np.int64),
        np.zeros(players, np.bool_),
        np.zeros(players, np.bool_),
        np.zeros(players, np.int8),
        np.zeros((players, 7), np.int64),
        np.zeros(players, np.uint64),
        np.zeros(height + 1, np.uint64),
        np.zeros(height, np.uint64),
        np.zeros(4 * tiles, np.int32),
        np.zeros((4, height + 2), np.uint64),
        np.zeros((players, players + 6), np.int64),
        np.zeros(tiles, np.int16),
        np.zeros(players, np.int64),
        np.zeros((players + 3, tiles), np.int32),
    )
    for tile in range(tiles):
        scratch.row_of[tile] = tile // (tiles // height)
    team_visibility(boards, 0, scratch.looks)
    given = True
    for player in range(players):
        given = given and policies[player] == GIVEN
    for b in range(low, high):
        if given and turns == 1 and b + AHEAD < high:
            prefetch_turn(boards, b + AHEAD, sets, views, outcome.actions)
        if not run_board(
            boards,
            b,
            sets,
            views,
            outcome,
            scratch,
            template,
            rng,
            policy_rng,
            policies,
            sizes,
            densities,
            weights,
            fresh[b],
            turns,
            max_turns,
            restarts,
            teams,
            recording,
            records,
            now,
        ):
            return b
    return -1
