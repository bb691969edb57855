"""Tests ``Batch.load`` and ``Batch.run_on``: batches that continue other games."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import generals_env
from generals_env.engine.boards import Boards, copy_boards
from generals_env.engine.policies.codes import EXPANDER, GIVEN
from generals_env.engine.simulation.batch import Batch
from generals_env.engine.simulation.batch_kernel import LATE_TURNS
from generals_env.engine.simulation.mid_game import in_game

KINDS: list[dict[str, Any]] = [
    {"height": 6, "width": 7, "max_turns": 150},
    {"height": 7, "width": 7, "players": 4, "max_turns": 160, "teams": (0, 1, 0, 1)},
    {"height": (5, 6), "width": (5, 8), "max_turns": 120, "rules": "competition", "touch_turn": 60},
]


def mid_game(options: dict[str, Any], games: int, turns: int) -> tuple[generals_env.GeneralsVector, Boards]:
    """Return an environment whose games are in the middle, and its boards."""
    venv = generals_env.make_vec(games, autoreset_mode="DISABLED", **options)
    venv.reset(seed=3)
    venv.batch.run_on(turns, np.full(venv.config.players, EXPANDER))
    return venv, venv.boards()


def batch_for(venv: generals_env.GeneralsVector, count: int, threads: int = 1) -> Batch:
    """Return a batch with the arrays of ``count`` games of an environment."""
    config = venv.config
    batch = Batch(
        config.empty_boards(count), config.reward.weights(), config.max_turns, *config.map_parameters(), threads=threads
    )
    batch.seed(np.arange(count, dtype=np.uint64), np.ones(count, np.bool_))
    return batch


def assert_equal_fields(one: Any, other: Any) -> None:
    """Check that two tuples of arrays have equal fields."""
    for name, left, right in zip(one._fields, one, other, strict=True):
        assert np.array_equal(left, right), name


@pytest.mark.parametrize("options", KINDS)
def test_load_shows_each_board_at_once(options: dict[str, Any]) -> None:
    venv, boards = mid_game(options, 6, 60)
    index = np.array([5, 0, 3, 3, 1, 2, 4, 0])
    batch = batch_for(venv, len(index))
    for _ in range(2):  # the second time over boards and views of other games
        batch.load(boards, index)
        assert_equal_fields(batch.boards, copy_boards(boards, index))
        assert np.array_equal(batch.outcome.active, venv.batch.outcome.active[index])
        assert_equal_fields(batch.views, type(batch.views)._make(field[index] for field in venv.batch.views))
        assert not batch.outcome.illegal_count.any()
        batch.run_on(20, np.full(venv.config.players, EXPANDER))
    venv.close()


@pytest.mark.parametrize("options", KINDS)
def test_load_continues_games_as_the_original_does(options: dict[str, Any]) -> None:
    venv, boards = mid_game(options, 6, 50)
    policies = np.full(venv.config.players, EXPANDER)
    batch = batch_for(venv, 12, threads=2)
    batch.load(boards, np.arange(12) % 6, venv.batch.outcome.active[np.arange(12) % 6])
    batch.policy_rng[:] = np.tile(venv.batch.policy_rng, (2, 1))
    for _ in range(30):
        venv.batch.run_on(1, policies)
        batch.run_on(1, policies)
        for part in ("boards", "views"):
            copies = getattr(batch, part)
            assert_equal_fields(type(copies)._make(field[6:] for field in copies), getattr(venv.batch, part))
        assert np.array_equal(batch.outcome.rewards[:6], venv.batch.outcome.rewards)
        assert np.array_equal(batch.outcome.terminated[6:], venv.batch.outcome.terminated)
    venv.close()


@pytest.mark.parametrize("options", KINDS)
def test_load_and_run_on_play_the_same_games_blind(options: dict[str, Any]) -> None:
    venv, boards = mid_game(options, 6, 40)
    policies = np.full(venv.config.players, EXPANDER)
    seeing, blind = batch_for(venv, 6), batch_for(venv, 6)
    given = policies.copy()
    given[0] = GIVEN
    for batch in (seeing, blind):
        batch.load(boards, blind=batch is blind)
        batch.outcome.actions[:, 0] = 8 * boards.owner.shape[1]  # pass
        batch.run_on(1, given, blind=batch is blind)
        batch.run_on(LATE_TURNS - 1, policies, blind=batch is blind)
    assert_equal_fields(seeing.boards, blind.boards)
    assert_equal_fields(seeing.outcome, blind.outcome)
    assert not blind.views.observations.any()
    for batch in (seeing, blind):
        batch.run_on(LATE_TURNS, policies)
    going = seeing.outcome.active.any(axis=1)
    assert going.any()
    assert np.array_equal(seeing.views.observations[going], blind.views.observations[going])
    assert np.array_equal(seeing.views.masks[going], blind.views.masks[going])
    venv.close()


def test_load_keeps_ended_games_as_they_are() -> None:
    venv, boards = mid_game({"height": 5, "width": 5, "max_turns": 200}, 12, 199)
    over = ~in_game(boards).any(axis=1)
    assert over.any()
    batch = batch_for(venv, 12)
    batch.load(boards)
    assert np.array_equal(~batch.outcome.active.any(axis=1), over)
    batch.run_on(3, np.full(2, EXPANDER))
    assert np.array_equal(batch.boards.games["turn"][over], boards.games["turn"][over])
    venv.close()
