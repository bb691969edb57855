"""Tests the planner's search: what it finds, what it costs, what it must not depend on, and its playouts against naive ones."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from generals_env.board_text import parse_board
from generals_env.engine.boards import CITY, COMPETITION_VERSION, GENERAL, PLAIN, TOUCH_SHIFT, Boards, copy_boards
from generals_env.engine.observations.tile_codes import FOG
from generals_env.engine.planner.evaluation import HASTE, WEIGHTS
from generals_env.engine.planner.planner import Planner, Settings
from generals_env.engine.planner.playouts import Lines
from generals_env.engine.planner.sight import Sight, sight_of
from generals_env.engine.policies.codes import EXPANDER
from generals_env.engine.rules.turn import advance
from generals_env.engine.simulation.batch import Batch

MAP = """
. . . . . . . .
. A . . # . . .
. . . . . . . .
. . # . . . # .
. . . . . . . .
. . . . . . B .
. . . . . . . .
. . . . . . . .
"""
PASS = 8 * 64
SMALL = Settings(playouts=60, turns=12, particles=6, opening=0)


def entered(boards: Boards) -> Batch:
    """Return a batch of copies of the boards on which games go on."""
    batch = Batch(copy_boards(boards), np.zeros(11), 10**6, np.zeros(6, np.int64), np.zeros(3))
    every = np.ones(len(boards.owner), np.bool_)
    batch.seed(np.arange(len(every)).astype(np.uint64), every)
    batch.load(boards)
    return batch


def position(turn: int, *holdings: tuple[int, int, int, int], rules: str = "live") -> Boards:
    """Return the map at a turn, with holdings (row, column, player, army)."""
    boards = parse_board(MAP)
    boards.games["turn"] = boards.games["last_move"] = turn
    if rules == "competition":
        boards.games["version"] = COMPETITION_VERSION
        boards.games["modifiers"] = 800 << TOUCH_SHIFT
    for row, column, player, army in holdings:
        boards.owner[0, 8 * row + column] = player
        boards.army[0, 8 * row + column] = army
    return boards


def sight(boards: Boards, player: int = 0) -> Sight:
    """Return what a player sees of the board."""
    return sight_of(boards, entered(boards).views.tile_codes[0, player], 0, player)


def choice(boards: Boards, settings: Settings = SMALL, seed: int = 1, base: int = PASS, player: int = 0) -> int:
    """Return the action of a new planner."""
    return Planner(settings, seed).choose(Lines(boards, 16, EXPANDER), sight(boards, player), base)


def move(row: int, column: int, direction: int) -> int:
    """Return the index of a move of all but one: up, down, left, right."""
    return 4 * (8 * row + column) + direction


@pytest.mark.parametrize("rules", ["live", "competition"])
def test_planner_takes_the_general_next_to_its_army(rules: str) -> None:
    boards = position(101, (5, 5, 0, 20), (4, 5, 0, 2), (5, 6, 1, 9), (1, 1, 0, 5), rules=rules)
    assert choice(boards) == move(5, 5, 3)


@pytest.mark.parametrize("rules", ["live", "competition"])
def test_planner_saves_its_general_from_the_army_beside_it(rules: str) -> None:
    holdings = [(1, 1, 0, 3), (1, 2, 1, 9), (1, 3, 0, 30), (2, 1, 0, 20), (5, 6, 1, 40), (5, 5, 1, 3)]
    boards = position(101, *holdings, rules=rules)
    saved = choice(boards)
    assert saved in (move(1, 3, 2), move(2, 1, 0))
    batch = entered(boards)
    for action, survives in ((saved, True), (PASS, False)):
        after = copy_boards(boards)
        actions = np.array([action, move(1, 2, 2)])
        advance(after, 0, actions, np.zeros(2, np.bool_))
        assert after.players["alive"][0, 0] == survives
    batch.close()


def test_planner_plays_its_policy_where_it_does_not_search() -> None:
    boards = position(20, (1, 2, 0, 5))
    assert choice(boards, Settings(playouts=60, opening=50), base=move(1, 2, 3)) == move(1, 2, 3)


def test_planner_chooses_alike_with_the_same_seed() -> None:
    boards = position(101, (3, 4, 0, 14), (3, 3, 0, 3), (3, 5, 1, 6), (4, 5, 1, 4), (1, 1, 0, 9), (5, 6, 1, 12))
    assert len({choice(boards, seed=5) for _ in range(3)}) == 1


@pytest.mark.parametrize("playouts", [1, 25, 60, 133])
def test_planner_keeps_its_budget_of_playouts(playouts: int) -> None:
    boards = position(101, (3, 4, 0, 14), (3, 5, 1, 6), (1, 1, 0, 9), (5, 6, 1, 12))
    planner = Planner(Settings(playouts=playouts, turns=4, particles=24, opening=0), 1)
    planner.choose(Lines(boards, 16, EXPANDER), sight(boards), PASS)
    assert planner.played <= playouts
    assert playouts < 60 or planner.played > playouts // 2


def test_planner_reads_nothing_that_its_seat_cannot_see() -> None:
    holdings = [(3, 4, 0, 14), (3, 3, 0, 3), (3, 5, 1, 6), (1, 1, 0, 9)]
    boards = position(101, *holdings, (5, 6, 1, 12), (7, 7, 1, 5), (6, 2, 1, 1))
    hidden = position(101, *holdings, (5, 6, 1, 1), (7, 0, 1, 8), (7, 5, 1, 1))
    home, moved = 8 * 5 + 6, 8 * 7 + 6
    hidden.terrain[0, [home, moved]] = PLAIN, GENERAL
    hidden.owner[0, moved], hidden.army[0, moved] = 1, 9
    hidden.owner[0, home], hidden.army[0, home] = -1, 0
    hidden.players["general"][0, 1] = moved
    for field in ("codes", "owner", "army", "land", "armies"):
        seen = [np.asarray(getattr(sight(one), field)) for one in (boards, hidden)]
        assert (seen[0] == seen[1]).all(), field
    assert (sight(boards).codes[[home, moved]] == FOG).all()
    for seed in range(4):
        assert choice(boards, seed=seed) == choice(hidden, seed=seed)


def naive_value(boards: Boards, plan: npt.NDArray[np.int64], player: int, turns: int, state: int) -> float:
    """Play one line turn by turn, on one board, and value its end."""
    batch = Batch(copy_boards(boards), np.zeros(11), 10**6, np.zeros(6, np.int64), np.zeros(3))
    every = np.ones(1, np.bool_)
    batch.seed(np.array([state], np.uint64), every)
    batch.load(boards)
    follows = True
    for turn in range(turns):
        if not batch.boards.players["alive"][0].all():
            break
        batch.act(np.full(2, EXPANDER, np.int64))
        if turn < len(plan):
            tile = int(plan[turn]) % 256 // 4
            able = batch.boards.owner[0, tile] == player and batch.boards.army[0, tile] > 1
            follows = follows and plan[turn] >= 0 and (plan[turn] == PASS or bool(able))
            if follows:
                batch.outcome.actions[0, player] = plan[turn]
        batch.step()
    alive = batch.boards.players["alive"][0]
    if not alive.all():
        waits = HASTE * int(batch.boards.games[0]["turn"] - boards.games[0]["turn"])
        return 1 - waits if alive[player] else waits
    sums = np.zeros((2, 3))
    for tile in range(64):
        holder = int(batch.boards.owner[0, tile])
        if holder >= 0:
            city = batch.boards.terrain[0, tile] == CITY
            sums[holder ^ player] += (batch.boards.army[0, tile], 1, city)
    logs = [math.log((sums[0, k] + offset) / (sums[1, k] + offset)) for k, offset in ((0, 5.0), (1, 3.0))]
    odds = WEIGHTS[0] * logs[0] + WEIGHTS[1] * logs[1] + WEIGHTS[2] * (sums[0, 2] - sums[1, 2])
    return 1 / (1 + math.exp(-odds))


def test_playouts_agree_with_lines_played_one_by_one() -> None:
    parts = [
        position(101, (3, 4, 0, 14), (3, 5, 1, 6), (1, 1, 0, 9), (5, 6, 1, 12)),
        position(101, (5, 5, 0, 20), (4, 5, 0, 2), (5, 6, 1, 9), (1, 1, 0, 5)),
        position(101, (1, 1, 0, 3), (1, 2, 1, 9), (1, 3, 0, 30), (5, 6, 1, 40)),
    ]
    boards = Boards._make(np.concatenate(fields) for fields in zip(*parts, strict=True))
    plans = np.full((4, 3), -1)
    plans[1] = move(5, 5, 3), PASS, move(3, 4, 0)
    plans[2] = PASS, move(3, 4, 1), move(4, 4, 1)
    plans[3] = move(1, 3, 2), move(1, 2, 3), move(3, 4, 3)
    which, samples = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    states = np.array([7, 8, 9], np.uint64)
    lines = Lines(boards, 5, EXPANDER)  # fewer than the lines: they are played in parts
    values = lines.values(boards, plans[which], samples, 0, 15, states)
    naive = [
        naive_value(copy_boards(boards, slice(s, s + 1)), plans[p], 0, 15, int(states[s]))
        for p, s in zip(which, samples, strict=True)
    ]
    assert values == pytest.approx(naive)
    assert len(set(np.round(values, 6))) > 5
