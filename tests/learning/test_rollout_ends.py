"""Ends of episodes in a rollout, by hand: the last reward, the value of a final state, and rows that are no action.

The two dearest mistakes of learners of this game were here: the last reward of an episode was lost as automatic reset had
overwritten the state, and a game that was cut off was bootstrapped from the first state of the next one.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

import generals_env
from generals_env.engine.observations.reference import FULL_CHANNELS
from generals_env.errors import ConfigError, StateError
from generals_env.learning.rollouts.collector import Collector
from generals_env.learning.rollouts.game_group import GameGroup
from generals_env.learning.rollouts.rollout_buffer import RolloutBuffer
from generals_env.learning.rollouts.vector_rollout import VectorRollout

MODES = ("SAME_STEP", "NEXT_STEP", "DISABLED")

#: player_0 waits for an army of 2, takes 300 and the next tile, and in turn 5 the general.
MAP = "A -300 . B\n. . . .\n. . . .\n. . . ."
RIGHT = 3
PASS = 8 * 16
SCRIPT = (PASS, PASS, 0 * 4 + RIGHT, 1 * 4 + RIGHT, 2 * 4 + RIGHT)
OWN_TILE = 2

#: Land of player_0 in each state of the game, and after the fourth turn; player_1 has one tile.
LAND = (1, 1, 1, 2, 3)


def land(observations: torch.Tensor) -> torch.Tensor:
    """Return as the value the number of the player's tiles."""
    return observations[:, OWN_TILE].sum((1, 2))


def played(mode: str, turns: int, max_turns: int = 100) -> RolloutBuffer:
    """Return a rollout of the script, begun anew with each game; gamma and lambda are 0.5."""
    venv = generals_env.make_vec(2, autoreset_mode=mode, map=MAP, max_turns=max_turns)
    venv.reset(seed=0)
    rollout = VectorRollout(venv, turns)
    rollout.begin()
    for step in range(turns):
        observations, legal = rollout.observe()
        now = venv.batch.boards.games["turn"]
        actions = np.array([[SCRIPT[turn] if turn < len(SCRIPT) else PASS, PASS] for turn in now.tolist()]).ravel()
        assert legal.numpy()[np.arange(4), actions][rollout.buffer.valid[step]].all()
        rollout.step(actions, np.zeros(4), land(observations), land)
    rollout.finish(land, 0.5, 0.5)
    return rollout.buffer


@pytest.mark.parametrize("mode", MODES)
def test_reward_of_a_won_game_is_that_of_its_last_action(mode: str) -> None:
    waits = mode == "NEXT_STEP"
    buffer = played(mode, 11)
    rows = [0, 1, 2, 3, 4, *(range(6, 11) if waits else range(5, 10))]
    for seat, sign in ((0, 1), (1, -1), (2, 1), (3, -1)):
        assert buffer.rewards[rows, seat].tolist() == [0, 0, 0, 0, sign] * 2
        assert buffer.ended[rows, seat].tolist() == [False, False, False, False, True] * 2
    assert buffer.values[rows, 0].tolist() == [*LAND, *LAND]
    assert buffer.valid.all(axis=1).tolist() == [row != 5 for row in range(11)] if waits else buffer.valid.all()
    assert not buffer.valid[5].any() if waits else True
    won, lost = [-0.640625, -0.5625, -0.25, -1.0, -2.0], [-0.671875, -0.6875, -0.75, -1.0, -2.0]
    assert buffer.advantages[rows, 0].tolist() == won * 2
    assert buffer.advantages[rows, 3].tolist() == lost * 2
    last = 5 if waits else 10  # the row in which the game is reset; the first of a third game, of value 1 as the next
    assert buffer.advantages[last].tolist() == [0.0 if waits else -0.5] * 4


@pytest.mark.parametrize("mode", MODES)
def test_cut_off_game_has_the_value_of_its_own_final_state(mode: str) -> None:
    waits = mode == "NEXT_STEP"
    buffer = played(mode, 9, max_turns=4)
    rows = [0, 1, 2, 3, *(range(5, 9) if waits else range(4, 8))]
    assert buffer.ended[rows, 0].tolist() == [False, False, False, True] * 2
    assert buffer.bootstrap[rows[3]].tolist() == buffer.bootstrap[rows[7]].tolist() == [3, 1, 3, 1]  # the next game's is 1
    assert not buffer.rewards.any()
    assert buffer.advantages[rows, 0].tolist() == [-0.6328125, -0.53125, -0.125, -0.5] * 2
    assert buffer.advantages[rows, 1].tolist() == [-0.6640625, -0.65625, -0.625, -0.5] * 2


@pytest.mark.parametrize("mode", MODES)
def test_all_modes_learn_from_the_same_entries(mode: str) -> None:
    reference, buffer = played("DISABLED", 10), played(mode, 11 if mode == "NEXT_STEP" else 10)
    entries = [np.flatnonzero(found.valid) for found in (reference, buffer)]
    one, other = (found.minibatch(chosen) for found, chosen in zip((reference, buffer), entries, strict=True))
    for name in ("observations", "legal", "actions", "log_probs", "values", "advantages", "returns"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_rows_in_which_a_game_is_reset_show_nothing() -> None:
    buffer = played("NEXT_STEP", 7)
    batch = buffer.minibatch(np.arange(5 * 4, 6 * 4))
    assert not batch.observations.any()
    assert batch.legal.sum(1).tolist() == [1] * 4
    assert batch.legal[:, PASS].all()


def test_put_turn_needs_the_values_of_games_that_were_cut_off() -> None:
    buffer = RolloutBuffer(1, 1, generals_env.GameConfig(height=5, width=5), [0, 0], [0, 1])
    with pytest.raises(ConfigError, match="final_values: expected values of the final states of 1 truncated seats, got None"):
        buffer.put_turn(0, [0, 0], [False, False], [True, False])
    buffer.put_turn(0, [1, -1], [True, True], [True, False])  # decided and cut off in one turn: nothing follows
    assert buffer.bootstrap.tolist() == [[0, 0]]
    buffer.put_turn(0, [0, 0], [False, True], [True, False], np.array([0.5, 0.25], np.float32))
    assert buffer.bootstrap.tolist() == [[0.5, 0]]


def test_rollout_of_a_vector_says_what_is_out_of_turn() -> None:
    venv = generals_env.make_vec(1, height=5, width=5)
    with pytest.raises(ConfigError, match="venv: expected a GeneralsVector, got None"):
        VectorRollout(None, 1)  # type: ignore[arg-type]
    rollout = VectorRollout(venv, 1)
    venv.reset(seed=0)
    nothing: Any = np.zeros(2)
    with pytest.raises(StateError, match=r"step: expected a call of observe\(\) before"):
        rollout.step(nothing, nothing, nothing, land)
    observations, _ = rollout.observe()
    rollout.step(np.full(2, 200), nothing, land(observations), land)
    with pytest.raises(StateError, match="observe: expected at most 1 turns"):
        rollout.observe()


def test_eliminated_player_has_no_valid_rows_until_the_next_game() -> None:
    venv = generals_env.make_vec(1, map="A -300 B .\n. . . .\n. . . .\n. . . C", max_turns=8)
    venv.reset(seed=0)
    rollout = VectorRollout(venv, 10)
    rollout.begin()
    script = (PASS, PASS, 0 * 4 + RIGHT, 1 * 4 + RIGHT)
    for _ in range(10):
        observations, _ = rollout.observe()
        turn = int(venv.batch.boards.games["turn"][0])
        rollout.step([script[turn] if turn < 4 else PASS, PASS, PASS], np.zeros(3), land(observations), land)
    buffer = rollout.buffer
    assert buffer.valid[:, 1].tolist() == [True] * 4 + [False] * 4 + [True] * 2
    assert buffer.valid[:, [0, 2]].all()
    assert buffer.ended[:, 1].tolist() == [False] * 3 + [True] + [False] * 6
    assert buffer.ended[:, 0].tolist() == [False] * 7 + [True] + [False] * 2
    assert buffer.rewards[3].tolist() == [0, -1, 0]
    assert buffer.bootstrap[3, 1] == 0
    rollout.finish(land, 0.5, 1.0)
    # -1 and nothing after it: -1 - 1; then 0.5 * 1 - 1 + 0.5 * the advantage of the next row.
    assert buffer.advantages[:, 1].tolist()[:4] == [-1.125, -1.25, -1.5, -2.0]
    assert buffer.advantages[4:8, 1].tolist() == [0, 0, 0, 0]


class Scripted(torch.nn.Module):
    """Plays the script as player_0, lets player_1 pass, and values a state by the player's land."""

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        turns = (1000 * states[:, FULL_CHANNELS.index("turn")].amax((1, 2))).round().long().clamp(max=len(SCRIPT))
        first = states[:, FULL_CHANNELS.index("own_general"), 0, 0] > 0
        actions = torch.where(first, torch.tensor([*SCRIPT, PASS])[turns], PASS)
        return 1e6 * torch.nn.functional.one_hot(actions, PASS + 1).float(), land(states)

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs


def collected(turns: int, max_turns: int) -> RolloutBuffer:
    """Return a rollout of the learner's own collector; it has player_0 in game 0 and player_1 in game 1."""
    config = generals_env.GameConfig.from_options(map=MAP, observation="full", max_turns=max_turns)
    group = GameGroup("still", 2, config, 0, 0.5, np.zeros(3), opponent=lambda views: np.full(len(views["action_mask"]), PASS))
    collector = Collector([group], turns, np.random.default_rng(0), False, nullcontext, "cpu")
    network = Scripted()
    collector.collect(network, 0.0)
    collector.buffer.compute_advantages(collector.last_values(network), 0.5, 0.5)
    return collector.buffer


def test_collector_of_the_learner_gives_the_last_action_the_outcome() -> None:
    buffer = collected(11, 100)
    assert buffer.rewards[:, 0].tolist() == [0, 0, 0, 0, 1] * 2 + [0]
    assert buffer.ended[:, 0].tolist() == [False, False, False, False, True] * 2 + [False]
    assert buffer.values[:, 0].tolist() == [*LAND, *LAND, 1]
    assert buffer.advantages[:, 0].tolist() == [-0.640625, -0.5625, -0.25, -1.0, -2.0] * 2 + [-0.5]
    assert not buffer.ended[:, 1].any()


def test_collector_values_the_final_state_of_a_cut_off_game() -> None:
    buffer = collected(9, 4)
    assert buffer.ended[:, 0].tolist() == [False, False, False, True] * 2 + [False]
    assert buffer.bootstrap[3].tolist() == [3, 1]
    assert buffer.advantages[:8, 0].tolist() == [-0.6328125, -0.53125, -0.125, -0.5] * 2
    assert not buffer.rewards.any()
