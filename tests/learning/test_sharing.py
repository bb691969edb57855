"""Tests that a learner can learn from the games of other agents, by tag and weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import generals_env
from generals_env.recorders import ExperienceRecorder, MixedSampler, PrioritizedReplayBuffer
from generals_env.recorders.training.double_dqn import double_dqn_loss
from generals_env.recorders.training.q_network import QNetwork

pytestmark = pytest.mark.checklist("Q5")

SMALL = {"height": 5, "width": 5, "max_turns": 30}


class Agent:
    """A learner with a network and a replay buffer of its own games."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.network, self.target = QNetwork((9, 5, 5), 8, 1), QNetwork((9, 5, 5), 8, 1)
        self.target.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.Adam(self.network.parameters(), 3e-3)
        self.buffer = PrioritizedReplayBuffer(5000, seed=seed)

    def play(self, policies: tuple[str, str], seed: int) -> None:
        """Record games."""
        with ExperienceRecorder(generals_env.make_vec(8, **SMALL), self.buffer) as env:
            env.reset(seed=seed)
            env.play(60, policies)

    def learn(self, sampler: MixedSampler, steps: int) -> tuple[list[float], np.ndarray]:
        """Take steps; return their losses, and how many experiences came from each tag."""
        losses, counts = [], np.zeros(len(sampler.tags), np.int64)
        for _ in range(steps):
            drawn = sampler.sample(64, n_step=3, gamma=0.95)
            counts += np.bincount(drawn.sources, minlength=len(counts))
            found = double_dqn_loss(
                self.network, self.target, drawn.batch.to_torch("cpu"), torch.from_numpy(drawn.weights), 0.95
            )
            self.optimizer.zero_grad()
            found.loss.backward()
            self.optimizer.step()
            sampler.update_priorities(drawn, found.errors.detach().abs().numpy())
            losses.append(found.loss.item())
        return losses, counts


def test_two_learners_draw_from_the_games_of_each_other() -> None:
    main, exploiter = Agent(1), Agent(2)
    main.play(("expander", "random"), 1)
    exploiter.play(("expander", "expander"), 2)
    buffers = {"main": main.buffer, "exploiter": exploiter.buffer}
    _, ours = main.learn(MixedSampler(buffers, {"main": 3, "exploiter": 1}, seed=1), 20)
    _, theirs = exploiter.learn(MixedSampler(buffers, {"main": 1, "exploiter": 1}, seed=2), 20)
    # 1,280 experiences each: five standard deviations of the shares 3/4 and 1/2 are 78 and 90.
    assert abs(ours[0] - 960) < 78
    assert abs(theirs[0] - 640) < 90
    priorities = main.buffer.sample(100).keys
    assert len(priorities) == 100, "errors of both learners became priorities of the buffer that holds the experience"


def test_a_learner_without_games_learns_from_those_of_another() -> None:
    new, other = Agent(3), Agent(4)
    other.play(("expander", "random"), 5)
    sampler = MixedSampler({"mine": new.buffer, "other": other.buffer}, {"mine": 9, "other": 1}, seed=3)
    losses, counts = new.learn(sampler, 80)
    assert counts.tolist() == [0, 80 * 64]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    new.play(("expander", "random"), 6)
    _, counts = new.learn(sampler, 5)
    assert counts[0] > counts[1], "its own games take part as soon as there are some"
