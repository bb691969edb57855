"""Tests the boards that the planner plays along: one of them is the game while the enemy plays the fast policy."""

from __future__ import annotations

import numpy as np
import pytest

import generals_env
from generals_env.engine.planner.particles import Particles
from generals_env.engine.planner.playouts import Lines
from generals_env.engine.planner.sight import Sight, sight_of

OPTIONS = {"height": 11, "width": 12, "max_turns": 120}


def sight(env: generals_env.GeneralsVector, player: int) -> Sight:
    """Return what a player sees of the first game."""
    batch = env.batch
    return sight_of(batch.boards, batch.views.tile_codes[0, player], 0, player)


@pytest.mark.parametrize(("player", "seed"), [(0, 3), (1, 4)])
def test_one_tracked_board_is_the_game_against_the_hunter(player: int, seed: int) -> None:
    env = generals_env.make_vec(1, autoreset_mode="DISABLED", **OPTIONS)
    env.reset(seed=seed)
    lines = Lines(env.batch.boards, 16)
    particles = Particles(8, sight(env, player), seed, lines)
    home = int(env.batch.boards.players["general"][0, 1 - player])
    counts = []
    while env.going.any():
        particles.fit(lines, sight(env, player))
        tracked, game = particles.tracked, env.boards()
        counts.append(len(tracked))
        row = np.flatnonzero(tracked.boards.players["general"][:, 1 - player] == home)
        assert len(row) == 1  # the game itself is never dropped
        held = game.owner[0] >= 0
        assert np.array_equal(tracked.boards.owner[row[0]] >= 0, held)
        assert np.array_equal(tracked.boards.army[row[0]][held], game.army[0][held])
        if len(particles.distinct) == 1:
            assert particles.known_home == home
        actions = env.act(("hunter", "hunter"))
        env.step(actions)
        particles.advance(lines, player, int(actions[0, player]))
    assert counts[0] > 10
    assert counts[-1] == 1  # totals and sightings tell it from all others


def test_tracked_boards_end_against_another_player_and_guesses_go_on() -> None:
    env = generals_env.make_vec(1, autoreset_mode="DISABLED", **OPTIONS)
    env.reset(seed=5)
    lines = Lines(env.batch.boards, 16)
    particles = Particles(8, sight(env, 0), 5, lines)
    for _ in range(30):
        now = sight(env, 0)
        particles.fit(lines, now)
        assert ((particles.boards.owner == 1).sum(axis=1) == now.land[1]).all()
        actions = env.act(("hunter", "expander"))
        env.step(actions)
        particles.advance(lines, 0, int(actions[0, 0]))
    assert len(particles.tracked) == 0
    assert particles.known_home == -1
    assert len(particles.distinct) == 8
