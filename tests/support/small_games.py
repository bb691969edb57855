"""Short games that ``test_kernel_modes`` plays again in other modes of the compiler (collected by name, not by pattern)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import generals_env
from generals_env.recorders import ExperienceRecorder, open_dataset
from generals_env.wrappers import Opponent

OPTIONS: list[dict[str, Any]] = [
    {"height": 6, "width": 7},
    {"players": 3, "height": (5, 6), "width": (6, 8), "modifiers": ("torus",)},
    {"players": 4, "height": 7, "width": 6, "teams": (0, 1, 0, 1), "fog": False},
]


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_small_games_are_the_same_in_every_mode(number: int, tmp_path: Path) -> None:
    digest = hashlib.sha256()
    opponents = [Opponent("random" if player else "expander", player) for player in range(4)]
    with ExperienceRecorder(generals_env.parallel_env(max_turns=60, **OPTIONS[number]), tmp_path) as env:
        observations, _ = env.reset(seed=number)
        while env.agents:
            if env.board().games[0]["turn"] == 30:
                env.surrender(env.agents[-1])
            actions = {agent: opponents[int(agent[-1])](observations[agent]) for agent in env.agents}
            observations, rewards, *_ = env.step(actions)
            digest.update(env.state().tobytes())
            for agent, observation in observations.items():
                digest.update(observation["observation"].tobytes() + observation["action_mask"].tobytes())
                digest.update(np.float32(rewards[agent]).tobytes())
    for batch in open_dataset(tmp_path):
        digest.update(batch.states().tobytes() + batch.next_action_masks().tobytes())
    assert digest.hexdigest()[:16] == EXPECTED[number]


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_small_batches_are_the_same_in_every_mode(number: int) -> None:
    digest = hashlib.sha256()
    venv = generals_env.make_vec(2, max_turns=30, threads=1, **OPTIONS[number])
    venv.reset(seed=number)
    policies = [("expander", "random")[player % 2] for player in range(venv.config.players)]
    assert venv.play(40, policies).games == 2
    for _ in range(30):
        observations, rewards, *_ = venv.step(venv.act(policies))
        digest.update(observations["observation"].tobytes() + observations["action_mask"].tobytes() + rewards.tobytes())
    digest.update(venv.state().tobytes())
    assert digest.hexdigest()[:16] == EXPECTED_BATCHES[number]


#: What the compiled kernels give; to be made anew when policies, maps or layouts change on purpose.
EXPECTED = ["2a4dca1c53fa87c0", "8b26ae5575d7a9a7", "b7ca725696c3ea32"]
EXPECTED_BATCHES = ["300227c9c59ad3eb", "2d74b1ba73f64fa1", "f052e45f1d3fc209"]
