"""Tests builds in batches: masks with prices, and actions that move with their tile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.builds import buildable, under_competition
from support.helpers import same
from support.odd_boards import inside_of, odd_boards
from support.recorded import games_of
from support.refusals import refused

from generals_env.engine.boards import CITY, GENERAL, PLAIN, Boards, copy_boards
from generals_env.engine.packed.action_legality import legal_actions
from generals_env.engine.packed.packing import pack
from generals_env.engine.rules.turn import advance
from generals_env.errors import ConfigError
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.experience.validation import Reason, validate


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


def replayed(batch: ExperienceBatch) -> int:
    """Check that the actions lead from board to board, and return how many builds there were."""
    boards = batch.unpacked()
    for turn in np.unique(batch.turn):
        rows = np.flatnonzero(batch.turn == turn)
        actions = np.full(2, 8 * batch.shape[0] * batch.shape[1], np.int64)
        actions[batch.player_id[rows]] = batch.action[rows]
        now, illegal = copy_boards(boards, batch.state_index[rows[:1]]), np.zeros(2, np.bool_)
        advance(now, 0, actions, illegal)
        assert not illegal.any()
        assert same(now, copy_boards(boards, batch.next_state_index[rows[:1]]))
    return int((batch.action > 8 * batch.shape[0] * batch.shape[1]).sum())


@pytest.mark.parametrize("shape", [(5, 6), (5, 9), (8, 8)])
def test_builds_move_with_their_tile_on_padded_and_turned_boards(shape: tuple[int, int]) -> None:
    for game in games_of("builds", 2):
        padded = game.padded(*shape)
        built = replayed(padded)
        assert built == replayed(game) > 2
        for symmetry in range(8 if shape[0] == shape[1] else 4):
            turned = padded.turned(np.full(len(padded), symmetry))
            assert replayed(turned) == built
            masks = turned.action_masks()
            assert masks[np.arange(len(turned)), turned.action].all()
            assert (masks.sum(axis=1) == game.action_masks().sum(axis=1)).all()


def test_batches_keep_games_with_and_without_builds_apart() -> None:
    plain, game = games_of("two players", 1)[0], games_of("builds", 1)[0]
    with refused(ConfigError, "batches: expected games without builds, got games with them: the rules of the competition"):
        ExperienceBatch.concat([plain, game])
    with refused(ConfigError, "recipe: expected builds=True, by the rules of the boards, got False"):
        replace(game, recipe=Recipe()).action_masks()
    with refused(ConfigError, "recipe: expected builds=False, by the rules of the boards, got True"):
        replace(plain, recipe=Recipe(builds=True)).action_masks()
    reasons = validate(replace(game, recipe=Recipe())).reasons
    assert (reasons == Reason.WRONG_SHAPE).all()
    assert validate(game).good.all()


@pytest.mark.parametrize("kind", ["two players", "builds"])
def test_batch_of_one_rule_set_tells_invalid_actions(kind: str) -> None:
    game = games_of(kind, 1)[0]
    rows = game.rows.copy()
    last = game.recipe.actions(game.shape) - 1
    rows["action"][0], rows["action"][1] = last + 1, last
    reasons = validate(replace(game, rows=rows)).reasons[:2].tolist()
    built = Reason.ILLEGAL_ACTION if kind == "builds" else Reason.FINE  # the last one is a build on a corner without an army
    assert reasons == [Reason.ACTION_OUT_OF_RANGE, built]


def test_recipe_without_builds_is_written_as_before() -> None:
    assert "builds" not in Recipe("full").to_dict()
    assert Recipe.from_dict({"layout": "full", "memory": False, "frames": 1, "shaping": []}) == Recipe("full")
    assert Recipe.from_dict(Recipe(builds=True).to_dict()) == Recipe(builds=True)
    with refused(ConfigError, "recipe: expected layout, memory, frames and shaping"):
        Recipe.from_dict({**Recipe().to_dict(), "builds": 1})
