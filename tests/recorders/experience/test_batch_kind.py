"""Tests which batches can be put together, and which boards stacked frames need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.odd_batches import odd_batch

from generals_env import ConfigError
from generals_env.recorders import ExperienceBatch
from generals_env.recorders.experience.batch_kind import BatchKind
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.experience.stacked_frames import boards_of_frames, frames_back


def plain_batch(players: int) -> ExperienceBatch:
    """Return experiences on boards of 5x6, without dense observations and metadata."""
    batch = odd_batch(np.random.default_rng(1), players=players, shape=(5, 6))
    return replace(batch, recipe=Recipe(), dense=None, metadata={})


def dense_of(batch: ExperienceBatch, dtype: str = "float32") -> ExperienceBatch:
    """Return the batch with dense observations."""
    return replace(batch, dense=Dense(np.zeros((12, 2, 3), dtype), batch.state_index, batch.next_state_index))


BATCH = plain_batch(2)

#: Changes to a batch, and whether it still joins, and still has the same kind of tensors.
CHANGES = {
    "none": (BATCH, True, True),
    "metadata": (replace(BATCH, metadata={"seed": 1}), True, True),
    "size": (BATCH.padded(7, 7), True, False),
    "recipe": (replace(BATCH, recipe=Recipe("full")), False, False),
    "players": (plain_batch(3), False, False),
    "dense": (dense_of(BATCH), False, False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_kinds_tell_what_joins(change: str) -> None:
    other, joins, same_tensors = CHANGES[change]
    one, two = BatchKind.of(BATCH), BatchKind.of(other)
    assert (one == two) == (change == "none")
    assert one.joins(two) == joins
    assert (one.tensors == two.tensors) == same_tensors
    if joins:
        one.require_joins("batch", two)
        assert len(ExperienceBatch.concat([BATCH, other])) == len(BATCH) + len(other)
    else:
        with pytest.raises(ConfigError, match=r"^batch: expected"):
            one.require_joins("batch", two)
        with pytest.raises(ConfigError, match=r"^batches: expected"):
            ExperienceBatch.concat([BATCH, other])


def test_kinds_of_dense_observations_differ_by_dtype_and_shape() -> None:
    one = BatchKind.of(dense_of(BATCH))
    assert one == BatchKind.of(dense_of(BATCH))
    assert one != BatchKind.of(dense_of(BATCH, "float64"))
    assert one.tensors.shape == (2, 3)
    assert str(one.tensors).startswith("2 players, observations (2, 3) float32, Recipe(")


def test_frames_lead_back_to_the_first_board_of_a_game() -> None:
    previous = np.array([-1, 0, 1, 2, -1, 4], np.int32)  # two games
    boards = np.array([3, 5])
    assert [frame.tolist() for frame in frames_back(previous, boards, 4)] == [[3, 5], [2, 4], [1, -1], [0, -1]]
    repeated = frames_back(previous, boards, 4, repeat_first=True)
    assert [frame.tolist() for frame in repeated] == [[3, 5], [2, 4], [1, 4], [0, 4]]
    assert boards_of_frames(previous, boards, 1).tolist() == [3, 5]
    assert boards_of_frames(previous, np.array([5, 3, 3]), 3).tolist() == [1, 2, 3, 4, 5]
    assert boards_of_frames(previous, boards[:0], 3).tolist() == []
