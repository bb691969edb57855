"""Tests that playouts go on as the policy of the real game would, from what it remembered there."""

from __future__ import annotations

import numpy as np

from generals_env.config import GameConfig
from generals_env.engine.boards import copy_boards
from generals_env.engine.planner.particles import Particles
from generals_env.engine.planner.playouts import Lines
from generals_env.engine.planner.sight import sight_of
from generals_env.engine.policies.codes import HUNTER
from generals_env.engine.simulation.batch import Batch
from generals_env.engine.simulation.thinkers import thinkers_of
from generals_env.seeding import seed_states

COUNT = 6


def test_playouts_go_on_with_what_the_policy_remembers() -> None:
    config = GameConfig(height=12, width=12)
    sizes, densities = config.map_parameters()
    batch = Batch(config.empty_boards(1), config.reward.weights(), config.max_turns, sizes, densities)
    every = np.ones(1, np.bool_)
    batch.seed(seed_states(8, 1, True)[0], every)
    batch.reset(every)
    lines = Lines(batch.boards, COUNT, HUNTER)
    codes = np.full(2, HUNTER, np.int64)
    particles: Particles | None = None
    checked = 0
    for _ in range(90):
        if not batch.outcome.active.any():
            break
        sight = sight_of(batch.boards, batch.views.tile_codes[0, 0], 0, 0)
        particles = particles or Particles(COUNT, sight, 1, lines)
        particles.fit(lines, sight)
        memory = thinkers_of(batch, codes)[0].memory
        own = tuple(array[:1].copy() for array in memory)
        batch.act(codes)
        action = int(batch.outcome.actions[0, 0])
        lines.enter(copy_boards(particles.boards), particles.rng)
        lines.put_memory(0, COUNT, own)
        lines.policy_actions(COUNT, 0, np.zeros(COUNT, np.bool_))
        assert (lines.batch.outcome.actions[:, 0] == action).all()
        checked += action != 8 * 144
        particles.advance(lines, 0, action)
        batch.step()
    assert checked > 30
