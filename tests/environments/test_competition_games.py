"""Tests games with the rules of the competition in every environment: options, builds, wins by touch, draws, the cap."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from support.competition_traces import read_file

import generals_env
from generals_env import ConfigError, GameConfig, StateError
from generals_env.actions import Build, Move, encode_action
from generals_env.bridge.competition_boards import board_of
from generals_env.engine.boards import CITY, COMPETITION_VERSION, GENERAL
from generals_env.single import GeneralsSingle
from generals_env.wrappers import Opponent

UP, DOWN, LEFT, RIGHT = range(4)
PASS = 8 * 16  # on a board of 4x4

#: Player 0 in the corner above left, player 1 above right.
CORNERS = "A..B\n....\n....\n...."


def move(row: int, column: int, direction: int) -> int:
    """Return a move of all but one on a board of 4x4."""
    return encode_action(Move(row, column, direction), 4, 4)


def play(env: Any, first: list[int], second: list[int]) -> tuple[dict[str, Any], ...]:
    """Step with these actions of both players, and return what the last step did without observations."""
    told: tuple[dict[str, Any], ...] = ()
    for pair in zip(first, second, strict=True):
        assert env.agents
        told = env.step(dict(zip(env.possible_agents, pair, strict=True)))[1:]
    return told


def test_competition_options_have_defaults_of_their_rules() -> None:
    config = GameConfig.from_options(rules="competition")
    assert (config.players, config.height, config.width, config.max_turns) == (2, (18, 21), (18, 21), 1200)
    assert config.mountain_range == (0.24, 0.26)
    assert config.actions == 9 * 21 * 21 + 1
    board = config.empty_boards(1)
    assert (board.games[0]["version"], board.games[0]["modifiers"] >> 32) == (COMPETITION_VERSION, 800)
    other = GameConfig.from_options(rules="competition", height=6, width=(5, 9), max_turns=70, touch_turn=np.int64(9))
    assert (other.shape, other.max_turns, other.modifier_bits >> 32) == ((6, 9), 70, 9)
    for made in (config, other):
        assert GameConfig.from_options(**json.loads(json.dumps(dataclasses.asdict(made)))) == made
    drawn = GameConfig.from_options(rules="competition", map=CORNERS)
    assert (drawn.shape, drawn.max_turns) == ((4, 4), 1200)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"players": 3}, "players: expected 2 with rules 'competition', got 3: leave it out, or use rules='live'"),
        ({"teams": (0, 1)}, r"teams: expected None with rules 'competition', got \(0, 1\)"),
        ({"modifiers": ("torus",)}, r"modifiers: expected \(\) with rules 'competition', got \('torus',\)"),
        ({"city_density": 0.1}, "city_density: expected None with rules 'competition', got 0.1"),
        ({"mountain_density": 0.3}, "mountain_density: expected a share from 0 to 0.26 with rules 'competition', got 0.3"),
        ({"touch_turn": -1}, "touch_turn: expected an integer from 0 to 2147483647, got -1"),
        ({"touch_turn": True}, "touch_turn: expected an integer from 0 to 2147483647, got True"),
        ({"map": "A..B\n....\n.s..\n...."}, "map: expected plain tiles, .* got another tile in row 2, column 1"),
        ({"rules": "live", "touch_turn": 800}, "touch_turn: expected None with rules 'live', got 800: leave it out"),
        ({"rules": "contest"}, "rules: expected 'live', 'competition' or 'v3' to 'v18', got 'contest'"),
    ],
)
def test_competition_refuses_options_it_does_not_have(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generals_env.make(**{"rules": "competition", **options})


def test_competition_castle_is_built_and_priced() -> None:
    env = generals_env.parallel_env(rules="competition", map=CORNERS)
    env.reset()
    assert generals_env.castle_prices(env, 0)[0].tolist() == [49, 47, 45, 43]
    play(env, [PASS] * 96, [PASS] * 96)
    play(env, [move(0, 0, RIGHT)], [PASS])
    build = encode_action(Build(0, 1), 4, 4)
    assert env.game.boards.army[1, 1] == 49  # 1 at the beginning, 48 in 96 turns, 1 in turn 50, less the one that stays
    assert np.flatnonzero(env.game.masks[0, PASS + 1 :]).tolist() == [1]
    told = play(env, [build], [encode_action(Build(0, 2), 4, 4)])
    assert [told[3][agent]["illegal_action"] for agent in env.possible_agents] == [False, True]
    owner, army, terrain = env.state().reshape(3, -1)
    # The turn ends at an even turn, so the castle earns at once.
    assert (owner[1], army[1], terrain[1]) == (0, 49 - 47 + 1, CITY)
    assert generals_env.castle_prices(env, 0)[0].tolist() == [49 + 12, 47 + 14, 45 + 12, 43 + 10]
    assert generals_env.castle_prices(env, 1)[0].tolist() == [43, 45, 47, 49]
    assert env.game.masks[0, build] == 0


def test_competition_touch_wins_all_land_without_a_capture() -> None:
    env = generals_env.parallel_env(rules="competition", map=CORNERS, touch_turn=23)
    env.reset()
    play(env, [PASS] * 20, [PASS] * 20)
    # Player 1 leaves a tile below his general; player 0 reaches the general and is weaker than its army.
    advance = [move(0, 0, RIGHT), move(0, 1, RIGHT), encode_action(Move(0, 2, RIGHT, half=True), 4, 4)]
    _, ended, cut, _ = play(env, advance, [PASS, PASS, PASS])
    assert set(ended.values()) == {False}  # turn 22: too early for a touch
    rewards, ended, cut, _ = play(env, [move(0, 2, RIGHT)], [PASS])
    assert (rewards, set(ended.values()), set(cut.values())) == ({"player_0": 1, "player_1": -1}, {True}, {False})
    assert (env.get_winner(), env.is_game_over(), env.agents) == (0, True, [])
    owner, army, terrain = env.state().reshape(3, -1)
    assert set(owner[owner >= 0]) == {0}
    assert (terrain[3], army[3] > 0) == (GENERAL, True)


def test_competition_double_capture_is_a_draw() -> None:
    first = [PASS] * 20 + [move(0, 0, RIGHT), move(0, 1, RIGHT), PASS, PASS, move(0, 2, RIGHT)]
    second = [PASS] * 20 + [move(0, 3, DOWN), move(1, 3, LEFT), move(1, 2, LEFT), move(1, 1, LEFT), move(1, 0, UP)]
    env = generals_env.parallel_env(rules="competition", map=CORNERS)
    env.reset()
    rewards, ended, cut, _ = play(env, first, second)
    assert (set(ended.values()), set(cut.values())) == ({True}, {False})
    assert (env.get_winner(), env.is_game_over()) == (-1, True)
    assert not env.game.boards.players[1]["alive"].any()
    # Player 0 has the larger army on his source and moves second: all land is his.
    assert set(env.state()[0].ravel()) == {-1, 0}
    assert max(abs(reward) for reward in rewards.values()) < 0.5
    taken = generals_env.make(rules="competition", map=CORNERS)
    taken.reset()
    for pair in zip(first, second, strict=True):
        for action in pair:
            taken.step(action)
    assert taken.terminations == {"player_0": True, "player_1": True}
    assert taken.get_winner() == -1
    games = generals_env.make_vec(2, rules="competition", map=CORNERS, threads=1)
    games.reset()
    for pair in zip(first, second, strict=True):
        _, _, terminated, _, _ = games.step(np.array([pair, pair]))
    assert terminated.all()
    assert not games.final_boards.players["alive"].any()


def test_competition_learner_plays_until_the_cap() -> None:
    env = GeneralsSingle("random", rules="competition", height=(5, 6), width=(5, 6), max_turns=12)
    env.reset(seed=4)
    assert env.action_space.n == 9 * 36 + 1
    assert generals_env.castle_prices(env, 0).shape == (6, 6)
    for turn in range(12):
        _, reward, terminated, truncated, _ = env.step(8 * 36)
        assert (terminated, truncated) == (False, turn == 11)
    assert reward == 0


def test_competition_policies_choose_moves_and_no_builds() -> None:
    games = generals_env.make_vec(4, rules="competition", height=6, width=6, max_turns=150, threads=1)
    games.reset(seed=5)
    counts = games.play(600, ("expander", "random"))
    assert counts.illegal == 0
    assert counts.games > 8
    assert sum(counts.wins) > 0
    assert not (games.boards().terrain == CITY).any()
    assert generals_env.castle_prices(games, 1).shape == (4, 6, 6)


def test_competition_opponents_choose_legal_actions() -> None:
    env = generals_env.parallel_env(rules="competition", height=5, width=6, max_turns=80)
    views, _ = env.reset(seed=6)
    players = dict(zip(env.possible_agents, (Opponent("random", seed=1), Opponent("expander", seed=1)), strict=True))
    moved = 0
    while env.agents:
        actions = {agent: players[agent](views[agent]) for agent in env.agents}
        assert all(views[agent]["action_mask"][action] for agent, action in actions.items())
        moved += sum(action < 8 * 30 for action in actions.values())
        views = env.step(actions)[0]
    assert moved > 50


def test_castle_prices_refuse_other_games() -> None:
    with pytest.raises(StateError, match="board: expected a call of reset"):
        generals_env.castle_prices(generals_env.make(rules="competition"), 0)
    live = generals_env.make(height=6, width=6)
    live.reset(seed=1)
    with pytest.raises(StateError, match="castle_prices: expected games with rules 'competition', got others"):
        generals_env.castle_prices(live, 0)
    with pytest.raises(StateError, match="castle_prices: expected an environment or boards, got 3"):
        generals_env.castle_prices(3, 0)
    with pytest.raises(ConfigError, match="player: expected an integer from 0 to 1, got 2"):
        generals_env.castle_prices(board_of([1, 0, 0, 2] + [0] * 12, 4, 4, 800), 2)


def test_castle_prices_equal_those_of_the_competition() -> None:
    for frame in read_file("frames.json.gz"):
        board = board_of(frame["grid"], frame["h"], frame["w"], 800, frame["state"])
        for player, price in enumerate(frame["price"]):
            assert generals_env.castle_prices(board, player)[0].ravel().tolist() == price
