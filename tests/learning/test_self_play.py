"""Tests PPO with a curriculum and a pool: boards and opponents change with the stage, figures tell it, and states go on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from generals_env import ConfigError
from generals_env.learning.ppo import PPO
from generals_env.learning.ppo_config import PPOConfig
from generals_env.learning.training.checkpoint import load_training, save_training

STAGES = [
    {
        "name": "near",
        "game": {"height": 5, "width": 5, "max_turns": 8, "start": {"spawn_distance": [2, 3]}},
        "opponents": "random,pool",
        "counted": ["random"],
        "rate": 0,
        "games": 16,
    },
    {"name": "board", "opponents": "random,self,pool", "games": 10**6},
]


def learner(**options: Any) -> PPO:
    """Return a small learner with two stages and a pool."""
    small = {"board": 6, "max_turns": 20, "games": 16, "steps": 4, "batch_size": 64, "channels": 4, "epochs": 1, "seed": 5}
    return PPO(PPOConfig(**{**small, "curriculum": STAGES, "pool": {"size": 3, "every": 2}, **options}))


def test_stages_change_boards_and_opponents() -> None:
    ppo = learner()
    assert [(group.name, group.venv.num_envs) for group in ppo.collector.groups] == [("random", 8), ("pool", 8)]
    assert ppo.collector.buffer.config.shape == (5, 5)
    found = [ppo.iterate() for _ in range(6)]
    # All 8 games against random end after 8 turns, two rollouts, at the latest; the stage waits for 16 of them.
    assert [figures["stage"] for figures in found] == [0, 0, 0, 0, 1, 1]
    assert [(group.name, group.venv.num_envs) for group in ppo.collector.groups] == [("random", 6), ("self", 5), ("pool", 5)]
    assert ppo.collector.buffer.config.shape == (6, 6)
    assert ppo.collector.buffer.config.start is None
    assert [figures["pool_members"] for figures in found] == [1, 2, 2, 3, 3, 3]
    assert found[-1]["pool_added"] == 4
    assert 0 < found[3]["draws_random"] <= 1
    assert "draws_random" not in found[4], "games of another stage are counted anew"


def test_self_play_continues_from_its_state() -> None:
    ppo = learner()
    for _ in range(5):
        ppo.iterate()
    file = io.BytesIO()
    torch.save(ppo.self_play.state(), file)
    file.seek(0)
    other = learner(seed=6)
    other.self_play.restore(torch.load(file, weights_only=True))
    assert other.self_play.curriculum is not None
    assert other.self_play.curriculum.stage.name == "board"
    assert other.self_play.pool is not None
    assert ppo.self_play.pool is not None
    ours, theirs = ([member.number for member in pool.members] for pool in (ppo.self_play.pool, other.self_play.pool))
    assert ours == theirs
    names = [group.name for group in other.self_play.groups()]
    assert names == ["random", "self", "pool"]
    assert other.self_play.draws.figures() == ppo.self_play.draws.figures()


def test_a_training_with_a_pool_goes_on_bit_for_bit(tmp_path: Path) -> None:
    ppo, other = learner(), learner(seed=5)
    for _ in range(5):
        ppo.iterate()
    save_training(tmp_path / "training.pt", ppo)
    assert load_training(tmp_path / "training.pt", other)
    for _ in range(3):
        one, two = ppo.iterate(), other.iterate()
        same = [name for name in one if not name.startswith("seconds")]
        assert {name: one[name] for name in same} == {name: two[name] for name in same}
    weights = other.network.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in ppo.network.state_dict().items())
    assert one["stage"] == 1


def test_options_of_self_play_are_checked() -> None:
    with pytest.raises(ConfigError, match="sampling: expected one of losses"):
        PPOConfig(pool={"sampling": "best"})
    with pytest.raises(ConfigError, match="curriculum: expected one or more stages"):
        PPOConfig(curriculum=[])
    assert learner(curriculum=None).self_play.pool is None, "no pool without such an opponent"
