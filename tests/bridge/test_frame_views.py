"""Tests that agents see and choose from frames what the engine shows and chooses."""

from __future__ import annotations

import io

import numpy as np
import pytest

from generals_env.bridge.builtin_players import PLAYERS, SplitMix
from generals_env.bridge.frame_views import frame_mask, frame_observation
from generals_env.bridge.stdio_protocol import encode_frame, read_frame
from generals_env.config import GameConfig
from generals_env.engine.policies.reference import expander_action, random_action
from generals_env.engine.simulation.single_game import AFTER
from generals_env.game import Game
from generals_env.seeding import seed_state


@pytest.mark.parametrize("layout", ["standard", "full"])
def test_views_and_moves_equal_those_of_the_engine(layout: str) -> None:
    height, width = 8, 9
    game = Game(
        GameConfig.from_options(
            rules="competition", height=height, width=width, observation=layout, max_turns=150, touch_turn=90
        )
    )
    passing = 8 * height * width
    built = 0
    for seed in range(3):
        game.reset(seed=seed)
        states = seed_state(seed, 2)
        generators = [SplitMix(int(state)) for state in states]
        while game.active.any():
            for player, name in enumerate(("expander", "random" if seed == 1 else "expander")):
                frame = read_frame(io.BytesIO(encode_frame(game.boards, AFTER, player)), height, width)
                assert frame is not None
                view, mask = game.observations[player], game.masks[player]
                assert np.array_equal(frame_observation(frame, len(view)), view)
                assert np.array_equal(frame_mask(frame), mask)
                if name == "random":
                    wanted = random_action(mask[: passing + 1], states, player)
                else:
                    wanted = expander_action(view.reshape(len(view), -1), mask, height, width, states, player)
                assert PLAYERS[name](frame, generators[player]) == wanted
                builds = np.flatnonzero(mask[passing + 1 :])
                waits = seed == 1 and player == 0 and game.turn < 110  # for an army that pays a castle
                game.actions[player] = passing if waits else passing + 1 + builds[0] if len(builds) else wanted
                built += int(game.actions[player]) > passing
            game.play()
    assert built
