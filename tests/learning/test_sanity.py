"""What every learner of this game should pass, and that each check fails for the mistake that it is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from generals_env.errors import StateError
from generals_env.learning.ppo import PPO
from generals_env.learning.ppo_config import PPOConfig
from generals_env.learning.training.sanity import SOLVED, check_learner, ratio_error


def spoiled(spoil: Callable[[PPO], None]) -> Callable[[PPOConfig], PPO]:
    """Return what makes learners that do something wrong after each rollout."""

    def make(config: PPOConfig) -> PPO:
        trainer = PPO(config)
        collect = trainer.collector.collect

        def collect_wrongly(*arguments: Any) -> Any:
            found = collect(*arguments)
            spoil(trainer)
            return found

        trainer.collector.collect = collect_wrongly  # type: ignore[method-assign]
        return trainer

    return make


def test_learner_solves_a_small_board() -> None:
    torch.set_num_threads(1)
    found = check_learner(bfloat16=False)
    assert found.win_rate >= 0.9
    assert found.ratio_error < 1e-3
    assert found.decided == found.rewarded > 0
    assert found.iterations > 1  # chance alone does not win


def test_augmentation_after_sampling_is_detected() -> None:
    def turn(trainer: PPO) -> None:
        trainer.collector.buffer.symmetries[:] = (trainer.collector.buffer.symmetries + 1) % 8

    with pytest.raises(StateError, match="expected ratios of 1 before the first step"):
        check_learner(spoiled(turn))


def test_another_network_than_played_is_detected() -> None:
    def change(trainer: PPO) -> None:
        with torch.no_grad():
            trainer.network.passing.bias += 1.0

    with pytest.raises(StateError, match="the policy that learns is not the one that played"):
        check_learner(spoiled(change))


def test_lost_last_reward_is_detected() -> None:
    def lose(trainer: PPO) -> None:
        trainer.collector.buffer.rewards[trainer.collector.buffer.ended] = 0

    with pytest.raises(StateError, match=r"expected the outcome of \d+ decided games .*, got 0"):
        check_learner(spoiled(lose))


def test_learner_that_does_not_learn_is_detected() -> None:
    with pytest.raises(StateError, match="within 2 iterations, got"):
        check_learner(iterations=2, learning_rate=0.0)


@pytest.mark.parametrize("symmetries", [True, False])
def test_ratio_is_one_before_the_first_step(symmetries: bool) -> None:
    options = {"board": 6, "opponents": "expander,self", "games": 16, "steps": 12, "channels": 16, "bfloat16": False}
    trainer = PPO(PPOConfig(**options, symmetries=symmetries))
    trainer.network.eval()
    trainer.collector.collect(trainer.network, 0.0)
    assert ratio_error(trainer) < 1e-4
    assert len(set(trainer.collector.buffer.symmetries.ravel().tolist())) == (8 if symmetries else 1)
    trainer.iterate()
    assert ratio_error(trainer) > 1e-3  # and it is not one afterwards


def test_learner_overfits_one_rollout() -> None:
    torch.set_num_threads(1)
    options = {"games": 16, "steps": 16, "clip": 1.0, "bfloat16": False}
    options |= {"entropy": 0.0, "final_entropy": 0.0}
    trainer = PPO(PPOConfig(**{**SOLVED, **options}))
    trainer.network.eval()
    trainer.collector.collect(trainer.network, 0.0)
    buffer = trainer.collector.buffer
    buffer.compute_advantages(trainer.collector.last_values(trainer.network), 0.98, 0.9)
    gained = np.flatnonzero(buffer.valid & (buffer.advantages > buffer.advantages.mean() + buffer.advantages.std()))
    first = trainer._learn()
    for _ in range(40):
        last = trainer._learn()
    assert last["value_loss"] < 0.5 * first["value_loss"]
    batch = buffer.minibatch(gained[buffer.states(gained)[1].sum(1).numpy() > 1])  # where there was a choice
    with torch.no_grad():
        logits, _ = trainer.network(batch.observations)
    shares = logits.masked_fill(~batch.legal, -1e30).softmax(1).gather(1, batch.actions[:, None])[:, 0]
    assert shares.mean() > 1.3 * batch.log_probs.exp().mean()  # the actions that paid are chosen more often


def test_won_last_action_has_a_positive_advantage() -> None:
    trainer = PPO(PPOConfig(**SOLVED))
    trainer.network.eval()
    trainer.collector.collect(trainer.network, 0.0)
    buffer = trainer.collector.buffer
    buffer.compute_advantages(trainer.collector.last_values(trainer.network), 0.98, 0.9)
    won, lost = (buffer.ended & (buffer.rewards == sign) for sign in (1, -1))
    assert won.any()
    assert lost.any()
    assert (buffer.advantages[won] > 0).all()
    assert (buffer.advantages[lost] < 0).all()
