"""Tests castles in batches: masks with prices, and builds that move with their tile."""

from __future__ import annotations

import numpy as np
import pytest
from support.builds import buildable, under_competition
from support.odd_boards import inside_of, odd_boards

from generals_env.engine.boards import CITY, GENERAL, PLAIN, Boards
from generals_env.engine.packed.action_legality import legal_actions
from generals_env.engine.packed.packing import pack
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe


def seen_by_all(boards: Boards) -> ExperienceBatch:
    """Return an experience of each player on each board, with a pass."""
    count, players = boards.players.shape
    height, width = (int(boards.games[0][side]) for side in ("height", "width"))
    rows = np.zeros(count * players, EXPERIENCE)
    rows["state_index"] = rows["next_state_index"] = np.repeat(np.arange(count), players)
    rows["player_id"], rows["steps"] = np.tile(np.arange(players), count), 1
    rows["action"] = 8 * height * width
    return ExperienceBatch(("a game",), rows, pack(boards), (height, width), Recipe(builds=True))


def castle_boards(rng: np.random.Generator, count: int, shape: tuple[int, int]) -> Boards:
    """Return boards of two players with castles, and with armies around their prices."""
    boards = odd_boards(rng, count, players=2, shape=shape)
    under_competition(boards)
    inside = np.stack([inside_of(boards, b) for b in range(count)])
    boards.terrain[:] = np.where(inside, rng.choice([PLAIN] * 6 + [CITY, GENERAL], boards.terrain.shape), boards.terrain)
    boards.army[:] = np.where(rng.random(boards.army.shape) < 0.8, rng.integers(30, 120, boards.army.shape), boards.army)
    return boards


@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (6, 7), (18, 21)])
def test_builds_in_masks_cost_what_the_rules_say(shape: tuple[int, int]) -> None:
    boards = castle_boards(np.random.default_rng(shape[1]), 8, shape)
    batch, passes = seen_by_all(boards), 8 * shape[0] * shape[1]
    masks = batch.action_masks()
    expected = np.stack(
        [buildable(boards, b, player) for b, player in zip(batch.state_index.tolist(), batch.player_id.tolist(), strict=True)]
    )
    assert masks.shape == (len(batch), 9 * shape[0] * shape[1] + 1)
    assert (masks[:, passes + 1 :] == expected).all()
    assert (masks[:, passes] == 1).all()
    if shape[0] > 1:
        assert 0 < expected.sum() < (boards.owner >= 0).sum()
    for action in range(masks.shape[1]) if shape[0] < 7 else range(passes + 1, masks.shape[1], 11):
        legal = np.empty(len(batch), np.bool_)
        legal_actions(batch.boards, batch.state_index, batch.player_id, np.full(len(batch), action, np.int32), shape[0], legal)
        assert (legal == masks[:, action]).all(), action


def test_torch_expands_masks_with_builds_alike() -> None:
    pytest.importorskip("torch")
    from generals_env.recorders.experience.torch_tensors import expand_on

    for seed in range(6):
        boards = castle_boards(np.random.default_rng(seed), 6, ((6, 7), (20, 18))[seed % 2])
        batch = seen_by_all(boards)
        given = expand_on(batch, "cpu")
        for name, array in batch.tensors()._asdict().items():
            assert (getattr(given, name).numpy() == array).all(), name
