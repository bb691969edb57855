"""Tests the teacher: its moves as lessons of the learner, how they fade, and the results of games with rewards of land."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from generals_env.errors import ConfigError
from generals_env.learning.ppo import PPO
from generals_env.learning.ppo_config import PPOConfig
from generals_env.learning.rollouts.collector import log_shares
from generals_env.learning.self_play.curriculum_stages import size_stages
from generals_env.networks.policy_file import save_policy_network
from generals_env.networks.policy_network import PolicyNetwork

SMALL: dict[str, Any] = {
    "board": 5, "max_turns": 80, "games": 32, "steps": 16, "channels": 8, "batch_size": 128, "top_advantages": 1.0,
    "opponents": "random", "bfloat16": False, "learning_rate": 3e-3, "seed": 3,
}  # fmt: skip


def lesson_scores(learner: PPO, network: PolicyNetwork) -> torch.Tensor:
    """Return the logarithms of the probabilities that a network gives the lessons of the learner's last rollout, (T * N,)."""
    entries = np.arange(learner.collector.buffer.steps * learner.collector.buffer.seats)
    batch = learner.collector.buffer.minibatch(entries)
    with torch.no_grad():
        logits, _ = network(batch.observations)
    lessons = torch.from_numpy(learner.collector.lessons.ravel()).long()
    return log_shares(logits, batch.legal).gather(1, lessons[:, None])[:, 0]


@pytest.mark.parametrize("symmetries", [False, True])
@pytest.mark.parametrize("opponents", ["expander", "self", "random=1,pool=1"])
def test_lessons_are_legal_in_the_states_that_the_learner_saw(symmetries: bool, opponents: str) -> None:
    learner = PPO(PPOConfig(**{**SMALL, "opponents": opponents}, symmetries=symmetries))
    learner.collector.collect(learner.network, 0.0, "expander")
    assert lesson_scores(learner, learner.network).min() > -1e9  # illegal actions have -1e30
    moves = 8 * 5 * 5
    assert (learner.collector.lessons < moves).mean() > 0.5, "an expander moves in most turns"


def test_learner_takes_over_the_moves_of_the_teacher() -> None:
    learner = PPO(PPOConfig(**SMALL, teacher="expander", teacher_until=1.0, teacher_weight=10.0))
    untaught = copy.deepcopy(learner.network)
    for _ in range(12):
        assert learner.iterate()["taught"] == 1
    taught, before = (float(lesson_scores(learner, network).mean()) for network in (learner.network, untaught))
    assert taught > before + 0.4, "e^0.4 is 1.5 times the probability"


def test_lessons_end_after_their_share_of_the_training() -> None:
    learner = PPO(PPOConfig(**SMALL, teacher_until=0.5))
    shares = []
    for progress in (0.0, 0.25, 0.5, 0.9):
        learner.progress = progress
        learner.collector.lessons[:] = -1
        shares.append(learner.iterate()["taught"])
        assert (learner.collector.lessons >= 0).all() == (shares[-1] > 0)
    assert shares == [1, 0.5, 0, 0]


def test_only_random_weights_have_a_teacher_by_default(tmp_path: Path) -> None:
    learner = PPO(PPOConfig(**SMALL))
    assert learner.config.teacher == "expander"
    save_policy_network(tmp_path / "agent.pt", learner.agent)
    assert PPOConfig(**SMALL, initial=str(tmp_path / "agent.pt")).teacher is None
    assert PPOConfig(**SMALL, initial=str(tmp_path / "agent.pt"), teacher="expander").teacher == "expander"


@pytest.mark.parametrize("teacher", ["hunter", "planner", "hunter:easy", "trained", "", 3, ["expander"]])
def test_teachers_with_a_memory_are_refused(teacher: Any) -> None:
    with pytest.raises(ConfigError, match="teacher: expected 'random', 'expander', 'auto' or None, got "):
        PPOConfig(teacher=teacher)


def test_rewards_that_hide_the_outcome_are_refused() -> None:
    with pytest.raises(ConfigError, match="reward: expected different rewards of a victory and a defeat, got 1 for both"):
        PPOConfig(reward={"win_game": 1, "lose_game": 1})


def test_games_that_are_cut_off_are_no_victories_whatever_land_brings() -> None:
    learner = PPO(PPOConfig(**{**SMALL, "max_turns": 9}, reward={"territory_gained": 1.0, "territory_lost": -1.0}))
    figures = learner.iterate()
    rewards = learner.collector.buffer.rewards[learner.collector.buffer.ended]
    assert figures["games_random"] == len(rewards) == 32
    assert figures["wins_random"] == 0
    assert (rewards > 0).any()


@pytest.mark.parametrize(("board", "sizes"), [(5, [5]), (8, [8]), (9, [8, 9]), (12, [8, 10, 12])])
def test_boards_grow_up_to_that_of_the_training(board: int, sizes: list[int]) -> None:
    stages = size_stages(board)
    assert [stage.game.get("height", board) for stage in stages] == sizes
    assert [stage.name for stage in stages] == [f"{size}x{size}" for size in sizes]
    assert PPOConfig(board=board, curriculum="sizes").curriculum == stages
