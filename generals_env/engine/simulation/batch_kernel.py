"""Plays turns of many games: ``run_boards``, the kernel that each thread runs over its share of the boards."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.fixed_shape import with_players
from generals_env.engine.jit import inlined, kernel
from generals_env.engine.observations.incremental import Observations
from generals_env.engine.observations.reference import SCOREBOARD
from generals_env.engine.observations.tile_codes import team_visibility
from generals_env.engine.observations.tile_sets import TileSets
from generals_env.engine.packed.packing import PackedBoards
from generals_env.engine.packed.recording import Recording, begin_game
from generals_env.engine.policies.codes import GIVEN
from generals_env.engine.rules.rewards import counts_armies
from generals_env.engine.simulation.batch_prefetch import prefetch_turn
from generals_env.engine.simulation.board_phases import (
    Scratch,
    begin_board,
    choose_actions,
    clear,
    end_game,
    follow_turn,
    judge_board,
    play_board,
    stand_still,
)
from generals_env.engine.simulation.turn_outcome import Outcome

__all__ = ["run_boards"]


AHEAD = 2  # boards between asking for memory and using it

#: Turns of a board played in one call from which on its tensors and masks are written only after the last of them: that costs
#: as much as to keep them up to date for a dozen turns.
LATE_TURNS = 32


@inlined
def run_board(
    boards: Boards,
    b: int,
    sets: TileSets,
    views: Observations,
    outcome: Outcome,
    scratch: Scratch,
    template: Boards,
    chosen: int,
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
    counts_all: bool,
    blind: bool,
    castles: bool | None,
) -> bool:
    """Begin a game on one board if asked, choose actions, and play turns; return False if no fair map was found."""
    late = blind or turns >= LATE_TURNS
    turn = 0
    while True:
        rare, over, goes_on, grew = False, False, True, False
        if begins:
            if not begin_board(boards, b, sets, views, outcome, scratch, template, chosen, rng, sizes, densities, castles):
                return False
        else:
            if turn < turns or turns == 0:
                choose_actions(boards, b, sets, views, outcome, scratch, policies, policy_rng, teams)
            if turn >= turns:
                return True
            turn += 1
            if stand_still(b, outcome):
                return True
            if records and recording.present[b] < 0:
                begin_game(recording, boards, b, b)
            rare, over, goes_on, grew = play_board(boards, b, sets, outcome, scratch, max_turns, teams, castles)
        shows = not blind and (not late or turn >= turns)
        captured = follow_turn(boards, b, sets, views, scratch, teams, begins or rare, counts_all, shows, late, grew, castles)
        if begins:
            begins = False
            clear(scratch.tally)
            continue
        scored = rare or captured or counts_all
        judge_board(boards, b, sets, views, outcome, scratch, weights, scored, goes_on, recording, records, rare, now)
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
    passable: npt.NDArray[np.uint64],
    exits: npt.NDArray[np.uint8],
    growing: npt.NDArray[np.int16],
    scores: npt.NDArray[np.int64],
    observations: npt.NDArray[Any],
    masks: npt.NDArray[np.int8],
    tile_codes: npt.NDArray[np.uint8],
    actions: npt.NDArray[np.int64],
    active: npt.NDArray[np.bool_],
    illegal: npt.NDArray[np.bool_],
    illegal_count: npt.NDArray[np.int64],
    rewards: npt.NDArray[np.float32],
    terminated: npt.NDArray[np.bool_],
    truncated: npt.NDArray[np.bool_],
    counts: npt.NDArray[np.int64],
    begun: npt.NDArray[np.int64],
    template_owner: npt.NDArray[np.int8],
    template_army: npt.NDArray[np.int32],
    template_terrain: npt.NDArray[np.int8],
    template_players: npt.NDArray[np.void],
    template_games: npt.NDArray[np.void],
    chosen: npt.NDArray[np.int64],
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
    blind: bool,
    now: int,
    seats: tuple[int, ...],
    castles: bool | None,
) -> int:
    """Begin games, choose actions, play turns and record them on boards ``low`` to ``high``.

    The fields of ``Boards``, ``TileSets``, ``Observations``, ``Outcome``, the template ``Boards`` and ``Recording`` are passed
    one by one, in this order: numba takes twice as long to unpack a NamedTuple. A game begins with a template board, which
    ``chosen`` names or its own generator draws; random maps have no template. Pass an empty recording if ``records`` is False.

    It is one kernel because each further kernel would compile the functions below it again. A board plays all its turns
    before the next board begins, so its data stays in the cache.

    Args:
        owner: (B, H*W) int8, see ``Boards``.
        army: See ``Boards``.
        terrain: See ``Boards``.
        board_players: See there.
        board_games: See there.
        land: See ``TileSets``.
        movable: See there.
        seen: See there.
        built: See there.
        passable: See there.
        exits: See there.
        growing: See there.
        scores: See there.
        observations: See ``Observations``.
        masks: See there.
        tile_codes: See there.
        actions: See ``Outcome``.
        active: See there.
        illegal: See there.
        illegal_count: See there.
        rewards: See there.
        terminated: See there.
        truncated: See there.
        counts: See there.
        begun: See there.
        template_owner: See ``Boards``.
        template_army: See there.
        template_terrain: See there.
        template_players: See there.
        template_games: See there.
        chosen: (B,) int64, the template board with which each game begins, and ``active`` then says for whom it has not ended;
            -1: drawn by the generator of the game, which has not ended for teams with a living player.
        packed_tiles: See ``PackedBoards``.
        packed_entries: See there.
        packed_terrain: See there.
        packed_players: See there.
        packed_games: See there.
        packed_armies: See there.
        packed_memory: See there.
        experiences: See ``Recording``.
        recorded: See ``Recording.counts``.
        present: See there.
        current: See there.
        places: See there.
        rng: (B,) uint64, generators of maps.
        policy_rng: (B, P) uint64, generators of policies.
        policies: (P,) int64, codes; ``GIVEN`` for players whose actions are in ``outcome``.
        sizes: (6,) int64, see ``generate_map``.
        densities: (3,) float64, see there.
        weights: (11,) float64, see ``rewards.WEIGHTS``.
        fresh: (B,) bool, True for boards that begin a new game first.
        low: First board.
        high: One more than the last board.
        turns: Number of turns to play; with 0, policies still choose their actions.
        max_turns: Turn at which games are cut off.
        restarts: Whether a new game begins as soon as one ends.
        teams: Whether some players are friends.
        records: Whether to write turns to the recording.
        blind: Whether to leave tensors and masks as they are. They show nothing of these boards until a call that is not blind
            begins games, or plays ``LATE_TURNS`` turns or more.
        now: Time of the turns, nanoseconds UTC.
        seats: A number for each player if the kernel is to be compiled for this number of players, otherwise empty.
        castles: None without the rules of the competition, True with them: each kind of rules has a kernel of its own.

    Returns:
        -1, or the first board for which no fair map was found; no board after it was played.
    """
    board_players = with_players(board_players, seats)
    land = with_players(land, seats)
    movable = with_players(movable, seats)
    seen = with_players(seen, seats)
    scores = with_players(scores, seats)
    observations = with_players(observations, seats)
    masks = with_players(masks, seats)
    tile_codes = with_players(tile_codes, seats)
    actions = with_players(actions, seats)
    active = with_players(active, seats)
    illegal = with_players(illegal, seats)
    illegal_count = with_players(illegal_count, seats)
    rewards = with_players(rewards, seats)
    terminated = with_players(terminated, seats)
    truncated = with_players(truncated, seats)
    template_players = with_players(template_players, seats)
    policy_rng = with_players(policy_rng, seats)
    boards = Boards(owner, army, terrain, board_players, board_games)
    sets = TileSets(land, movable, seen, built, passable, exits, growing, scores)
    views = Observations(observations, masks, tile_codes)
    outcome = Outcome(actions, active, illegal, illegal_count, rewards, terminated, truncated, counts, begun)
    template = Boards(template_owner, template_army, template_terrain, template_players, template_games)
    packed = PackedBoards(
        packed_tiles, packed_entries, packed_terrain, packed_players, packed_games, packed_armies, packed_memory
    )
    recording = Recording(packed, experiences, recorded, present, current, places)
    players = boards.players.shape[1]
    tiles = boards.owner.shape[1]
    height = sets.built.shape[1]
    # Rows of two-dimensional arrays: numba compiles ``np.zeros`` anew for each dtype and number of dimensions.
    moves = np.zeros((4, players), np.int32)
    flags = np.zeros((3, players), np.int8)
    tiles_of = np.zeros((2, players), np.int64)
    scratch = Scratch(
        start=moves[0],
        end=moves[1],
        half=moves[2],
        order=moves[3],
        homes=tiles_of[0],
        lives=flags[0],
        shows=flags[1],
        result=flags[2],
        tally=np.zeros((players, 7), np.int64),
        changed=np.zeros((1, players), np.uint64)[0],
        touched=np.zeros((1, 2 * tiles + 3 * players + 1), np.int32)[0],
        changes=np.zeros((1, height), np.uint64)[0],
        candidates=np.zeros((1, 4 * tiles), np.int32)[0],
        lines=np.zeros((4, height + 2), np.uint64),
        owner_codes=np.zeros((players, players + 6), np.int64),
        row_of=np.zeros((1, tiles), np.int32)[0],
        seats=tiles_of[1],
        distance=np.zeros((players + 3, tiles), np.int32),
    )
    for row in range(height):
        for tile in range(row * (tiles // height), (row + 1) * (tiles // height)):
            scratch.row_of[tile] = row
    team_visibility(boards, 0, scratch.owner_codes)
    counts_all = views.observations.shape[3] > SCOREBOARD or counts_armies(weights)
    given = True
    for player in range(players):
        given = given and policies[player] == GIVEN
    for b in range(low, high):
        if given and turns == 1 and b + AHEAD < high:
            prefetch_turn(boards, b + AHEAD, sets, views, outcome.actions, castles)
        if not run_board(
            boards,
            b,
            sets,
            views,
            outcome,
            scratch,
            template,
            chosen[b],
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
            counts_all,
            blind,
            castles,
        ):
            return b
    return -1
