"""Tests the incremental tensors and masks of a batch against oracles that compute them anew each turn, bit for bit.

Two oracles: the kernels that rewrite everything (``engine.simulation.single_game.play_turn``), and the second implementation in
``naive.py``.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import naive
from support.helpers import same
from support.random_games import assert_occurred, assert_same, random_actions, random_game, to_boards

import generals_env
from generals_env import RewardConfig
from generals_env.engine.boards import Boards, copy_boards, empty_boards, put_boards
from generals_env.engine.observations.reference import action_mask, observe, visible_to
from generals_env.engine.policies.reference import expander_action, random_action
from generals_env.engine.rules.action_space import action_count
from generals_env.engine.simulation.batch import Batch
from generals_env.engine.simulation.single_game import AFTER, BEFORE, play_turn

SEEDS = st.integers(0, 2**64 - 1)

#: Games that are short enough to end often, and crowded enough for captures.
KINDS: list[dict[str, Any]] = [
    {"height": 6, "width": 7, "max_turns": 150},
    {"height": (5, 6), "width": (5, 8), "players": 3, "max_turns": 130, "observation": "full"},
    {"height": 7, "width": 7, "players": 4, "max_turns": 160, "teams": (0, 1, 0, 1)},
    {"height": 8, "width": 8, "players": 4, "max_turns": 160, "reward": RewardConfig.original()},
    {"height": 8, "width": 9, "players": 8, "max_turns": 120},
    {"height": (5, 7), "width": 6, "max_turns": 120, "modifiers": ("torus", "leapfrog", "defenseless", "slippery")},
    {"height": 6, "width": 6, "max_turns": 120, "fog": False, "rules": "v5"},
    {"height": (5, 6), "width": (5, 8), "max_turns": 120, "rules": "competition", "touch_turn": 60},
]


def batch_on(boards: Boards, max_turns: int, channels: int, reward: RewardConfig) -> Batch:
    """Return a batch of games that begin with the boards."""
    none = np.zeros(6, np.int64), np.zeros(3, np.float64)
    batch = Batch(copy_boards(boards), reward.weights(), max_turns, *none, channels=channels)
    batch.load(boards)
    return batch


def rewritten(boards: Boards, b: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return tensors and masks of all players of a board, computed from scratch."""
    players, tiles = boards.players.shape[1], boards.owner.shape[1]
    actions = action_count(int(boards.games[b]["version"]), tiles)
    tensors, masks = np.empty((players, channels, tiles), np.float32), np.empty((players, actions), np.int8)
    visible = np.empty(tiles, np.uint32)
    visible_to(boards, b, visible)
    for player in range(players):
        observe(boards, b, player, visible, tensors[player])
        action_mask(boards, b, player, masks[player])
    return tensors, masks


def assert_follows(batch: Batch, happened: Counter[str]) -> None:
    """Check views and sets of every board against those computed from the whole board."""
    boards, sets = batch.boards, batch.sets
    channels = batch.views.observations.shape[3]
    for b in range(len(boards.owner)):
        height, width = int(boards.games[b]["height"]), int(boards.games[b]["width"])
        tensors, masks = rewritten(boards, b, channels)
        over = not batch.outcome.active[b].any()
        for player in range(boards.players.shape[1]):
            gone = not batch.outcome.active[b, player] and (not over or not batch.views.tile_codes[b, player].any())
            if gone:
                tensors[player] = 0
                assert not masks[player, :-1].any()
                happened["a player sees nothing"] += 1
            assert np.array_equal(batch.views.observations[b, player].T, tensors[player])
            assert np.array_equal(batch.views.masks[b, player], masks[player])
            land = np.flatnonzero(boards.owner[b] == player)
            movable = np.flatnonzero(masks[player, : 4 * height * width].reshape(-1, 4).any(axis=1))
            assert np.array_equal(tiles_in(sets.land[b, player], width), land)
            assert np.array_equal(tiles_in(sets.movable[b, player], width), movable)
            if not gone:
                assert np.array_equal(tiles_in(sets.seen[b, player], width), np.flatnonzero(tensors[player, 7]))


def tiles_in(rows: np.ndarray, width: int) -> np.ndarray:
    bits = rows[:, None] >> np.arange(width, dtype=np.uint64) & np.uint64(1)
    return np.flatnonzero(bits)


@pytest.mark.parametrize("channels", [9, 21])
def test_batch_agrees_with_oracle_on_odd_boards(channels: int) -> None:
    happened: Counter[str] = Counter()

    @settings(max_examples=400, deadline=None)
    @given(SEEDS)
    def check(seed: int) -> None:
        rng = random.Random(seed)
        game = random_game(rng)
        if len(game.teams_alive()) <= 1:
            return
        reward = rng.choice((RewardConfig(), RewardConfig.original()))
        max_turns = game.turn + rng.choice((3, 1000))
        batch = batch_on(to_boards(game), max_turns, channels, reward)
        outcome, players = batch.outcome, len(game.alive)
        living = [any(game.alive[mate] for mate in range(players) if game.teams[mate] == team) for team in game.teams]
        assert_follows(batch, Counter())
        outcome.active[0] = living
        two = empty_boards(2, game.height, game.width, players)
        put_boards(two, AFTER, batch.boards, 0)
        active = np.array(living)
        told = {name: np.zeros(players, np.bool_) for name in ("illegal", "terminated", "truncated")}
        rewards, weights = np.zeros(players, np.float32), reward.weights()
        tensors = np.empty((players, channels, game.height * game.width), np.float32)
        masks = np.empty((players, 8 * game.height * game.width + 1), np.int8)
        for _ in range(6):
            if not active.any():
                break
            actions = random_actions(rng, game)
            game.step(actions)
            outcome.actions[0] = actions
            batch.step()
            played = np.array(actions, np.int64)
            play_turn(*two, BEFORE, AFTER, played, active, weights, max_turns, *told.values(), rewards, tensors, masks)
            assert_same(game, batch.boards, 0)
            assert np.array_equal(outcome.actions[0], played)
            assert np.array_equal(outcome.rewards[0], rewards)
            for name, flags in told.items():
                assert np.array_equal(getattr(outcome, name)[0], flags), name
                happened[name] += int(flags.sum())
            active &= ~(told["terminated"] | told["truncated"])
            assert np.array_equal(outcome.active[0], active)
            for player in np.flatnonzero(active):
                tensor = np.array(game.tensor(player), np.float32)
                assert np.array_equal(batch.views.observations[0, player, :, :9].T, tensor)
                assert np.array_equal(batch.views.masks[0, player], game.mask(player))
            check_views(batch, active, tensors, masks)
        happened.update(game.happened)

    def check_views(batch: Batch, active: np.ndarray, tensors: np.ndarray, masks: np.ndarray) -> None:
        for player in np.flatnonzero(active):
            assert np.array_equal(batch.views.observations[0, player].T, tensors[player])
            assert np.array_equal(batch.views.masks[0, player], masks[player])

    check()
    assert_occurred(
        happened,
        "city captured",
        "desert lost",
        "general captured",
        "illegal",
        "land inherited",
        "land neutralised",
        "leapfrog",
        "neutral city grew",
        "swamp lost",
        "terminated",
        "tile of a team-mate taken over",
        "trade",
        "truncated",
    )


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_batch_agrees_with_oracle_in_long_games(number: int) -> None:
    """Whole games, one after the other, with both policies, illegal actions, and resets in between."""
    happened: Counter[str] = Counter()
    rng = np.random.default_rng(number)
    venv = generals_env.make_vec(6, copy=False, threads=1, **KINDS[number])
    venv.reset(seed=number)
    batch, players = venv.batch, venv.config.players
    competes = venv.config.rules == "competition"  # ``naive_competition`` has those rules
    for turn in range(400):
        venv.act([("random", "expander")[(player + turn // 200) % 2] for player in range(players)])
        actions = batch.outcome.actions.copy()
        wild = rng.random(actions.shape) < 0.05
        actions[wild] = rng.integers(venv.config.actions, size=int(wild.sum()))
        before = copy_boards(batch.boards)
        games = [naive.Game.from_boards(before, b) for b in range(6)] if turn % 20 == 0 and not competes else []
        _, _, terminated, _, infos = venv.step(actions)
        happened["game ended"] += int(infos.get("_final_obs", np.zeros(1)).sum())
        happened["terminated"] += int(terminated.sum())
        happened["illegal"] += int(infos["illegal_action"].sum())
        assert_follows(batch, happened)
        for b, game in enumerate(games):
            game.step(actions[b].tolist())
            if not infos.get("_final_obs", np.zeros(6))[b]:
                assert_same(game, batch.boards, b)
    assert_occurred(happened, "game ended", "terminated", "illegal")
    if players > 2 and "teams" not in KINDS[number]:
        assert_occurred(happened, "a player sees nothing")


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_play_in_kernel_equals_play_step_by_step(number: int) -> None:
    names = [
        ("random", "expander")[player % 2] for player in range(generals_env.GameConfig.from_options(**KINDS[number]).players)
    ]
    stepped = generals_env.make_vec(5, threads=1, **KINDS[number])
    stepped.reset(seed=7)
    games = 0
    for _ in range(333):
        infos = stepped.step(stepped.act(names))[4]
        games += int(infos.get("_final_obs", np.zeros(1)).sum())
    seen, boards, following = stepped.observe(), stepped.boards(), stepped.act(names)
    for threads in (1, 2, 4):
        played = generals_env.make_vec(5, threads=threads, **KINDS[number])
        played.reset(seed=7)
        counts = [played.play(turns, names) for turns in (1, 32, 300)]
        assert same(played.observe(), seen)
        assert same(tuple(played.boards()), tuple(boards))
        assert sum(count.turns for count in counts) == 5 * 333
        assert sum(count.games for count in counts) == games > 0
        assert sum(sum(count.wins) for count in counts) >= 0
        assert not any(count.illegal for count in counts)
        assert same(played.act(names), following)
        played.close()


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_policies_choose_same_moves_from_sets_and_from_observations(number: int) -> None:
    venv = generals_env.make_vec(4, copy=False, threads=1, **KINDS[number])
    venv.reset(seed=number)
    batch, players = venv.batch, venv.config.players
    passing = 8 * batch.boards.owner.shape[1]
    chosen: Counter[str] = Counter()
    for _ in range(150):
        for name in ("random", "expander"):
            states = batch.policy_rng.copy()
            actions = venv.act([name] * players)
            for b, player in np.ndindex(4, players):
                tensor = np.ascontiguousarray(batch.views.observations[b, player].T)
                mask = batch.views.masks[b, player]
                if name == "random":
                    action = random_action(mask[: passing + 1], states[b], player)
                else:
                    action = expander_action(np.ascontiguousarray(tensor), mask, *venv.config.shape, states[b], player)
                assert actions[b, player] == action
                assert mask[action]
                chosen[name + " passed" if action == passing else name] += 1
            assert np.array_equal(states, batch.policy_rng)
        venv.step(actions)
    assert_occurred(chosen, "random", "random passed", "expander", "expander passed")


def test_random_moves_are_uniform() -> None:
    # Every legal move of one board, drawn many times.
    venv = generals_env.make_vec(1, height=8, width=8, threads=1)
    venv.reset(seed=3)
    venv.play(150, ("expander", "expander"))
    mask = venv.batch.views.masks[0, 0, :-1]
    counts = np.zeros(len(mask), np.int64)
    draws = 100 * int(mask.sum())
    for _ in range(draws):
        counts[venv.act(("random", "random"))[0, 0]] += 1
    assert not counts[mask == 0].any()
    deviation = (counts[mask == 1] - 100) ** 2 / 100
    degrees = int(mask.sum()) - 1
    assert deviation.sum() < degrees + 5 * (2 * degrees) ** 0.5  # chi-square within five of its standard deviations
