"""Minibatches of a rollout against the environment's own tensors and masks, turned by the oracle of the symmetries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.builds import under_competition
from support.symmetries import turned, turned_mask

import generals_env
from generals_env.config import GameConfig
from generals_env.engine.boards import NEUTRAL, PLAIN, copy_boards
from generals_env.engine.symmetry import INVERSE, transform_actions
from generals_env.errors import ConfigError
from generals_env.learning.rollouts.rollout_buffer import RolloutBuffer
from generals_env.learning.rollouts.turned_batches import turned_by_torch
from generals_env.learning.rollouts.vector_rollout import VectorRollout

KINDS: dict[str, dict[str, Any]] = {
    "square": {"height": 6, "width": 6, "observation": "full"},
    "standard": {"height": 7, "width": 7},
    "wide": {"height": 5, "width": 8, "observation": "full"},
    "builds": {"height": 8, "width": 8, "rules": "competition", "observation": "full"},
    "three": {"players": 3, "height": 6, "width": 6, "max_turns": 40},
    "teams": {"players": 4, "height": 7, "width": 7, "teams": (0, 1, 0, 1)},
}


def random_actions(rng: np.random.Generator, legal: torch.Tensor) -> np.ndarray:
    return torch.from_numpy(rng.random(legal.shape)).masked_fill(~legal, -1.0).argmax(1).numpy()


def nothing(observations: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(observations))


@pytest.mark.parametrize("kind", KINDS)
def test_minibatches_are_the_turned_observations_of_the_environment(kind: str) -> None:
    venv = generals_env.make_vec(3, **KINDS[kind])
    players, shape = venv.config.players, venv.config.shape
    rng = np.random.default_rng(5)
    rollout = VectorRollout(venv, 50, rng=rng)
    buffer = rollout.buffer
    venv.reset(seed=3)
    rollout.begin()
    shown: list[dict[str, np.ndarray]] = []
    played: list[np.ndarray] = []
    for step in range(50):
        views = venv.observe()
        shown.append({name: array.reshape(3 * players, *array.shape[2:]) for name, array in views.items()})
        observations, legal = rollout.observe()
        for seat in range(0, 3 * players, 2):
            symmetry = int(buffer.symmetries[step, seat])
            assert np.array_equal(observations[seat].numpy(), turned(shown[step]["observation"][seat], symmetry))
        chosen = random_actions(rng, legal)
        played.append(transform_actions(chosen, INVERSE[buffer.symmetries[step]], shape))
        rollout.step(chosen, np.zeros(len(chosen)), np.zeros(len(chosen)), nothing)
        assert np.array_equal(venv.batch.outcome.actions.ravel(), played[step])
    assert set(buffer.symmetries.ravel().tolist()) == set(range(8 if shape[0] == shape[1] else 4))
    entries = rng.permutation(np.flatnonzero(buffer.valid))
    batch = buffer.minibatch(entries)
    assert batch.observations.is_contiguous(memory_format=torch.channels_last)
    for row, entry in enumerate(entries.tolist()):
        step, seat = divmod(entry, buffer.seats)
        symmetry = int(buffer.symmetries[step, seat])
        view, mask = shown[step]["observation"][seat], shown[step]["action_mask"][seat]
        assert np.array_equal(batch.observations[row].numpy(), turned(view, symmetry))
        assert np.array_equal(batch.legal[row].numpy(), turned_mask(mask, symmetry, shape) != 0)
        assert batch.legal[row, batch.actions[row]]


def test_minibatch_of_an_eliminated_player_is_as_the_environment_shows_it() -> None:
    venv = generals_env.make_vec(1, map="A -300 B .\n. . . .\n. . . .\n. . . C")
    venv.reset(seed=0)
    rollout = VectorRollout(venv, 6)
    rollout.begin()
    for action in (128, 128, 3, 7, 128, 128):
        views = venv.observe()
        observations, legal = rollout.observe()
        assert np.array_equal(observations.numpy(), views["observation"][0])
        assert np.array_equal(legal.numpy(), views["action_mask"][0] != 0)
        rollout.step([action, 128, 128], np.zeros(3), np.zeros(3), nothing)
    assert not rollout.buffer.valid[-1, 1]


@pytest.mark.parametrize("kind", ["square", "wide", "builds"])
def test_minibatches_made_by_torch_equal_those_of_the_kernels(kind: str) -> None:
    venv = generals_env.make_vec(4, **KINDS[kind])
    venv.reset(seed=1)
    rng = np.random.default_rng(0)
    rollout = VectorRollout(venv, 30, rng=rng)
    rollout.begin()
    for _ in range(30):
        _, legal = rollout.observe()
        rollout.step(random_actions(rng, legal), np.zeros(8), np.zeros(8), nothing)
    entries = rng.integers(30 * 8, size=100)
    views, symmetries = rollout.buffer.views(entries), rollout.buffer.symmetries.ravel()[entries].astype(np.int64)
    kernels = rollout.buffer.states(entries)
    by_torch = turned_by_torch(views.to_torch(), rollout.buffer.tables, symmetries)
    for one, other in zip(kernels, by_torch, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    assert by_torch[0].is_contiguous(memory_format=torch.channels_last)


def test_boards_of_wide_armies_and_new_grounds_make_the_buffer_grow() -> None:
    config = GameConfig(height=6, width=6, observation="full")
    game, player = np.divmod(np.arange(8), 2)
    steps = 12
    buffer = RolloutBuffer(steps, 4, config, game, player)
    before = buffer.nbytes
    venv = generals_env.make_vec(4, height=6, width=6, observation="full")
    shown = []
    for step in range(steps):
        venv.reset(seed=100 * step)  # new maps each turn: four more grounds
        boards = copy_boards(venv.batch.boards)
        free = np.argmax((boards.owner == NEUTRAL) & (boards.terrain == PLAIN), axis=1)
        boards.army[range(4), free] = 100_000 + step  # beyond 13 bits
        boards.owner[range(4), free] = step % 2
        venv.reset(options={"start": boards})
        shown.append(venv.observe())
        buffer.put_boards(step, 0, venv.batch.boards)
    buffer.valid[:] = True
    batch = buffer.minibatch(np.arange(steps * 8))
    for step in range(steps):
        rows = slice(8 * step, 8 * step + 8)
        assert np.array_equal(batch.observations[rows].numpy(), shown[step]["observation"].reshape(8, 21, 6, 6))
        assert np.array_equal(batch.legal[rows].numpy(), shown[step]["action_mask"].reshape(8, -1) != 0)
    grown = buffer.nbytes
    assert grown >= before + 40 * (36 * 4 + 36)  # of 48 boards 8 grounds and 4 wide rows had room
    buffer.clear()
    assert not buffer.valid.any()
    assert buffer.nbytes == grown  # the next rollout has the same room
    buffer.put_boards(0, 0, venv.batch.boards)
    buffer.valid[0] = True
    assert np.array_equal(buffer.minibatch(np.arange(8)).observations.numpy(), shown[-1]["observation"].reshape(8, 21, 6, 6))


def test_games_of_a_rollout_share_their_grounds() -> None:
    venv = generals_env.make_vec(16, height=8, width=8, observation="full")
    venv.reset(seed=0)
    rollout = VectorRollout(venv, 40)
    rollout.begin()
    for _ in range(40):
        rollout.observe()
        rollout.step(np.full(32, 512), np.zeros(32), np.zeros(32), nothing)
    boards = rollout.buffer.boards()
    assert len(boards.games) == 16
    assert len(boards.armies) == 0
    assert len(boards.tiles) == 16 * 40


def test_part_of_the_seats_can_learn_while_others_are_played() -> None:
    venv = generals_env.make_vec(3, height=6, width=6)
    venv.reset(seed=2)
    rollout = VectorRollout(venv, 5, seats=([0, 1, 2], [0, 1, 0]))
    rollout.begin()
    for step in range(5):
        observations, _ = rollout.observe()
        assert np.array_equal(observations.numpy(), venv.observe()["observation"][[0, 1, 2], [0, 1, 0]])
        others = venv.act(("expander", "expander"))
        rollout.step([288] * 3, np.zeros(3), np.full(3, step), nothing, others)
        assert venv.batch.outcome.actions[[0, 1, 2], [0, 1, 0]].tolist() == [288] * 3
        assert np.array_equal(venv.batch.outcome.actions[[0, 1, 2], [1, 0, 1]], others[[0, 1, 2], [1, 0, 1]])
    rollout.finish(lambda states: torch.full((len(states),), 5.0), 1.0, 0.0)
    assert rollout.buffer.advantages.tolist() == [[1.0] * 3] * 5


def test_competition_boards_have_builds_in_their_masks() -> None:
    venv = generals_env.make_vec(1, **KINDS["builds"])
    venv.reset(seed=0)
    boards = venv.boards()
    under_competition(boards)
    tile = int(boards.players["general"][0, 0])
    boards.army[0, tile] = 500
    venv.reset(options={"start": boards})
    rollout = VectorRollout(venv, 1)
    _, legal = rollout.observe()
    assert legal.shape == (2, 9 * 64 + 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps: expected"),
        ({"game": [0, 2]}, "game: expected one or more integers from 0 to 1"),
        ({"player": [0, -1]}, "player: expected one or more integers from 0 to 1"),
        ({"player": [0]}, "player: expected one for each of 2 games, got 1"),
        ({"game": []}, "game: expected one or more integers"),
    ],
)
def test_seats_that_do_not_exist_are_refused(changes: dict[str, Any], message: str) -> None:
    config = GameConfig(height=5, width=5)
    with pytest.raises(ConfigError, match=message):
        RolloutBuffer(**{"steps": 2, "games": 2, "config": config, "game": [0, 1], "player": [0, 1], **changes})
